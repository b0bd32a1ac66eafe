"""Operators that put elements where others name, tell where they are, or choose the best."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Sequence

import tensorflow as tf

from ..value import Value, first, integers, static

if TYPE_CHECKING:
    from xbackend.worker.graph import Node

Tensor = Any

REDUCTIONS = {
    "none": tf.tensor_scatter_nd_update,
    "add": tf.tensor_scatter_nd_add,
    "max": tf.tensor_scatter_nd_max,
    "min": tf.tensor_scatter_nd_min,
}
"""What an update does to the element that is there; a product is none of TensorFlow's."""


def _scattered(node: Node, x: Tensor, places: Tensor, updates: Tensor) -> Value:
    word = str(node.attributes.get("reduction", "none"))
    return Value(REDUCTIONS[word](x, places, updates))


def scatter_nd(node: Node, x: Value, indices: Value, updates: Value) -> Value:
    """Put slices where tuples of indices name."""
    places = first(indices)
    extents = tf.constant(x.shape[: indices.shape[-1]], places.dtype)
    places = tf.where(places < 0, places + extents, places)
    return _scattered(node, first(x), places, first(updates))


def scatter_elements(node: Node, x: Value, indices: Value, updates: Value) -> Value:
    """Put single elements along an axis."""
    axis = node.attributes["axis"] % x.rank
    places = tf.cast(first(indices), tf.int64)
    places = tf.where(places < 0, places + x.shape[axis], places)
    grid = tf.meshgrid(*(tf.range(n, dtype=tf.int64) for n in indices.shape), indexing="ij")
    grid[axis] = places
    return _scattered(node, first(x), tf.stack(grid, axis=-1), first(updates))


def top_k(node: Node, x: Value, k: Value) -> Any:
    """Take the k extreme elements along an axis; of equal ones that of the lower place first."""
    (count,) = integers(k, "input 'k' of TopK")
    axis, tensor = node.attributes["axis"] % x.rank, first(x)
    order = "DESCENDING" if node.attributes["largest"] else "ASCENDING"
    places = tf.argsort(tensor, axis, order, stable=True)
    places = tf.gather(places, tf.range(count), axis=axis)
    values = tf.gather(tensor, places, axis=axis, batch_dims=axis) if axis == x.rank - 1 else None
    if values is None:
        moved = [a for a in range(x.rank) if a != axis] + [axis]
        back = [moved.index(a) for a in range(x.rank)]
        last, where = tf.transpose(tensor, moved), tf.transpose(places, moved)
        values = tf.transpose(tf.gather(last, where, batch_dims=x.rank - 1), back)
    return Value(values), Value(tf.cast(places, tf.int64))


def non_zero(node: Node, x: Value) -> Value:
    """Return the places of what is not zero, an axis a row."""
    return Value(tf.transpose(tf.where(first(x))))


def einsum(node: Node, *values: Value) -> Value:
    """Sum products over axes by name."""
    return Value(tf.einsum(node.attributes["equation"], *(first(value) for value in values)))


def determinant(node: Node, x: Value) -> Value:
    """Return the determinant of square matrices."""
    return Value(tf.linalg.det(first(x)))


def is_inf(node: Node, x: Value) -> Value:
    """Tell which elements are infinite, of one sign alone where the other is not to be detected."""
    infinite = tf.math.is_inf(x.tensor)
    above = tf.logical_and(x.tensor > 0, bool(node.attributes["detect_positive"]))
    below = tf.logical_and(x.tensor < 0, bool(node.attributes["detect_negative"]))
    return x.like(tf.logical_and(infinite, tf.logical_or(above, below)))


def split_to_sequence(node: Node, x: Value, split: Optional[Value] = None) -> List[List[Value]]:
    """Cut along an axis into a sequence; without sizes single places, whose axis may go."""
    axis = node.attributes["axis"] % x.rank
    extent = x.shape[axis]
    if split is None:
        sizes = [1] * extent
    else:
        sizes = integers(split, "input 'split' of SplitToSequence")
        if split.rank == 0:
            sizes = [min(sizes[0], extent - begin) for begin in range(0, extent, sizes[0])]
    parts: Sequence[Tensor] = tf.split(first(x), sizes, axis)
    if split is None and not node.attributes["keepdims"]:
        parts = [tf.squeeze(part, [axis]) for part in parts]
    return [[Value(part) for part in parts]]


def concat_from_sequence(node: Node, values: List[Value]) -> Value:
    """Join a sequence along an axis, or along a new one."""
    join = tf.stack if node.attributes["new_axis"] else tf.concat
    return Value(join([first(value) for value in values], node.attributes["axis"]))


def non_max_suppression(
    node: Node,
    boxes: Value,
    scores: Value,
    most: Optional[Value] = None,
    overlap: Optional[Value] = None,
    least: Optional[Value] = None,
) -> Value:
    """Choose boxes by TensorFlow's kernel, a class of a sample at a time."""
    count = 0 if most is None else int(static(most, "input of NonMaxSuppression").reshape(()))
    limit = 0.0 if overlap is None else tf.reshape(overlap.tensor, [])
    floor = float("-inf") if least is None else tf.reshape(least.tensor, [])
    corners = first(boxes)
    if node.attributes["center_point_box"]:
        x, y, wide, high = tf.unstack(corners, axis=-1)
        corners = tf.stack([y - high / 2, x - wide / 2, y + high / 2, x + wide / 2], axis=-1)
    rows = []
    for batch in range(scores.shape[0]):
        for kind in range(scores.shape[1]):
            kept = tf.image.non_max_suppression(
                corners[batch], first(scores)[batch, kind], count, limit, floor
            )
            place = tf.cast(kept, tf.int64)
            rows.append(tf.stack([0 * place + batch, 0 * place + kind, place], axis=-1))
    return Value(tf.concat(rows, 0))


OPERATORS: Dict[str, Callable[..., Any]] = {
    "ConcatFromSequence": concat_from_sequence,
    "Det": determinant,
    "Einsum": einsum,
    "IsInf": is_inf,
    "NonMaxSuppression": non_max_suppression,
    "NonZero": non_zero,
    "ScatterElements": scatter_elements,
    "ScatterND": scatter_nd,
    "SplitToSequence": split_to_sequence,
    "TopK": top_k,
}
