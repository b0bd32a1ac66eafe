"""Rows of a model's own source are certified by the nodes that the exporter made of them."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest

from xbackend.commands.main import main
from xbackend.comparison.findings import Certificate
from xbackend.diagnosis.certificate import certify
from xbackend.execution.execute import ExecutionContext
from xbackend.execution.progress import ProgressLines
from xbackend.store.records import Run, read_run
from xbackend.store.store import Store
from xbackend.worker.objects import write_tensor
from xbackend.worker.tensor import from_numpy

torch = pytest.importorskip("torch")
ATTENTION = "scaled_dot_product_attention"


class Network(torch.nn.Module):  # type: ignore[misc, name-defined]  # of a module that may lack
    """A convolution, an attention, a normalisation and a GELU: some are several nodes of ONNX."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = torch.nn.Conv2d(3, 16, 3, padding=1)
        self.mixed = torch.nn.Linear(16, 48)
        self.norm = torch.nn.LayerNorm(16)
        self.last = torch.nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.conv(x)).flatten(2).transpose(1, 2)
        parts = (self.mixed(x)[:, :, n * 16 : (n + 1) * 16] for n in range(3))
        heads = (part.unflatten(2, (2, 8)).transpose(1, 2) for part in parts)
        y = torch.nn.functional.scaled_dot_product_attention(*heads)
        x = self.norm(x + y.transpose(1, 2).flatten(2))
        return torch.softmax(self.last(torch.nn.functional.gelu(x).mean(1)), -1)


NORMED = """
import torch
class Normed(torch.nn.Module):
    def __init__(self):
        super().__init__()
        norms = [torch.nn.BatchNorm1d(4) for _ in range(2)]
        self.rows = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.ReLU(), *norms)
    def forward(self, x):
        y = self.rows(x)
        return y @ y.transpose(0, 1)
def make():
    torch.manual_seed(0)
    return Normed().eval(), (torch.zeros(3, 6),)
"""
"""Normalisations as they are made: with equal parameters, of which an exporter keeps one."""


def certified(store: Store, run: Run) -> Certificate:
    (found,) = certify([run], ExecutionContext(store, 1, 600, ProgressLines(io.StringIO())))
    return found


def source_run(store: Store) -> Run:
    runs = [read_run(record) for record in store.runs()]
    return next(run for run in runs if run.row["settings"]["graph"] == "source")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store with the network run by PyTorch itself and as its exported graph."""
    folder = tmp_path_factory.mktemp("sources")
    program = torch.export.export(Network().eval(), (torch.zeros(1, 3, 8, 8),))
    torch.export.save(program, folder / "net.pt2")
    samples = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)
    np.save(folder / "x.npy", samples)
    told = ["--inputs", str(folder / "x.npy"), "--store", str(folder / "store")]
    assert main(["run", str(folder / "net.pt2"), "--backends", "torch", *told]) == 0
    return Store(folder / "store")


def test_every_layer_of_a_module_is_judged_and_rounds(store: Store) -> None:
    found = certified(store, source_run(store))
    assert (found.faults, found.not_judged, found.other_arithmetics) == ((), (), ())
    rounding = {each.tap for each in found.layers if each.verdict == "rounding"}
    assert {"conv2d", "linear", ATTENTION, "layer_norm", "gelu", "softmax"} <= rounding
    assert any("the nodes that the exporter made of them" in note for note in found.notes)


def test_an_attention_of_several_nodes_that_is_off_is_a_fault_there_alone(store: Store) -> None:
    run = source_run(store)
    results = []
    for result in run.results:
        (row,) = (each for each in result["taps"] if each["name"] == ATTENTION)
        wrong = store.read_tensor(row).array * np.float32(1.001)
        tensor = {"name": ATTENTION, **write_tensor(str(store.folder), from_numpy(wrong))}
        taps = [tensor if each is row else each for each in result["taps"]]
        results.append({**result, "taps": taps})
    found = certified(store, dataclasses.replace(run, results=results))
    assert found.faults[0].tap == ATTENTION
    after = [each.operator for each in found.faults[1:]]
    assert set(after) <= {"Transpose", "Reshape"}  # which read it, and were recorded as they were


def test_parameters_that_an_exporter_keeps_once_are_judged_with_their_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "normed_net.py").write_text(NORMED)
    monkeypatch.syspath_prepend(str(tmp_path))  # where it is looked for, and where it is run
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    told = ["--backends", "torch", "--store", str(tmp_path)]
    assert main(["run", "normed_net:make", *told]) == 0
    found = certified(Store(tmp_path), source_run(Store(tmp_path)))
    assert (found.faults, found.not_judged) == ((), ())
    operators = [each.operator for each in found.layers]
    assert operators.count("BatchNormalization") == 2
    (product,) = (each for each in found.layers if each.operator == "MatMul")
    assert product.judgement is not None
    assert product.judgement.terms == 4  # of which the second factor, a transpose, is not recorded


def test_a_keras_model_is_judged_layer_by_layer(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    folder = str(tmp_path / "store")
    assert main(["run", "cifar10-small", "--backends", "tf", "--store", folder]) == 0
    store = Store(Path(folder))
    found = certified(store, source_run(store))
    assert (found.faults, found.not_judged) == ((), ())
    terms = {each.judgement.terms for each in found.layers if each.judgement}
    assert {27, 75, 320, 128} <= terms
