"""Operators on each element: the axes stay as they lie."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any, Callable, Dict, Optional

import tensorflow as tf

from ..value import Value, aligned, as_bias

if TYPE_CHECKING:
    from xbackend.worker.graph import Node

Tensor = Any
Operator = Callable[..., Value]


def unary(function: Callable[[Tensor], Tensor]) -> Operator:
    """Make an operator of a function of one tensor."""

    def operator(node: Node, x: Value) -> Value:
        return x.like(function(x.tensor))

    return operator


def broadcasting(function: Callable[..., Tensor]) -> Operator:
    """Make an operator of a function of tensors that broadcast."""

    def operator(node: Node, *values: Value) -> Value:
        tensors, channels_last = aligned(values)
        return Value(function(*tensors), channels_last)

    return operator


def folded(function: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    """Make an operator of any number of inputs, taken one by one from the left."""
    return broadcasting(lambda *tensors: reduce(function, tensors))


def _mean(*tensors: Tensor) -> Tensor:
    total = reduce(tf.add, tensors)
    return total / tf.cast(len(tensors), total.dtype)


def _divide(x: Tensor, y: Tensor) -> Tensor:
    """Divide; integers are rounded towards zero."""
    return x / y if x.dtype.is_floating else tf.truncatediv(x, y)


def _power(x: Tensor, y: Tensor) -> Tensor:
    """Raise to a power, whose format may be another."""
    return tf.pow(x, tf.cast(y, x.dtype))


def _modulo(node: Node, x: Value, y: Value) -> Value:
    """Return the remainder: of the divisor's sign, or with `fmod` of the dividend's."""
    function = tf.truncatemod if node.attributes.get("fmod") else tf.math.floormod
    return broadcasting(function)(node, x, y)


def _add(node: Node, x: Value, y: Value) -> Value:
    if x.rank == y.rank == 2:
        x, y = (x, as_bias(y)) if x.kept is None else (as_bias(x), y)
    return broadcasting(tf.add)(node, x, y)


def _clip(node: Node, x: Value, low: Optional[Value] = None, high: Optional[Value] = None) -> Value:
    """Bound from below, then from above."""
    if _bounds(low, high) == (0, 6):
        return x.like(tf.nn.relu6(x.tensor))
    y = x.tensor
    if low is not None:
        y = tf.maximum(y, tf.cast(low.tensor, y.dtype))
    if high is not None:
        y = tf.minimum(y, tf.cast(high.tensor, y.dtype))
    return x.like(y)


def _bounds(*values: Optional[Value]) -> Any:
    if any(value is None for value in values):
        return None
    return tuple(tf.get_static_value(value.tensor) for value in values if value is not None)


OPERATORS: Dict[str, Operator] = {
    "Abs": unary(tf.abs),
    "Acos": unary(tf.acos),
    "Acosh": unary(tf.acosh),
    "Add": _add,
    "And": broadcasting(tf.logical_and),
    "Asin": unary(tf.asin),
    "Asinh": unary(tf.asinh),
    "Atan": unary(tf.atan),
    "Atanh": unary(tf.atanh),
    "Ceil": unary(tf.math.ceil),
    "Clip": _clip,
    "Cos": unary(tf.cos),
    "Cosh": unary(tf.cosh),
    "Div": broadcasting(_divide),
    "Equal": broadcasting(tf.equal),
    "Erf": unary(tf.math.erf),
    "Exp": unary(tf.exp),
    "Floor": unary(tf.floor),
    "Greater": broadcasting(tf.greater),
    "GreaterOrEqual": broadcasting(tf.greater_equal),
    "Identity": lambda node, x: x,
    "IsNaN": unary(tf.math.is_nan),
    "Less": broadcasting(tf.less),
    "LessOrEqual": broadcasting(tf.less_equal),
    "Log": unary(tf.math.log),
    "Max": folded(tf.maximum),
    "Mean": broadcasting(_mean),
    "Min": folded(tf.minimum),
    "Mod": _modulo,
    "Mul": broadcasting(tf.multiply),
    "Neg": unary(tf.negative),
    "Not": unary(tf.logical_not),
    "Or": broadcasting(tf.logical_or),
    "Pow": broadcasting(_power),
    "Reciprocal": unary(tf.math.reciprocal),
    "Round": unary(tf.round),
    "Sign": unary(tf.sign),
    "Sin": unary(tf.sin),
    "Sinh": unary(tf.sinh),
    "Sqrt": unary(tf.sqrt),
    "Sub": broadcasting(tf.subtract),
    "Sum": folded(tf.add),
    "Tan": unary(tf.tan),
    "Where": broadcasting(tf.where),
    "Xor": broadcasting(tf.math.logical_xor),
}
