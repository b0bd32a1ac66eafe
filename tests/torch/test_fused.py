"""With `torch.kernels=fused`, the layers of PyTorch compute what ONNX names after them."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper

from xbackend.plugins import registry
from xbackend.testing.artifacts import default_settings, load_backend, make_artifact
from xbackend.worker.tensor import from_numpy

HERE = Path(__file__).parent
SPEC = registry.backend("torch")


@pytest.fixture(scope="module")
def recurrent() -> ModuleType:
    """What writes a layer of PyTorch as one ONNX node."""
    from importlib import util

    spec = util.spec_from_file_location("recurrent_models", HERE / "test_recurrent.py")
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def outputs(model: Any, folder: Path, inputs: dict[str, torch.Tensor], **settings: str) -> Any:
    """Return the outputs, and the values that could be tapped."""
    artifact = make_artifact(model, folder)
    chosen = {**default_settings(SPEC), **settings}
    with load_backend(SPEC).prepare(artifact, chosen) as session:
        found = session.run({name: from_numpy(each.numpy()) for name, each in inputs.items()})
        return {name: tensor.array for name, tensor in found.items()}, session.taps


@pytest.mark.parametrize("operator", ["LSTM", "GRU", "RNN"])
def test_a_recurrent_layer_has_the_bits_of_pytorchs_own(
    operator: str, recurrent: ModuleType, tmp_path: Path
) -> None:
    torch.manual_seed(2)
    layer = getattr(torch.nn, operator)(4, 6, bidirectional=True)
    x = torch.randn(5, 3, 4)
    states = [torch.randn(2, 3, 6) for _ in range(1 + (operator == "LSTM"))]
    with torch.inference_mode():
        wanted, _ = layer(x, tuple(states) if operator == "LSTM" else states[0])
    inputs = {"x": x, **dict(zip(("h", "c"), states, strict=False))}
    model = recurrent.model_of(layer, operator)
    found, taps = outputs(model, tmp_path, inputs, kernels="fused")
    y = found["y"].transpose(0, 2, 1, 3).reshape(5, 3, 12)
    assert y.tobytes() == wanted.numpy().tobytes()
    assert set(taps) == set(found)


def one_node(operator: str, inputs: dict[str, torch.Tensor], **given: Any) -> Any:
    """Make a model of one node whose inputs are these."""
    graph = helper.make_graph(
        [helper.make_node(operator, list(inputs), ["y"], **given)],
        "fused",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, t.shape) for n, t in inputs.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, inputs[next(iter(inputs))].shape)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10)


def test_attention_and_rms_normalization_have_the_bits_of_pytorchs_functions(
    tmp_path: Path,
) -> None:
    torch.manual_seed(3)
    q, k, v = (torch.randn(2, 3, 5, 8) for _ in range(3))
    scale = torch.randn(8)
    with torch.inference_mode():
        attended = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        normed = torch.nn.functional.rms_norm(q, [8], scale, 1e-5)
    parts = {"q": q, "k": k, "v": v}
    model = one_node("Attention", parts, is_causal=1)
    found, _ = outputs(model, tmp_path / "a", parts, kernels="fused")
    assert found["y"].tobytes() == attended.numpy().tobytes()
    spelled, _ = outputs(model, tmp_path / "b", parts)
    np.testing.assert_allclose(spelled["y"], attended.numpy(), rtol=1e-4, atol=1e-6)
    parts = {"q": q, "s": scale}
    model = one_node("RMSNormalization", parts)
    found, _ = outputs(model, tmp_path / "c", parts, kernels="fused")
    assert found["y"].tobytes() == normed.numpy().tobytes()


def test_what_the_kernel_lacks_is_spelled_out(recurrent: ModuleType, tmp_path: Path) -> None:
    layer = torch.nn.GRU(4, 6, bidirectional=True)
    model = recurrent.model_of(layer, "GRU")
    model.graph.node[0].attribute.append(helper.make_attribute("clip", 0.5))
    inputs = {"x": torch.randn(5, 3, 4), "h": torch.randn(2, 3, 6)}
    _, taps = outputs(model, tmp_path, inputs, kernels="fused")
    assert any("[]/" in name for name in taps)
