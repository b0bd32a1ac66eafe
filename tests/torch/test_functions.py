"""Functions that a module calls, such as F.relu, are taps of the module's own run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional

import xbackend as xb

MODULE = '''\
"""A module that calls functions, twice in a list and once at its end."""
import torch
import torch.nn.functional as F


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(4, 4)
        self.gain = torch.nn.Parameter(torch.rand(4))

    def forward(self, x):
        h = F.relu(self.fc(x))
        y = F.softmax(torch.matmul(h, h.transpose(-1, -2)), -1) @ h
        y = F.layer_norm(y, (4,), self.gain)
        return F.scaled_dot_product_attention(y, y, y) + h


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = torch.nn.ModuleList([Block(), Block()])

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return torch.sigmoid(F.relu(x))


def make():
    torch.manual_seed(0)
    return Net().eval(), (torch.randn(1, 3, 4),)
'''


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> xb.Runs:
    (tmp_path / "with_functions.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return xb.run("with_functions:make", backends="torch", store=tmp_path / "store")


def test_each_function_is_a_tap_with_the_bits_of_that_call(runs: xb.Runs) -> None:
    (source,) = (run for run in runs if run.row["settings"]["graph"] == "source")
    assert source.row["taps_neutral"] is True
    result = source.results[0]
    taps = {row["name"]: runs.store.read_tensor(row).array for row in result["taps"]}
    (given,) = result["inputs"]
    import with_functions

    network, _ = with_functions.make()
    x = torch.from_numpy(runs.store.read_tensor(given).array.copy())
    expected = {}
    with torch.inference_mode():
        for place, block in enumerate(network.blocks):
            h = torch.nn.functional.relu(block.fc(x))
            products = torch.matmul(h, h.transpose(-1, -2))
            shares = torch.nn.functional.softmax(products, -1)
            mixed = shares @ h
            normed = torch.nn.functional.layer_norm(mixed, (4,), block.gain)
            attended = torch.nn.functional.scaled_dot_product_attention(normed, normed, normed)
            x = attended + h
            of = {"Relu": h, "MatMul": products, "Softmax": shares, "MatMul_1": mixed,
                  "LayerNormalization": normed, "MatMul_3": attended}  # fmt: skip
            expected |= {f"/blocks.{place}/{name}_output_0": value for name, value in of.items()}
        expected["/Relu_output_0"] = torch.nn.functional.relu(x)
    assert expected.keys() <= taps.keys()
    for name, value in expected.items():
        assert taps[name].tobytes() == value.numpy().tobytes(), name
