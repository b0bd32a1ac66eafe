"""Reductions over axes, and where an extreme value is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Sequence

import tensorflow as tf

from xbackend.worker.geometry.shapes import reduced

from ..value import Value, first, integers, without

if TYPE_CHECKING:
    from xbackend.worker.graph import Node

Tensor = Any
Operator = Callable[..., Value]

HALVES = (tf.float16, tf.bfloat16)
"""Formats whose sums overflow or lose what is added, so that means are taken in float32."""


def mean_of(tensor: Tensor, axes: Sequence[int], keepdims: bool) -> Tensor:
    """Return the mean as Keras computes it: half formats in float32."""
    if tensor.dtype not in HALVES:
        return tf.reduce_mean(tensor, axes, keepdims)
    return tf.cast(tf.reduce_mean(tf.cast(tensor, tf.float32), axes, keepdims), tensor.dtype)


def _reducing(function: Callable[[Tensor, Sequence[int], bool], Tensor]) -> Operator:
    def operator(node: Node, x: Value, axes: Optional[Value] = None) -> Value:
        over = reduced(node, x.rank, _axes(node, axes))
        if over is None:
            return x
        if node.attributes["keepdims"]:
            return x.like(function(x.tensor, x.axes(over), True))
        x = without(x, over)
        return Value(function(x.tensor, x.axes(over), False))

    return operator


def _axes(node: Node, axes: Optional[Value]) -> List[int]:
    return [] if axes is None else integers(axes, f"input 'axes' of {node.operator}")


def _sum_of_squares(tensor: Tensor, axes: Sequence[int], keepdims: bool) -> Tensor:
    return tf.reduce_sum(tf.square(tensor), axes, keepdims)


def _log_of_sum(tensor: Tensor, axes: Sequence[int], keepdims: bool) -> Tensor:
    return tf.math.log(tf.reduce_sum(tensor, axes, keepdims))


def _sum_of_magnitudes(tensor: Tensor, axes: Sequence[int], keepdims: bool) -> Tensor:
    return tf.reduce_sum(tf.abs(tensor), axes, keepdims)


def _norm(tensor: Tensor, axes: Sequence[int], keepdims: bool) -> Tensor:
    return tf.sqrt(tf.reduce_sum(tf.square(tensor), axes, keepdims))


def _greatest(tensor: Tensor, axes: Sequence[int], keepdims: bool) -> Tensor:
    return (tf.reduce_any if tensor.dtype == tf.bool else tf.reduce_max)(tensor, axes, keepdims)


def _least(tensor: Tensor, axes: Sequence[int], keepdims: bool) -> Tensor:
    return (tf.reduce_all if tensor.dtype == tf.bool else tf.reduce_min)(tensor, axes, keepdims)


def _place(function: Callable[..., Tensor]) -> Operator:
    """Make an operator of tf.argmax or tf.argmin, which take the first of equals."""

    def operator(node: Node, x: Value) -> Value:
        axis = node.attributes["axis"]
        x = x if node.attributes["keepdims"] else without(x, [axis])
        physical = x.physical(axis)
        if node.attributes.get("select_last_index"):
            from_end = function(tf.reverse(x.tensor, [physical]), physical, tf.int64)
            y = x.tensor.shape[physical] - 1 - from_end
        else:
            y = function(x.tensor, physical, tf.int64)
        return x.like(tf.expand_dims(y, physical)) if node.attributes["keepdims"] else Value(y)

    return operator


def _cumulative_sum(node: Node, x: Value, axis: Value) -> Value:
    (along,) = integers(axis, "input 'axis' of CumSum")
    exclusive, reverse = (bool(node.attributes[key]) for key in ("exclusive", "reverse"))
    return Value(tf.cumsum(first(x), along, exclusive, reverse))


OPERATORS: Dict[str, Operator] = {
    "ArgMax": _place(tf.argmax),
    "ArgMin": _place(tf.argmin),
    "CumSum": _cumulative_sum,
    "ReduceL1": _reducing(_sum_of_magnitudes),
    "ReduceL2": _reducing(_norm),
    "ReduceLogSum": _reducing(_log_of_sum),
    "ReduceLogSumExp": _reducing(tf.reduce_logsumexp),
    "ReduceMax": _reducing(_greatest),
    "ReduceMean": _reducing(mean_of),
    "ReduceMin": _reducing(_least),
    "ReduceProd": _reducing(tf.reduce_prod),
    "ReduceSum": _reducing(tf.reduce_sum),
    "ReduceSumSquare": _reducing(_sum_of_squares),
}
