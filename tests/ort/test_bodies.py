"""What ONNX Runtime computes within If and Loop is recorded, with the iteration or branch told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from xbackend.plugins import registry
from xbackend.testing.artifacts import default_settings, load_backend, make_artifact
from xbackend.worker.tensor import from_numpy

Array = np.ndarray[Any, Any]
FLOAT, BOOL, INT64 = TensorProto.FLOAT, TensorProto.BOOL, TensorProto.INT64
node, value = helper.make_node, helper.make_tensor_value_info
X = np.float32([[1, -2], [3, -4]])


def taps(
    folder: Path,
    nodes: Sequence[onnx.NodeProto],
    outputs: Sequence[str],
    constants: dict[str, Array],
    **inputs: Array,
) -> tuple[dict[str, Array], dict[str, Any]]:
    """Return all taps of a model whose inputs are these, and the session's facts."""
    kinds = {"bool": BOOL, "float32": FLOAT}
    graph = helper.make_graph(
        list(nodes),
        "bodies",
        [value(name, kinds[array.dtype.name], array.shape) for name, array in inputs.items()],
        [value(name, FLOAT, [None, None]) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    artifact = make_artifact(helper.make_model(graph, opset_imports=opsets, ir_version=8), folder)
    spec = registry.backend("ort")
    with load_backend(spec).prepare(artifact, default_settings(spec, "float32")) as session:
        tensors = {name: from_numpy(array) for name, array in inputs.items()}
        session.run(tensors)
        found = {name: tensor.array for name, tensor in session.tap(tensors, session.taps)}
        return found, session.facts()


def branches() -> onnx.NodeProto:
    """Make an If that halves the relu of x, or doubles x."""
    yes = helper.make_graph(
        [node("Relu", ["x"], ["r"]), node("Mul", ["r", "half"], ["a"])],
        "yes", [], [value("a", FLOAT, [2, 2])],
    )  # fmt: skip
    no = helper.make_graph([node("Add", ["x", "x"], ["b"])], "no", [], [value("b", FLOAT, [2, 2])])
    return node("If", ["flag"], ["y"], "choice", then_branch=yes, else_branch=no)


def test_only_the_values_of_the_branch_that_ran_are_recorded(tmp_path: Path) -> None:
    half = {"half": np.float32(0.5)}
    found, _ = taps(tmp_path / "a", [branches()], ["y"], half, x=X, flag=np.array(True))
    assert list(found) == ["choice[then]/r", "choice[then]/a", "y"]
    assert found["choice[then]/r"].tolist() == [[1, 0], [3, 0]]
    assert found["choice[then]/a"].tolist() == [[0.5, 0], [1.5, 0]]
    found, _ = taps(tmp_path / "b", [branches()], ["y"], half, x=X, flag=np.array(False))
    assert list(found) == ["choice[else]/b", "y"]
    assert found["choice[else]/b"].tolist() == [[2, -4], [6, -8]]


def loop(body: Sequence[onnx.NodeProto], shape: Sequence[int | None]) -> onnx.NodeProto:
    """Make a Loop of three iterations with one state."""
    graph = helper.make_graph(
        [*body, node("Identity", ["go"], ["on"])],
        "body",
        [value("i", INT64, []), value("go", BOOL, []), value("s", FLOAT, shape)],
        [value("on", BOOL, []), value("t", FLOAT, shape)],
    )
    return node("Loop", ["three", "", "x"], ["y"], "again", body=graph)


def test_each_iteration_is_recorded_by_its_number(tmp_path: Path) -> None:
    step = [node("Add", ["s", "one"], ["u"]), node("Mul", ["u", "two"], ["t"])]
    constants = {"three": np.int64(3), "one": np.float32(1), "two": np.float32(2)}
    found, facts = taps(tmp_path, [loop(step, [2, 2])], ["y"], constants, x=X)
    sums = [found[f"again[{i}]/u"].tolist() for i in range(3)]
    assert sums == [[[2, -1], [4, -3]], [[5, -1], [9, -5]], [[11, -1], [19, -9]]]
    assert found["again[2]/t"].tolist() == found["y"].tolist() == [[22, -2], [38, -18]]
    assert list(found)[:3] == ["again[0]/u", "again[0]/t", "again[0]/on"]
    assert "untapped" not in facts


def test_values_whose_shape_changes_are_left_out_and_that_is_said(tmp_path: Path) -> None:
    step = [node("Concat", ["s", "x"], ["t"], axis=0)]
    found, facts = taps(tmp_path, [loop(step, [None, 2])], ["y"], {"three": np.int64(3)}, x=X)
    assert list(found) == ["y"]
    assert found["y"].shape == (8, 2)
    assert facts["untapped"].startswith("Values within loops were not recorded: ")
