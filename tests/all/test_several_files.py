"""The commonest case: a trained model, what was shipped of it, and that in int8, on one input."""

from __future__ import annotations

import numpy as np
import pytest

import xbackend as xb


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> xb.Comparison:
    folder = tmp_path_factory.mktemp("files")
    xb.convert("cifar10-small", ["onnx", "tflite", "tflite-int8"], output=folder)
    inputs = np.random.default_rng(0).random((2, 32, 32, 3)).astype(np.float32)
    names = ("cifar10-small.onnx", "cifar10-small.tflite", "cifar10-small.int8.tflite")
    for name, backend in zip(names, ("ort", "tflite", "tflite"), strict=True):
        xb.run(folder / name, backends=backend, inputs=inputs, store=folder / "store")
    return xb.compare(store=folder / "store")


def test_three_files_are_one_section(compared: xb.Comparison) -> None:
    assert [len(ids) for ids in compared.classes] == [1, 1, 1]
    assert {tap.tap for tap in compared.layers if tap.run_count == 3} == {
        "relu1", "pool1", "relu2", "pool2", "flatten", "relu3", "relu4", "dense3", "softmax",
    }  # fmt: skip


def test_layers_in_float_are_near_and_those_in_int8_within_its_steps(
    compared: xb.Comparison,
) -> None:
    rows = {
        (run.id, row["name"]): row
        for run in compared.result.samples[0].cohort.runs
        for row in (*run.results[0]["taps"], *run.results[0]["outputs"])
    }
    ort, flat, integers = (run.id for run in compared.runs)
    for tap in ("relu1", "pool2", "relu4", "dense3"):
        one, two, three = (
            compared.result.store.read_tensor(rows[run, tap]).array for run in (ort, flat, integers)
        )
        size = float(np.abs(one).max())
        assert float(np.abs(one - two).max()) < 1e-5 * size
        assert 0 < float(np.abs(one - three).max()) < 0.1 * size


def test_the_weights_are_told(compared: xb.Comparison) -> None:
    (fact,) = compared.result.across
    flat, integers = fact.weights
    assert flat is not None
    assert integers is not None
    assert {pair.kind for pair in flat.pairs} == {"same bits"}
    assert len(flat.pairs) == len(integers.pairs) == 10  # five layers, a kernel and a bias each
    assert {(pair.kind, pair.format) for pair in integers.pairs} == {
        ("quantized", "int8"),
        ("quantized", "int32"),
    }
    assert (flat.missing, flat.extra, integers.missing, integers.extra) == ((), (), (), ())


def test_the_report_says_so(compared: xb.Comparison) -> None:
    text = " ".join(str(compared).split())
    assert "These are 3 different files" in text
    assert "cifar10-small.tflite holds all 10 weights of cifar10-small.onnx with the same" in text
    assert "cifar10-small.int8.tflite holds 10 quantized to int8 and int32." in text
