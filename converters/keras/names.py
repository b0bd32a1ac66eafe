"""Readable names for what tf2onnx made of a Keras model: `conv1`, `conv1/kernel`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx

Array = np.ndarray[Any, Any]
Bits = tuple[str, str]


def names_of_layers(
    model: onnx.ModelProto, plain: Mapping[str, str], scopes: set[str]
) -> dict[str, str]:
    """Return plain names, but the last value of each layer has the layer's own name.

    A Transpose that tf2onnx added, to go from Keras's layout to ONNX's or back, belongs to no
    layer: it is called `<its input>/Transpose`.
    """
    added = {node.output[0]: node.input[0] for node in model.graph.node if _is_added(node)}
    last = {
        layer: name
        for node in model.graph.node
        for name in node.output
        if name in plain and name not in added and (layer := layer_of(plain[name], scopes))
    }
    names = {**plain, **{name: layer for layer, name in last.items()}}
    for name in [name for name in added if name in plain]:
        names[name] = f"{names.get(added[name], added[name])}/Transpose"
    return names


def _is_added(node: onnx.NodeProto) -> bool:
    """Tell whether a node is a Transpose by tf2onnx, which ends the names of its own in `__n`."""
    _, mark, number = node.name.rpartition("__")
    return node.op_type == "Transpose" and bool(mark) and number.isdigit()


def layer_of(name: str, scopes: set[str]) -> str:
    """Return the layer that a value lies in, with the models around it; nothing if in none.

    >>> layer_of("encoder/conv1/BiasAdd", {"encoder", "conv1", "conv2"})
    'encoder/conv1'
    """
    parts = name.split("/")
    outside = (index for index, part in enumerate(parts) if part not in scopes)
    return "/".join(parts[: next(outside, len(parts))])


def names_of_weights(model: onnx.ModelProto, weights: Mapping[str, Array]) -> dict[str, str]:
    """Return initializer to Keras weight, where exactly one weight has its bits.

    They are compared in Keras's layout and in ONNX's, which has the filters first.
    """
    from onnx.numpy_helper import to_array

    holders: dict[Bits, list[str]] = {}
    for path, array in weights.items():
        for bits in {_bits(array), _bits(filters_first(array))}:
            holders.setdefault(bits, []).append(path)
    found = {t.name: holders.get(_bits(to_array(t)), []) for t in model.graph.initializer}
    return {name: paths[0] for name, paths in found.items() if len(paths) == 1}


def filters_first(array: Array) -> Array:
    """Turn (height, width, in, out) into (out, in, height, width), whatever the number of axes.

    >>> filters_first(np.zeros((5, 7, 3, 9))).shape
    (9, 3, 5, 7)
    """
    if array.ndim < 2:
        return array
    *space, inputs, outputs = range(array.ndim)
    return array.transpose(outputs, inputs, *space)


def _bits(array: Array) -> Bits:
    return array.dtype.name, hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
