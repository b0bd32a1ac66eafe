"""What the tests of ONNX Runtime share: small graphs, and sessions over them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from xbackend.plugins import registry
from xbackend.testing.artifacts import default_settings, load_backend, make_artifact
from xbackend.worker.artifact import Artifact
from xbackend.worker.contract import Session, SettingValue

Prepare = Callable[..., Session]


@pytest.fixture
def prepare() -> Prepare:
    """Open a session over an artifact, with the default settings but for some."""
    spec = registry.backend("ort")

    def opened(artifact: Artifact, **changes: SettingValue) -> Session:
        return load_backend(spec).prepare(artifact, {**default_settings(spec), **changes})

    return opened


@pytest.fixture
def fusable(tmp_path: Path) -> Artifact:
    """Conv, Identity, Relu: basic optimisation drops the second, extended fuses the others."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["conv"], name="first"),
        helper.make_node("Identity", ["conv"], ["same"], name="second"),
        helper.make_node("Relu", ["same"], ["y"], name="third"),
    ]
    weight = helper.make_tensor("w", TensorProto.FLOAT, [16, 16, 1, 1], [0.5] * 256)
    return make_artifact(graph_model(nodes, ("x", "y"), [1, 16, 2, 2], weight), tmp_path)


@pytest.fixture
def cast_to_bfloat16(tmp_path: Path) -> Artifact:
    """Cast float32 to bfloat16 and back: `b` is a bfloat16 tap, `y` what is left."""
    nodes = [
        helper.make_node("Cast", ["x"], ["b"], to=TensorProto.BFLOAT16),
        helper.make_node("Cast", ["b"], ["y"], to=TensorProto.FLOAT),
    ]
    return make_artifact(graph_model(nodes, ("x", "y"), [4]), tmp_path)


def graph_model(
    nodes: list[onnx.NodeProto],
    names: tuple[str, str],
    shape: list[int],
    *weights: onnx.TensorProto,
) -> onnx.ModelProto:
    """Build a model with one input and one output of the same shape, in float32."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in names]
    graph = helper.make_graph(nodes, "graph", values[:1], values[1:], list(weights))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
