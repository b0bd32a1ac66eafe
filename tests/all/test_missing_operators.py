"""The same lack is the same verdict in every backend: skipped, with the operator's name."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

import xbackend
from xbackend.worker.artifact import read_artifact


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Distinct elements, which only ONNX Runtime has."""
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Unique", ["r"], ["y"])],
        "distinct",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None])],
    )
    path = tmp_path / "distinct.onnx"
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def test_every_backend_that_lacks_an_operator_is_skipped_before_a_conversion(
    model: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    words = ["ort", "tf", "torch", "tflite", "fixed"]
    runs = xbackend.run(str(model), backends=words, precisions=["float32"], store=store)
    found = {run.row["backend"]: run for run in runs}
    assert found["ort"].row["status"] == "ok"
    for word in words[1:]:
        assert found[word].row["status"] == "skipped"
        assert found[word].row["error"]["message"] == (
            f"Backend '{word}' has no Unique, which this model uses. "
            "Choose other backends with --backends."
        )
    assert {read_artifact(path.parent).format for path in store.rglob("artifact.json")} == {"graph"}


def test_what_tensorflow_lites_converter_lacks_is_skipped_too(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Erf", ["x"], ["y"])],
        "error function",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])],
    )
    path = tmp_path / "erf.onnx"
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    (run,) = xbackend.run(str(path), backends=["tflite"], store=tmp_path / "store")
    assert run.row["status"] == "skipped"
    assert "TensorFlow Lite lacks: Erf. A GELU by tanh" in run.row["error"]["message"]
