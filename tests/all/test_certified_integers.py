"""Certificates of small graphs: whole numbers, copied statistics, other arithmetics in one go."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from xbackend.commands.main import main
from xbackend.diagnosis.certificate import certify
from xbackend.execution.execute import ExecutionContext
from xbackend.execution.progress import ProgressLines
from xbackend.store.records import Run, read_run
from xbackend.store.store import Store
from xbackend.worker.objects import write_tensor
from xbackend.worker.tensor import from_numpy

Array = np.ndarray[Any, Any]


def run(folder: Path, nodes: list[onnx.NodeProto], **weights: Array) -> tuple[Run, Store]:
    """Run nodes from `x` to `y` on one sample by ONNX Runtime."""
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, (1, 3)) for n in "xy"]
    tensors = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], tensors)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(made, folder / "net.onnx")
    np.save(folder / "x.npy", np.array([[7, -2, 5]], np.float32))
    store = Store(folder / "store")
    told = ["--inputs", str(folder / "x.npy"), "--store", str(store.folder), "--taps", "layers"]
    assert main(["run", str(folder / "net.onnx"), "--backends", "ort", *told]) == 0
    (record,) = store.runs()
    return read_run(record), store


def verdicts(found: Run, store: Store) -> dict[str, str]:
    return verdicts_and_progress(found, store)[0]


def verdicts_and_progress(found: Run, store: Store) -> tuple[dict[str, str], str]:
    said = io.StringIO()
    (certificate,) = certify([found], ExecutionContext(store, 1, 600, ProgressLines(said)))
    return {each.tap: each.verdict for each in certificate.layers}, said.getvalue()


def with_tensor(found: Run, store: Store, name: str, array: Array) -> Run:
    """Return a run as if a tensor had come out as told."""
    row = {"name": name, **write_tensor(str(store.folder), from_numpy(array))}
    (result,) = found.results
    kinds = {
        kind: [row if each["name"] == name else each for each in result[kind]]
        for kind in ("taps", "outputs")
    }
    return dataclasses.replace(found, results=[{**result, **kinds}])


def tensor(found: Run, store: Store, name: str) -> Array:
    (result,) = found.results
    rows = [*result["taps"], *result["outputs"]]
    return store.read_tensor(next(each for each in rows if each["name"] == name)).array


def test_layers_of_whole_numbers_are_exact_or_a_fault(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    node = helper.make_node
    nodes = [
        node("Cast", ["x"], ["i"], to=TensorProto.INT32),
        node("Mul", ["i", "big"], ["m"]),
        node("Div", ["m", "three"], ["d"]),
        node("Mod", ["d", "three"], ["o"]),
        node("Add", ["m", "o"], ["p"]),
        node("Cast", ["p"], ["y"], to=TensorProto.FLOAT),
    ]
    big, three = (np.array(n, np.int32) for n in (2_000_000_000, -3))
    found, store = run(tmp_path, nodes, big=big, three=three)
    assert verdicts(found, store) == dict.fromkeys("imdopy", "exact")
    lower = with_tensor(found, store, "d", tensor(found, store, "d") - 1)  # as if rounded down
    assert verdicts(lower, store)["d"] == "beyond rounding"


def test_statistics_that_nodes_copy_from_weights_are_known(tmp_path: Path) -> None:
    """An exporter writes equal weights once, and copies them by Identity."""
    pytest.importorskip("onnxruntime")
    nodes = [
        helper.make_node("Identity", ["ones"], ["mean"]),
        helper.make_node("Identity", ["ones"], ["variance"]),
        helper.make_node("BatchNormalization", ["x", "ones", "ones", "mean", "variance"], ["y"]),
    ]
    found, store = run(tmp_path, nodes, ones=np.ones(3, np.float32))
    assert verdicts(found, store) == {"y": "rounding"}
    other = with_tensor(found, store, "y", tensor(found, store, "y") * np.float32(1.001))
    assert verdicts(other, store) == {"y": "beyond rounding"}


@pytest.mark.parametrize(("operator", "workers"), [("MatMul", 0), ("Conv", 2)])
def test_other_arithmetics_are_tried_by_one_worker_or_none(
    operator: str, workers: int, tmp_path: Path
) -> None:
    """A product is computed here; a convolution along one axis by a worker, all forms at once."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("torch")
    node, weight = helper.make_node, np.full((3, 3), 0.3, np.float32)
    nodes = [node("MatMul", ["x", "w"], ["m"]), node("Neg", ["m"], ["y"])]
    if operator == "Conv":
        weight = np.full((1, 1, 1), 0.3, np.float32)
        nodes = [
            node("Unsqueeze", ["x", "axis"], ["wide"]),
            node("Conv", ["wide", "w"], ["m"]),
            node("Squeeze", ["m", "axis"], ["y"]),
        ]
    found, store = run(tmp_path, nodes, w=weight, axis=np.array([1]))
    wrong = with_tensor(found, store, "m", tensor(found, store, "m") * np.float32(1.5))
    judged, said = verdicts_and_progress(wrong, store)
    assert judged["m"] == "beyond rounding"
    assert "trying TF32 products and bfloat16 products for 1 layer beyond float32" in said
    assert said.count(": ok in") == workers
