"""What reaches a layer of a network, computed in integers: the same bits on every machine.

Every float32 is a whole multiple of 2**-149, so sums of products are exact in Python's integers.
Each convolution is rounded once, at its end.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from xbackend.errors import UsageError

Array = np.ndarray[Any, Any]

UNIT = 149
"""Float32 numbers are multiples of 2 to the power of minus this."""


def read_layer(model: Path, layer: str, samples: Array) -> tuple[Array, Array, Array]:
    """Return the weights and the bias of a convolution, and what it reads, samples along axis 0.

    Raises UsageError where there is none, or where something other than `OPERATORS` comes before.
    """
    graph = onnx.load(model).graph
    weights = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    nodes = {node.output[0]: node for node in graph.node}
    node = nodes.get(layer)
    if node is None or node.op_type != "Conv" or len(node.input) != 3:
        known = [name for name, each in nodes.items() if each.op_type == "Conv"]
        raise UsageError(
            f"The model {model} has no convolution '{layer}' with a bias. Convolutions: "
            f"{', '.join(known) or 'none'}."
        )
    values = {graph.input[0].name: samples}
    read = _value(node.input[0], nodes, weights, values)
    return weights[node.input[1]], weights[node.input[2]], read


def _value(
    name: str, nodes: dict[str, Any], weights: dict[str, Array], values: dict[str, Array]
) -> Array:
    if name not in values:
        node = nodes[name]
        if node.op_type not in OPERATORS:
            raise UsageError(
                f"The layer comes after '{name}', a {node.op_type}; exactly computed are "
                f"{', '.join(OPERATORS)}. Choose a layer nearer to the beginning."
            )
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        first = _value(node.input[0], nodes, weights, values)
        more = [weights[key] for key in node.input[1:]]
        values[name] = OPERATORS[node.op_type](first, more, attributes)
    return values[name]


def _transpose(x: Array, _: list[Array], attributes: dict[str, Any]) -> Array:
    return x.transpose(attributes["perm"])


def _relu(x: Array, _: list[Array], __: dict[str, Any]) -> Array:
    return np.maximum(x, np.float32(0))


def _convolve(x: Array, more: list[Array], attributes: dict[str, Any]) -> Array:
    """Convolve with any padding, a stride of one and one group."""
    weights = more[0]
    if set(attributes.get("strides", [1])) | set(attributes.get("dilations", [1])) != {1}:
        raise UsageError("A convolution before the layer has strides. Choose an earlier layer.")
    top, left, bottom, right = attributes.get("pads", [0, 0, 0, 0])
    high, wide = x.shape[2:]
    padded = np.full((*x.shape[:2], top + high + bottom, left + wide + right), 0, object)
    padded[:, :, top : top + high, left : left + wide] = _whole(x)  # np.pad's zeros have 64 bits
    factors = _whole(weights)
    rows = padded.shape[2] - weights.shape[2] + 1
    columns = padded.shape[3] - weights.shape[3] + 1
    total = np.zeros((x.shape[0], weights.shape[0], rows, columns), object)
    for row in range(weights.shape[2]):
        for column in range(weights.shape[3]):
            part = padded[:, :, row : row + rows, column : column + columns]
            products = np.tensordot(part, factors[:, :, row, column], axes=([1], [1]))
            total += np.moveaxis(products, -1, 1)
    if len(more) > 1:
        total += (_whole(more[1]) << UNIT).reshape(1, -1, 1, 1)
    return (
        np.array([value / (1 << 2 * UNIT) for value in total.flat], "f8")
        .astype("f4")
        .reshape(total.shape)
    )


def _whole(x: Array) -> Array:
    """Return float32 numbers as multiples of 2**-149."""
    numerators = [value.as_integer_ratio() for value in x.astype(np.float32).ravel().tolist()]
    whole = np.empty(len(numerators), object)
    whole[:] = [above * ((1 << UNIT) // below) for above, below in numerators]
    return whole.reshape(x.shape)


def _pool(x: Array, _: list[Array], attributes: dict[str, Any]) -> Array:
    """Take the maximum of windows that do not overlap."""
    kernel = attributes["kernel_shape"]
    if attributes.get("strides") != kernel or any(attributes.get("pads", [])):
        raise UsageError("Windows of a pooling before the layer overlap. Choose an earlier layer.")
    samples, channels, rows, columns = x.shape
    high, wide = rows // kernel[0], columns // kernel[1]
    cut = x[:, :, : high * kernel[0], : wide * kernel[1]]
    windows = cut.reshape(samples, channels, high, kernel[0], wide, kernel[1])
    largest: Array = windows.max(axis=(3, 5))
    return largest


OPERATORS: dict[str, Callable[[Array, list[Array], dict[str, Any]], Array]] = {
    "Conv": _convolve,
    "MaxPool": _pool,
    "Relu": _relu,
    "Transpose": _transpose,
}
"""What is computed: by ONNX operator, from the first input, the weights and the attributes."""
