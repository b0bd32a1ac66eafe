"""Operators that pick or round once: comparisons, maxima, single operations on elements.

Where two zeros of different sign compete, what comes first wins; NumPy's own maximum leaves that
to the CPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xbackend.worker.graph import Node

from ..operands import need

if TYPE_CHECKING:
    from typing import Callable, Dict, List, Optional, Tuple

    Array = np.ndarray[Any, Any]
    Inputs = List[Optional[Array]]
    Binary = Callable[[Array, Array], Array]


def greater(first: Array, second: Array) -> Array:
    """Return the greater of each two elements, the first of equals."""
    return np.where(second > first, second, first)


def less(first: Array, second: Array) -> Array:
    """Return the less of each two elements, the first of equals."""
    return np.where(second < first, second, first)


def relu(node: Node, inputs: Inputs) -> List[Array]:
    """Relu; a NaN and a negative zero stay what they are."""
    x = need(inputs, 0)
    return [np.where(x < 0, np.zeros((), x.dtype), x)]


def clip(node: Node, inputs: Inputs) -> List[Array]:
    """Clip; a bound that is left out is none."""
    x = need(inputs, 0)
    for bound, choose in zip(inputs[1:3], (greater, less)):
        if bound is not None:
            x = choose(x, bound.reshape(()))
    return [x]


def cast(node: Node, inputs: Inputs) -> List[Array]:
    """Cast: between integers modulo the width, to floats by one rounding, from them truncated."""
    x, target = need(inputs, 0), np.dtype(node.attributes["to"])
    if x.dtype.kind == "f" and target.kind in "iu":
        return [_truncate(x, target)]
    with np.errstate(over="ignore"):
        return [x.astype(target)]


def _truncate(values: Array, target: np.dtype[Any]) -> Array:
    """Cut off what is behind the point; clamp what is too large, which CPUs do in several ways."""
    whole = np.trunc(values)
    low, high = (np.array(end, target) for end in (np.iinfo(target).min, np.iinfo(target).max))
    above, below = whole >= high.astype(values.dtype), whole <= low.astype(values.dtype)
    inside = np.where(above | below | np.isnan(whole), 0, whole).astype(target)
    return np.where(above, high, np.where(below, low, inside))


def _fold(function: Binary) -> Callable[[Node, Inputs], List[Array]]:
    """Make an operator of one or more inputs that are combined from left to right."""

    def operator(node: Node, inputs: Inputs) -> List[Array]:
        result = need(inputs, 0)
        for index in range(1, len(inputs)):
            with np.errstate(all="ignore"):
                result = np.asarray(function(result, need(inputs, index)))
        return [result]

    return operator


def divide(left: Array, right: Array) -> Array:
    """Divide; integers towards zero, as in C."""
    if left.dtype.kind == "f":
        return np.asarray(left / right)
    quotient = np.abs(left) // np.abs(right)
    return np.asarray(quotient * np.sign(left) * np.sign(right), left.dtype)


def cast_like(node: Node, inputs: Inputs) -> List[Array]:
    """CastLike: to the format of the second input."""
    target = Node("Cast", "", "", node.inputs, node.outputs, {"to": need(inputs, 1).dtype.name})
    return cast(target, inputs)


def mod(node: Node, inputs: Inputs) -> List[Array]:
    """Mod with the sign of the divisor, or of the dividend with `fmod`; exact for floats."""
    left, right = need(inputs, 0), need(inputs, 1)
    with np.errstate(all="ignore"):
        function = np.fmod if node.attributes.get("fmod", 0) else np.mod
        return [np.asarray(function(left, right))]


def mean(node: Node, inputs: Inputs) -> List[Array]:
    """Mean of any number of inputs: their sum from left to right, divided by their number."""
    (total,) = _fold(np.add)(node, inputs)
    return [divide(total, np.array(len(inputs)).astype(total.dtype))]


def is_inf(node: Node, inputs: Inputs) -> List[Array]:
    """IsInf, of one sign alone where the other is not to be detected."""
    x = need(inputs, 0)
    above = (x > 0) & bool(node.attributes.get("detect_positive", 1))
    below = (x < 0) & bool(node.attributes.get("detect_negative", 1))
    return [np.asarray(np.isinf(x) & (above | below))]


def bit_shift(node: Node, inputs: Inputs) -> List[Array]:
    """BitShift of unsigned integers."""
    left = node.attributes["direction"] == "LEFT"
    function = np.left_shift if left else np.right_shift
    return [np.asarray(function(need(inputs, 0), need(inputs, 1)))]


def _unary(function: Callable[[Array], Array]) -> Callable[[Node, Inputs], List[Array]]:
    return lambda node, inputs: [np.asarray(function(need(inputs, 0)))]


OPERATORS: Dict[Tuple[str, str], Callable[[Any, Any], Any]] = {
    ("", "Relu"): relu,
    ("", "Clip"): clip,
    ("", "Cast"): cast,
    ("", "Max"): _fold(greater),
    ("", "Min"): _fold(less),
    ("", "Add"): _fold(np.add),
    ("", "Sub"): _fold(np.subtract),
    ("", "Mul"): _fold(np.multiply),
    ("", "Div"): _fold(divide),
    ("", "Equal"): _fold(np.equal),
    ("", "Greater"): _fold(np.greater),
    ("", "Less"): _fold(np.less),
    ("", "GreaterOrEqual"): _fold(np.greater_equal),
    ("", "LessOrEqual"): _fold(np.less_equal),
    ("", "And"): _fold(np.logical_and),
    ("", "Or"): _fold(np.logical_or),
    ("", "Not"): _unary(np.logical_not),
    ("", "Xor"): _fold(np.logical_xor),
    ("", "Sum"): _fold(np.add),
    ("", "Mean"): mean,
    ("", "Mod"): mod,
    ("", "CastLike"): cast_like,
    ("", "IsInf"): is_inf,
    ("", "IsNaN"): _unary(np.isnan),
    ("", "BitShift"): bit_shift,
    ("", "BitwiseAnd"): _fold(np.bitwise_and),
    ("", "BitwiseNot"): _unary(np.bitwise_not),
    ("", "BitwiseOr"): _fold(np.bitwise_or),
    ("", "BitwiseXor"): _fold(np.bitwise_xor),
    ("", "Floor"): _unary(np.floor),
    ("", "Ceil"): _unary(np.ceil),
    ("", "Round"): _unary(np.rint),
    ("", "Sign"): _unary(np.sign),
    ("", "Neg"): _unary(np.negative),
    ("", "Abs"): _unary(np.absolute),
}
"""The operator of each domain and name."""
