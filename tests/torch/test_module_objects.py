"""A `torch.nn.Module` in memory as a model: exported in inference, kept by its digest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import xbackend as xb

SAMPLES = np.array([[1, 2, 3, 4], [-1, 0, 1, 2], [4, 3, 2, 1]], np.float32)


class Net(torch.nn.Module):
    """A layer, and a dropout that acts in training only."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(4, 2)
        self.dropout = torch.nn.Dropout(0.9)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the layer."""
        return self.dropout(torch.relu(self.linear(x)))


class Branching(torch.nn.Module):
    """What PyTorch cannot export."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Take a branch by a value."""
        return x if float(x.sum()) > 0 else -x


def run(model: Any, folder: Path, **keywords: Any) -> xb.Runs:
    """Run on `torch` with the samples."""
    keywords = {"example_inputs": torch.zeros(1, 4), "inputs": SAMPLES, **keywords}
    return xb.run(model, backends="torch", store=folder / "store", **keywords)


def outputs(runs: xb.Runs) -> list[list[float]]:
    """Return the only output of each sample."""
    return [next(iter(each.values())).ravel().tolist() for each in runs.outputs(0).values()]


def test_a_module_gives_what_it_gives_in_inference_and_stays_in_training(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = Net().train()
    found = outputs(run(net, tmp_path))
    assert net.training
    assert net.dropout.training
    net.eval()
    with torch.no_grad():
        expected = [net(torch.tensor(row[None]))[0].tolist() for row in SAMPLES]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


class Counting(torch.nn.Module):
    """What gives another result each time that it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.linear = torch.nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the layer, times the number of calls."""
        self.calls += 1
        return self.linear(x) * self.calls


def test_what_is_said_of_a_module_in_memory_is_said_of_its_program(tmp_path: Path) -> None:
    told: list[str] = []
    runs = run(Counting(), tmp_path, progress=lambda event: told.append(event.text))
    note = "The module Counting was handed over in train mode; its eval mode was exported and run."
    assert runs.notes == (note,)
    assert note in told
    shown = " ".join(str(runs).split())
    assert note in shown
    assert "as the torch.export program of your module (in torch)" in shown
    assert "your PyTorch module" not in shown
    assert run(Counting().eval(), tmp_path).notes == ()


def test_other_weights_are_another_model_and_the_same_ones_are_not(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = Net()
    digests = [run(net, tmp_path)[0].row["model_digest"] for _ in range(2)]
    with torch.no_grad():
        net.linear.bias += 1
    digests.append(run(net, tmp_path)[0].row["model_digest"])
    assert digests[0] == digests[1] != digests[2]


def test_an_exported_program_and_an_array_as_example_will_do(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = Net().eval()
    program = torch.export.export(net, (torch.zeros(1, 4),))
    with_array = run(net, tmp_path, example_inputs=np.zeros((1, 4), np.float32))
    assert outputs(run(program, tmp_path, example_inputs=None)) == outputs(with_array)


@pytest.mark.parametrize(
    ("model", "examples", "words"),
    [
        (Net(), None, "The module Net needs example inputs to be exported with"),
        (Branching(), torch.zeros(1, 4), "PyTorch cannot export Branching: "),
        (
            torch.jit.trace(Net().eval(), torch.zeros(1, 4)),
            torch.zeros(1, 4),
            "is what torch.jit made, which is not taken",
        ),
        (torch.zeros(1), None, "A Tensor is no model. Give a torch.nn.Module"),
    ],
)
def test_what_cannot_be_exported_is_refused_in_one_sentence(
    tmp_path: Path, model: Any, examples: Any, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(xb.UsageError) as raised:
        run(model, tmp_path, example_inputs=examples)
    assert capfd.readouterr() == ("", "")
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)
