"""Exact products of integers, by sums in float64 of whole numbers below 2**53; and bits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional

import tensorflow as tf

from ..value import Value, first
from .convolution import OPERATORS as CONVOLUTIONS
from .elementwise import broadcasting

if TYPE_CHECKING:
    from xbackend.worker.graph import Node

Tensor = Any


def _centred(value: Value, zero: Optional[Value], shape: Optional[List[int]] = None) -> Tensor:
    """Take the zero point off, in float64."""
    wide = tf.cast(first(value), tf.float64)
    if zero is None:
        return wide
    point = tf.cast(first(zero), tf.float64)
    single = all(extent == 1 for extent in zero.shape)
    return wide - (tf.reshape(point, [] if single else shape or zero.shape))


def _whole(tensor: Tensor) -> Tensor:
    return tf.cast(tf.cast(tensor, tf.int64), tf.int32)


def matmul_integer(
    node: Node,
    left: Value,
    right: Value,
    left_zero: Optional[Value] = None,
    right_zero: Optional[Value] = None,
) -> Value:
    """Multiply matrices; a zero point may be one, or one for each row or column."""
    rows = [-1, 1] if left_zero is not None and left_zero.rank == 1 else None
    a, b = _centred(left, left_zero, rows), _centred(right, right_zero)
    return Value(_whole(tf.matmul(a, b)))


def conv_integer(
    node: Node,
    x: Value,
    w: Value,
    zero: Optional[Value] = None,
    weight_zero: Optional[Value] = None,
) -> Value:
    """Convolve; the padding is the zero point."""
    each = [-1] + [1] * (w.rank - 1)
    pair = Value(_centred(x, zero)), Value(_centred(w, weight_zero, each))
    y = CONVOLUTIONS["Conv"](node, *pair)
    return y.like(_whole(y.tensor))


def bit_shift(node: Node, x: Value, count: Value) -> Value:
    """Shift bits; by less than 0 or by the width and more nothing is left but the sign."""
    left = node.attributes["direction"] == "LEFT"
    function = tf.bitwise.left_shift if left else tf.bitwise.right_shift

    def shifted(value: Tensor, by: Tensor) -> Tensor:
        inside = tf.logical_and(by >= 0, by < value.dtype.size * 8)
        moved = function(value, tf.where(inside, by, tf.zeros_like(by)))
        rest = tf.zeros_like(value)
        if not left and value.dtype.min < 0:
            rest = tf.where(value < 0, rest - 1, rest)
        return tf.where(inside, moved, rest)

    return broadcasting(shifted)(node, x, count)


OPERATORS: Dict[str, Callable[..., Any]] = {
    "BitShift": bit_shift,
    "BitwiseAnd": broadcasting(tf.bitwise.bitwise_and),
    "BitwiseNot": broadcasting(tf.bitwise.invert),
    "BitwiseOr": broadcasting(tf.bitwise.bitwise_or),
    "BitwiseXor": broadcasting(tf.bitwise.bitwise_xor),
    "ConvInteger": conv_integer,
    "MatMulInteger": matmul_integer,
}
