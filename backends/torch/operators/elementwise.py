"""Arithmetic, comparison and logic on single elements."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any, Callable

import torch
from torch import Tensor

from .operator import Operator, ignoring_node

if TYPE_CHECKING:
    from xbackend.worker.graph import Node


def _div(node: Node, dividend: Tensor, divisor: Tensor) -> Tensor:
    """Divide; integers towards zero, as in C."""
    if dividend.is_floating_point():
        return torch.div(dividend, divisor)
    return torch.div(dividend, divisor, rounding_mode="trunc")


def _mod(node: Node, dividend: Tensor, divisor: Tensor) -> Tensor:
    """Take the remainder with the sign of the divisor (Python), or of the dividend (C)."""
    return (torch.fmod if node.attributes["fmod"] else torch.remainder)(dividend, divisor)


def _pow(node: Node, base: Tensor, exponent: Any) -> Tensor:
    """Raise to a power in the base's format; a constant number goes in as a number."""
    if isinstance(exponent, Tensor):
        if base.is_floating_point() and not exponent.is_floating_point():
            exponent = exponent.to(base.dtype)
        return torch.pow(base, exponent).to(base.dtype)
    return torch.pow(base, exponent).to(base.dtype)


def _clip(node: Node, value: Tensor, low: Any = None, high: Any = None) -> Tensor:
    if low is None and high is None:
        return value
    low, high = (None if bound is None else bound.to(value.dtype) for bound in (low, high))
    return torch.clamp(value, low, high)


def _folded(step: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Any]:
    """Make an operation on two tensors into one on any number, from the left to the right."""

    def compute(node: Node, *values: Tensor) -> Tensor:
        return reduce(step, values)

    return compute


def _mean(node: Node, *values: Tensor) -> Tensor:
    return reduce(torch.add, values) / len(values)


def _is_inf(node: Node, value: Tensor) -> Tensor:
    above = torch.isposinf(value) & bool(node.attributes["detect_positive"])
    return above | (torch.isneginf(value) & bool(node.attributes["detect_negative"]))


_UNARY = {
    "Abs": torch.abs,
    "Acos": torch.acos,
    "Acosh": torch.acosh,
    "Asin": torch.asin,
    "Asinh": torch.asinh,
    "Atan": torch.atan,
    "Atanh": torch.atanh,
    "Ceil": torch.ceil,
    "Cos": torch.cos,
    "Cosh": torch.cosh,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Floor": torch.floor,
    "IsNaN": torch.isnan,
    "Log": torch.log,
    "Neg": torch.neg,
    "Not": torch.logical_not,
    "Reciprocal": torch.reciprocal,
    "Round": torch.round,
    "Sign": torch.sign,
    "Sin": torch.sin,
    "Sinh": torch.sinh,
    "Sqrt": torch.sqrt,
    "Tan": torch.tan,
}

_BINARY = {
    "Add": torch.add,
    "And": torch.logical_and,
    "Equal": torch.eq,
    "Greater": torch.gt,
    "GreaterOrEqual": torch.ge,
    "Less": torch.lt,
    "LessOrEqual": torch.le,
    "Mul": torch.mul,
    "Or": torch.logical_or,
    "Sub": torch.sub,
    "Where": torch.where,
    "Xor": torch.logical_xor,
}

TABLE = {
    **{name: Operator(ignoring_node(function)) for name, function in _UNARY.items()},
    **{name: Operator(ignoring_node(function)) for name, function in _BINARY.items()},
    "Clip": Operator(_clip),
    "Div": Operator(_div),
    "IsInf": Operator(_is_inf),
    "Max": Operator(_folded(torch.maximum)),
    "Mean": Operator(_mean),
    "Min": Operator(_folded(torch.minimum)),
    "Mod": Operator(_mod),
    "Pow": Operator(_pow, scalar=(1,)),
    "Sum": Operator(_folded(torch.add)),
}
