"""Operators that pick or round once: comparisons, maxima, single float32 operations on elements.

Where two zeros of different sign compete, what comes first wins; NumPy's own maximum leaves that
to the CPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .windows import positions, window_of

if TYPE_CHECKING:
    from typing import Callable, Dict, List, Optional, Tuple

    from xbackend.worker.graph import Node

    Array = np.ndarray[Any, Any]
    Inputs = List[Optional[Array]]
    Binary = Callable[[Array, Array], Array]


def _greater(first: Array, second: Array) -> Array:
    return np.where(second > first, second, first)


def _less(first: Array, second: Array) -> Array:
    return np.where(second < first, second, first)


def _first(inputs: Inputs) -> Array:
    array = inputs[0]
    if array is None:
        raise ValueError("An operator lacks its first input.")
    return array


def relu(node: Node, inputs: Inputs) -> List[Array]:
    """Relu; a NaN stays one."""
    x = _first(inputs)
    return [np.where(x <= 0, np.zeros((), x.dtype), x)]


def clip(node: Node, inputs: Inputs) -> List[Array]:
    """Clip; a bound that is left out is none."""
    x = _first(inputs)
    for bound, choose in zip(inputs[1:3], (_greater, _less)):
        if bound is not None:
            x = choose(x, bound.reshape(()))
    return [x]


def max_pool(node: Node, inputs: Inputs) -> List[Array]:
    """MaxPool over any number of spatial axes."""
    x = _first(inputs)
    window = window_of(node, x.shape[2:], node.attributes["kernel_shape"])
    lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    padded = window.pad(x, lowest)
    best = np.full((*x.shape[:2], *window.extents), lowest, x.dtype)
    for _, cut in positions(window):
        best = _greater(best, padded[(slice(None), slice(None), *cut)])
    return [best]


def global_max_pool(node: Node, inputs: Inputs) -> List[Array]:
    """GlobalMaxPool."""
    x = _first(inputs)
    places = x.reshape(*x.shape[:2], -1)
    index = places.argmax(axis=2)[..., None]
    best = np.take_along_axis(places, index, axis=2)
    return [best.reshape(*x.shape[:2], *[1] * (x.ndim - 2))]


def arg_max(node: Node, inputs: Inputs) -> List[Array]:
    """ArgMax, the first or the last of equals."""
    x = _first(inputs)
    axis = int(node.attributes.get("axis", 0))
    if node.attributes.get("select_last_index", 0):
        index = x.shape[axis] - 1 - np.flip(x, axis).argmax(axis)
    else:
        index = x.argmax(axis)
    keep = node.attributes.get("keepdims", 1)
    return [np.expand_dims(index, axis) if keep else np.asarray(index)]


def cast(node: Node, inputs: Inputs) -> List[Array]:
    """Cast: integers exactly or modulo the width, to floats by one rounding, from them truncated."""
    with np.errstate(over="ignore", invalid="ignore"):
        return [_first(inputs).astype(node.attributes["to"])]


def _fold(function: Binary) -> Callable[[Node, Inputs], List[Array]]:
    """Make an operator of one or more inputs that are combined from left to right."""

    def operator(node: Node, inputs: Inputs) -> List[Array]:
        result = _first(inputs)
        for other in inputs[1:]:
            assert other is not None
            with np.errstate(all="ignore"):
                result = np.asarray(function(result, other))
        return [result]

    return operator


def _divide(left: Array, right: Array) -> Array:
    if left.dtype.kind == "f":
        return np.asarray(left / right)
    quotient = np.abs(left) // np.abs(right)
    return np.asarray(quotient * np.sign(left) * np.sign(right), left.dtype)


def _unary(function: Callable[[Array], Array]) -> Callable[[Node, Inputs], List[Array]]:
    return lambda node, inputs: [np.asarray(function(_first(inputs)))]


OPERATORS: Dict[Tuple[str, str], Callable[[Any, Any], Any]] = {
    ("", "Relu"): relu,
    ("", "Clip"): clip,
    ("", "MaxPool"): max_pool,
    ("", "GlobalMaxPool"): global_max_pool,
    ("", "ArgMax"): arg_max,
    ("", "Cast"): cast,
    ("", "Max"): _fold(_greater),
    ("", "Min"): _fold(_less),
    ("", "Add"): _fold(np.add),
    ("", "Sub"): _fold(np.subtract),
    ("", "Mul"): _fold(np.multiply),
    ("", "Div"): _fold(_divide),
    ("", "Equal"): _fold(np.equal),
    ("", "Greater"): _fold(np.greater),
    ("", "Less"): _fold(np.less),
    ("", "GreaterOrEqual"): _fold(np.greater_equal),
    ("", "LessOrEqual"): _fold(np.less_equal),
    ("", "And"): _fold(np.logical_and),
    ("", "Or"): _fold(np.logical_or),
    ("", "Not"): _unary(np.logical_not),
    ("", "Neg"): _unary(np.negative),
    ("", "Abs"): _unary(np.absolute),
}
"""The operator of each domain and name."""
