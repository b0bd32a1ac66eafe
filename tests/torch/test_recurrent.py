"""LSTM, GRU and RNN as ONNX has them against PyTorch's own layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from xbackend.plugins import registry
from xbackend.testing.artifacts import default_settings, load_backend, make_artifact
from xbackend.worker.tensor import from_numpy

Array = np.ndarray[Any, Any]
STEPS, BATCH, INPUTS, HIDDEN = 5, 3, 4, 6

ORDER = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN": (0,)}
"""Where ONNX's gates stand in PyTorch's weights: iofc of ifgo, zrh of rzn."""


def rows(operator: str, weight: torch.Tensor) -> Array:
    """Return a weight or bias with its gates in ONNX's order."""
    parts = weight.detach().numpy().reshape(len(ORDER[operator]), HIDDEN, -1)
    return parts[list(ORDER[operator])].reshape(weight.shape)


def model_of(layer: torch.nn.RNNBase, operator: str) -> onnx.ModelProto:
    """Write a layer with both directions as one ONNX node."""
    ends = ("", "_reverse")
    named = dict(layer.named_parameters())
    w, r = (
        np.stack([rows(operator, named[f"weight_{kind}_l0{end}"]) for end in ends])
        for kind in ("ih", "hh")
    )
    b = np.stack(
        [
            np.concatenate([rows(operator, named[f"bias_{kind}_l0{end}"]) for kind in ("ih", "hh")])
            for end in ends
        ]
    )
    states = ["h"] + ["c"] * (operator == "LSTM")
    more = {"linear_before_reset": 1} if operator == "GRU" else {}
    node = helper.make_node(
        operator,
        ["x", "w", "r", "b", "", *states],
        ["y", "y_h", "y_c"][: 1 + len(states)],
        hidden_size=HIDDEN,
        direction="bidirectional",
        **more,
    )
    shapes = {"x": [STEPS, BATCH, INPUTS], "h": [2, BATCH, HIDDEN], "c": [2, BATCH, HIDDEN]}
    graph = helper.make_graph(
        [node],
        "recurrent",
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shapes[name])
            for name in ("x", *states)
        ],
        [
            helper.make_tensor_value_info(
                name, TensorProto.FLOAT, [None] * (4 if name == "y" else 3)
            )
            for name in node.output
        ],
        [numpy_helper.from_array(a, n) for n, a in (("w", w), ("r", r), ("b", b))],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("operator", ["LSTM", "GRU", "RNN"])
def test_a_layer_of_both_directions_is_close_to_pytorchs_own(operator: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    layer = getattr(torch.nn, operator)(INPUTS, HIDDEN, bidirectional=True)
    x = torch.randn(STEPS, BATCH, INPUTS)
    states = [torch.randn(2, BATCH, HIDDEN) for _ in range(1 + (operator == "LSTM"))]
    given = tuple(states) if operator == "LSTM" else states[0]
    with torch.no_grad():
        wanted, last = layer(x, given)
    artifact = make_artifact(model_of(layer, operator), tmp_path)
    spec = registry.backend("torch")
    inputs = {"x": x, **dict(zip(("h", "c"), states, strict=False))}
    with load_backend(spec).prepare(artifact, default_settings(spec)) as session:
        found = session.run({name: from_numpy(each.numpy()) for name, each in inputs.items()})
    y = found["y"].array.transpose(0, 2, 1, 3).reshape(STEPS, BATCH, 2 * HIDDEN)
    np.testing.assert_allclose(y, wanted.numpy(), rtol=1e-5, atol=1e-6)
    ends = last if operator == "LSTM" else (last,)
    for name, end in zip(("y_h", "y_c"), ends, strict=False):
        np.testing.assert_allclose(found[name].array, end.numpy(), rtol=1e-5, atol=1e-6)
