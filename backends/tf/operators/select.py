"""Operators that take parts of tensors, or put tensors together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Tuple

import numpy as np
import tensorflow as tf

from xbackend.worker.geometry.shapes import parts
from xbackend.worker.geometry.slices import cut_and_padded, cuts, repeated, widths

from ..value import Value, aligned, first, integers, last, static

if TYPE_CHECKING:
    from xbackend.worker.geometry.sliding_window import Pads
    from xbackend.worker.graph import Node

Tensor = Any


def concat(node: Node, *values: Value) -> Value:
    """Join along an axis."""
    tensors, channels_last = aligned(values)
    joined = Value(tensors[0], channels_last)
    return joined.like(tf.concat(tensors, joined.physical(node.attributes["axis"])))


def split(node: Node, x: Value, sizes: Optional[Value] = None) -> Tuple[Value, ...]:
    """Cut along an axis, into parts of given sizes or as equal as may be."""
    axis = node.attributes["axis"]
    if sizes is None:
        lengths = parts(node, x.shape[axis])
    else:
        lengths = integers(sizes, "input 'split' of Split")
    return tuple(x.like(part) for part in tf.split(x.tensor, lengths, x.physical(axis)))


def take_slice(
    node: Node,
    x: Value,
    starts: Value,
    ends: Value,
    axes: Optional[Value] = None,
    steps: Optional[Value] = None,
) -> Value:
    """Take elements from start to end; ends beyond the input count as its own."""
    found = cuts(
        x.shape,
        integers(starts, "input 'starts' of Slice"),
        integers(ends, "input 'ends' of Slice"),
        None if axes is None else integers(axes, "input 'axes' of Slice"),
        None if steps is None else integers(steps, "input 'steps' of Slice"),
    )
    taken = [slice(None)] * x.rank
    for axis, cut in found.items():
        taken[x.physical(axis)] = cut
    return x.like(x.tensor[tuple(taken)])


def gather(node: Node, x: Value, indices: Value) -> Value:
    """Take the slices along an axis that indices name; negative ones count from its end."""
    axis = node.attributes["axis"]
    places = _from_start(first(indices), x.shape[axis])
    return Value(tf.gather(first(x), places, axis=axis))


def _from_start(indices: Tensor, extent: int) -> Tensor:
    known = tf.get_static_value(indices)
    if known is not None and not (known < 0).any():
        return indices
    return tf.where(indices < 0, indices + tf.cast(extent, indices.dtype), indices)


def gather_elements(node: Node, x: Value, indices: Value) -> Value:
    """Take single elements along an axis."""
    axis = node.attributes["axis"] % x.rank
    places = _from_start(first(indices), x.shape[axis])
    coordinates = tf.meshgrid(
        *(tf.range(n, dtype=places.dtype) for n in indices.shape), indexing="ij"
    )
    coordinates[axis] = places
    return Value(tf.gather_nd(first(x), tf.stack(coordinates, axis=-1)))


def gather_nd(node: Node, x: Value, indices: Value) -> Value:
    """Take the slices that tuples of indices name."""
    places = first(indices)
    depth, batch = indices.shape[-1], node.attributes["batch_dims"]
    extents = x.shape[batch : batch + depth]
    places = tf.where(places < 0, places + tf.constant(extents, places.dtype), places)
    return Value(tf.gather_nd(first(x), places, batch_dims=batch))


def tile(node: Node, x: Value, repeats: Value) -> Value:
    """Repeat along each axis."""
    return Value(tf.tile(first(x), integers(repeats, "input 'repeats' of Tile")))


def pad(
    node: Node,
    x: Value,
    pads: Value,
    fill: Optional[Value] = None,
    axes: Optional[Value] = None,
) -> Value:
    """Put elements around, or cut some away where a pad is negative."""
    amounts = integers(pads, "input 'pads' of Pad")
    along = None if axes is None else integers(axes, "input 'axes' of Pad")
    moved: List[Tuple[int, int]] = [(0, 0)] * x.rank
    for axis, pair in enumerate(widths(x.rank, amounts, along)):
        moved[x.physical(axis)] = pair
    cut, paddings = cut_and_padded(x.tensor.shape, tuple(moved))
    tensor, mode = x.tensor[cut], node.attributes["mode"]
    if mode == "constant":
        return x.like(_filled(tensor, paddings, fill))
    return x.like(_repeated(tensor, paddings, mode))


def _filled(tensor: Tensor, paddings: Pads, fill: Optional[Value]) -> Tensor:
    value = 0 if fill is None else tf.reshape(fill.tensor, [])
    return tf.pad(tensor, paddings, constant_values=tf.cast(value, tensor.dtype))


def _repeated(tensor: Tensor, paddings: Pads, mode: str) -> Tensor:
    """Pad by elements of the tensor itself, one axis after the other."""
    extents = tensor.shape
    if mode == "reflect" and all(max(p) < n for p, n in zip(paddings, extents)):
        return tf.pad(tensor, paddings, "REFLECT")
    for axis, amounts in enumerate(paddings):
        if any(amounts):
            places = np.array(repeated(extents[axis], *amounts, mode))
            tensor = tf.gather(tensor, places, axis=axis)
    return tensor


def one_hot(node: Node, indices: Value, depth: Value, values: Value) -> Value:
    """Put one of two values at each index, the other elsewhere."""
    (count,) = integers(depth, "input 'depth' of OneHot")
    places = _from_start(tf.cast(first(indices), tf.int64), count)
    off, on = values.tensor[0], values.tensor[1]
    axis = node.attributes["axis"]
    return Value(
        tf.one_hot(places, count, on, off, axis if axis >= 0 else axis % (indices.rank + 1))
    )


def depth_to_space(node: Node, x: Value) -> Value:
    """Move channels into squares of pixels."""
    size = node.attributes["blocksize"]
    tensor = last(x)
    if node.attributes["mode"] == "CRD":
        squares = tensor.shape[-1] // size**2
        order = np.arange(tensor.shape[-1]).reshape(squares, size**2).T.reshape(-1)
        tensor = tf.gather(tensor, order, axis=-1)
    return Value(tf.nn.depth_to_space(tensor, size), channels_last=True)


def space_to_depth(node: Node, x: Value) -> Value:
    """Move squares of pixels into channels."""
    size = node.attributes["blocksize"]
    return Value(tf.nn.space_to_depth(last(x), size), channels_last=True)


def triangle(node: Node, x: Value, k: Optional[Value] = None) -> Value:
    """Keep what is on one side of a diagonal, zero the rest."""
    diagonal = 0 if k is None else int(static(k, "input 'k' of Trilu"))
    ones = np.ones(x.shape[-2:], bool)
    kept = np.triu(ones, diagonal) if node.attributes["upper"] else np.tril(ones, diagonal)
    return Value(tf.where(kept, first(x), tf.zeros([], x.tensor.dtype)))


OPERATORS: Dict[str, Callable[..., Any]] = {
    "Concat": concat,
    "DepthToSpace": depth_to_space,
    "Gather": gather,
    "GatherElements": gather_elements,
    "GatherND": gather_nd,
    "OneHot": one_hot,
    "Pad": pad,
    "Slice": take_slice,
    "SpaceToDepth": space_to_depth,
    "Split": split,
    "Tile": tile,
    "Trilu": triangle,
}
