"""What is quantized already runs as it is, in one section, and is not quantized again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import xbackend as xb

X = np.float32([[0.04, 0.06, -0.25, 20.0]])
ROUNDED = np.float32([[0.0, 1.0, -2.0, 127.0]]) * np.float32(0.1)
"""Of steps of 0.1: ties go to even, and what is too large becomes the largest."""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Write a model that rounds to steps of 0.1."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xy")
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "step", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "step", "zero"], ["y"]),
    ]
    weights = [
        numpy_helper.from_array(np.float32(0.1), "step"),
        numpy_helper.from_array(np.int8(0), "zero"),
    ]
    graph = helper.make_graph(nodes, "steps", [x], [y], weights)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(made, tmp_path / "steps.onnx")
    return tmp_path / "steps.onnx"


def test_every_backend_runs_the_integers_that_are_there(model: Path, tmp_path: Path) -> None:
    runs = xb.run(
        str(model), backends="ort,torch,fixed", inputs=X, taps="outputs", store=tmp_path / "store"
    )
    assert [run.row["status"] for run in runs] == ["ok"] * 3
    for place in range(3):
        assert runs.outputs(place)["0"]["y"].tobytes() == ROUNDED.tobytes()
    (section,) = xb.compare(runs).sections
    assert len(section.classes) == 1


def test_a_quantized_model_is_not_quantized_again(model: Path, tmp_path: Path) -> None:
    (run,) = xb.run(
        str(model), backends="fixed", precisions="int8", inputs=X, store=tmp_path / "store"
    )
    assert run.row["status"] == "skipped"
    assert "'steps' is quantized already" in run.row["error"]["message"]
