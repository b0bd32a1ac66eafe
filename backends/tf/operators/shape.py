"""Operators that read or change the shape and leave the elements in their order."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional

import tensorflow as tf

from xbackend.worker.geometry import shapes

from ..value import Value, constant, first, integers, to_first, to_last, without

if TYPE_CHECKING:
    from xbackend.worker.graph import Node


def transpose(node: Node, x: Value) -> Value:
    """Permute the axes; only by name where that moves the channels to where they are held."""
    order = shapes.reversed_unless(node, x.rank)
    if x.rank >= 3 and x.channels_last and order == to_last(x.rank):
        return Value(x.tensor)
    if x.rank >= 3 and not x.channels_last and order == to_first(x.rank):
        return Value(x.tensor, channels_last=True)
    return Value(tf.transpose(x.tensor, x.axes(order)))


def reshape(node: Node, x: Value, shape: Value) -> Value:
    """Give the elements another shape: 0 copies an extent, -1 takes what is left."""
    wanted = integers(shape, "input 'shape' of Reshape")
    return Value(tf.reshape(first(x), shapes.reshaped(node, x.shape, wanted)))


def flatten(node: Node, x: Value) -> Value:
    """Make a matrix of the axes before `axis` and those from it on."""
    return Value(tf.reshape(first(x), shapes.flattened(x.shape, node.attributes["axis"])))


def squeeze(node: Node, x: Value, axes: Optional[Value] = None) -> Value:
    """Drop axes of one element."""
    if axes is None:
        dropped = [axis for axis, extent in enumerate(x.shape) if extent == 1]
    else:
        dropped = integers(axes, "input 'axes' of Squeeze")
    if not dropped:
        return x
    x = without(x, dropped)
    return Value(tf.squeeze(x.tensor, x.axes(dropped)))


def unsqueeze(node: Node, x: Value, axes: Value) -> Value:
    """Add axes of one element, counted in the result."""
    added = integers(axes, "input 'axes' of Unsqueeze")
    extents = x.shape
    for axis in shapes.added_axes(x.rank, added):
        extents.insert(axis, 1)
    return Value(tf.reshape(first(x), extents))


def shape_of(node: Node, x: Value) -> Value:
    """Return the extents from `start` to `end`."""
    return Value(_known(shapes.part_of(node, x.shape)))


def size(node: Node, x: Value) -> Value:
    """Return the number of elements."""
    return Value(_known(prod(x.shape)))


def _known(numbers: Any) -> Any:
    """Return integers as a tensor whose elements are known while a graph is made, too."""
    with tf.init_scope():
        return tf.constant(numbers, tf.int64)


def expand(node: Node, x: Value, shape: Value) -> Value:
    """Repeat along axes of one element, in both directions: the wider shape wins."""
    wanted = integers(shape, "input 'shape' of Expand")
    return Value(tf.broadcast_to(first(x), _wider(x.shape, wanted)))


def _wider(left: List[int], right: List[int]) -> List[int]:
    """Return what two shapes broadcast to.

    >>> _wider([3, 1], [2, 1, 6])
    [2, 3, 6]
    """
    return [
        int(extent) for extent in tf.broadcast_static_shape(*map(tf.TensorShape, (left, right)))
    ]


def constant_of(node: Node) -> Value:
    """Return the tensor that the node holds."""
    return constant(node.attributes["value"])


def constant_of_shape(node: Node, shape: Value) -> Value:
    """Fill a shape with one element."""
    fill = constant(node.attributes["value"]).tensor
    return Value(tf.fill(integers(shape, "input of ConstantOfShape"), tf.reshape(fill, [])))


def arrange(node: Node, start: Value, limit: Value, delta: Value) -> Value:
    """Count from a start to a limit."""
    return Value(tf.range(start.tensor, limit.tensor, delta.tensor))


OPERATORS: Dict[str, Callable[..., Any]] = {
    "Constant": constant_of,
    "ConstantOfShape": constant_of_shape,
    "Expand": expand,
    "Flatten": flatten,
    "Range": arrange,
    "Reshape": reshape,
    "Shape": shape_of,
    "Size": size,
    "Squeeze": squeeze,
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
}
