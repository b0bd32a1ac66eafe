"""Changes of the number format: Cast, and between numbers and their quantised integers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, Optional, Tuple

import tensorflow as tf

from xbackend.worker.geometry.shapes import along

from ..value import Value, first

if TYPE_CHECKING:
    from xbackend.worker.graph import Node

Tensor = Any


def cast(node: Node, x: Value) -> Value:
    """Change the format; floats become integers by rounding towards zero."""
    return x.like(tf.cast(x.tensor, node.attributes["to"]))


def cast_like(node: Node, x: Value, like: Value) -> Value:
    """Change the format to another tensor's."""
    return x.like(tf.cast(x.tensor, like.tensor.dtype))


def quantize_linear(node: Node, x: Value, scale: Value, zero: Optional[Value] = None) -> Value:
    """Return round(x / scale) + zero, ties to even, bounded by the integers' format."""
    dtype = tf.uint8 if zero is None else zero.tensor.dtype
    if zero is None and node.attributes.get("output_dtype"):
        dtype = tf.as_dtype(node.attributes["output_dtype"])
    y = tf.round(first(x) / tf.cast(_spread(scale, node, x), x.tensor.dtype))
    if zero is not None:
        y += tf.cast(_spread(zero, node, x), y.dtype)
    return Value(tf.cast(tf.clip_by_value(y, dtype.min, dtype.max), dtype))


def dequantize_linear(node: Node, x: Value, scale: Value, zero: Optional[Value] = None) -> Value:
    """Return (x - zero) * scale."""
    steps = first(x) if x.tensor.dtype.is_floating else tf.cast(first(x), tf.int32)
    if zero is not None:
        steps -= tf.cast(_spread(zero, node, x), steps.dtype)
    dtype = scale.tensor.dtype
    y = tf.cast(steps, dtype) * _spread(scale, node, x)
    return Value(tf.cast(y, node.attributes.get("output_dtype") or dtype))


def _spread(parameter: Value, node: Node, x: Value) -> Tensor:
    """Return a parameter so that it broadcasts.

    There is one for all, or one for each place of an axis, or one for each block of places.
    """
    tensor = parameter.tensor
    if tensor.shape.rank == 0 or parameter.shape == [1]:
        return tf.reshape(tensor, [])
    axis, block = node.attributes["axis"] % x.rank, node.attributes.get("block_size", 0)
    if block:
        return tf.repeat(tensor, block, axis=axis)[_up_to(axis, x)]
    return tf.reshape(tensor, along(axis, x.rank))


def _up_to(axis: int, x: Value) -> Tuple[slice, ...]:
    """Return the part of repeated blocks that the input has; the last block may be shorter."""
    return (*[slice(None)] * axis, slice(0, x.shape[axis]))


OPERATORS: Dict[str, Callable[..., Value]] = {
    "Cast": cast,
    "CastLike": cast_like,
    "DequantizeLinear": dequantize_linear,
    "QuantizeLinear": quantize_linear,
}
