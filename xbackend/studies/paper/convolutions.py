"""Models of independent convolutions, many in one graph, so that one worker computes them all.

That the others change no bit of a convolution was measured, and the tests hold it: they share
nothing but an input at most, and no framework fuses convolutions side by side.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from xbackend.store.store import Store

Array = np.ndarray[Any, Any]

OPSET = 17
IR_VERSION = 8


@dataclass(frozen=True)
class Convolution:
    """One convolution with a stride of one and zeros around, so that extents stay."""

    name: str
    """Of what it computes."""
    reads: str
    """The name of its input."""
    weights: Array
    """(filters, channels, kernel, kernel), float32."""
    bias: Array | None = None
    """(filters,), float32."""


def write_model(
    store: Store, name: str, convolutions: Sequence[Convolution], inputs: Mapping[str, Array]
) -> Path:
    """Write the ONNX file of some convolutions into a store; the same ones give the same bytes.

    `inputs` has an array for each input, samples along axis 0.
    """
    shapes = {key: (1, *array.shape[1:]) for key, array in inputs.items()}
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [_node(each) for each in convolutions],
        name,
        [value(key, TensorProto.FLOAT, shape) for key, shape in shapes.items()],
        [value(each.name, TensorProto.FLOAT, _shape(each, shapes)) for each in convolutions],
        [tensor for each in convolutions for tensor in _tensors(each)],
    )
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(
        graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="xbackend"
    )
    data: bytes = model.SerializeToString(deterministic=True)
    path = store.folder / "studies" / hashlib.sha256(data).hexdigest()[:12] / f"{name}.onnx"
    store.write_file(path, data)
    return path


def _node(convolution: Convolution) -> onnx.NodeProto:
    kernel = convolution.weights.shape[-1]
    before, after = (kernel - 1) // 2, kernel // 2
    return helper.make_node(
        "Conv",
        [convolution.reads, *(tensor.name for tensor in _tensors(convolution))],
        [convolution.name],
        convolution.name,
        kernel_shape=[kernel, kernel],
        pads=[before, before, after, after],
        strides=[1, 1],
    )


def _tensors(convolution: Convolution) -> list[onnx.TensorProto]:
    parts = {"weights": convolution.weights, "bias": convolution.bias}
    return [
        numpy_helper.from_array(array.astype("<f4"), f"{convolution.name}/{part}")
        for part, array in parts.items()
        if array is not None
    ]


def _shape(convolution: Convolution, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    _, _, *extents = shapes[convolution.reads]
    return (1, convolution.weights.shape[0], *extents)
