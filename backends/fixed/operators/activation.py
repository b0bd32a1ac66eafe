"""Functions of single elements: evaluated in float64 step by step, rounded to the format once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import elementary, operands, trigonometry
from ..operands import need
from .elementwise import greater, less

if TYPE_CHECKING:
    from typing import Callable, Dict, List, Optional, Tuple

    from xbackend.worker.graph import Node

    Array = np.ndarray[Any, Any]
    Inputs = List[Optional[Array]]
    Function = Callable[[Node, Array], Array]

SQRT_HALF = float.fromhex("0x1.6a09e667f3bcdp-1")
SQRT_TWO_OVER_PI = float.fromhex("0x1.9884533d43651p-1")


def rounded(function: Function) -> Callable[[Node, Inputs], List[Array]]:
    """Make an operator of a function from float64 to float64."""

    def operator(node: Node, inputs: Inputs) -> List[Array]:
        return [operands.rounded(lambda x: function(node, x), need(inputs, 0))]

    return operator


def plain(function: Callable[[Array], Array]) -> Callable[[Node, Inputs], List[Array]]:
    """Make an operator of a function that has no attributes."""
    return rounded(lambda node, x: function(x))


def softplus(x: Array) -> Array:
    """Return log(1 + e**x)."""
    return np.where(x > 0, x, 0.0) + elementary.log1p(elementary.exp(-np.abs(x)))


def mish(x: Array) -> Array:
    """Return x times the hyperbolic tangent of its softplus."""
    return x * elementary.tanh(softplus(x))


def softsign(x: Array) -> Array:
    """Return x / (1 + |x|)."""
    return np.asarray(x / (1.0 + np.abs(x)))


def _elu(node: Node, x: Array) -> Array:
    alpha = float(node.attributes.get("alpha", 1.0))
    return np.where(x > 0, x, alpha * elementary.expm1(x))


def _selu(node: Node, x: Array) -> Array:
    alpha, gamma = (float(node.attributes[key]) for key in ("alpha", "gamma"))
    return gamma * np.where(x > 0, x, alpha * elementary.expm1(x))


def _celu(node: Node, x: Array) -> Array:
    alpha = float(node.attributes.get("alpha", 1.0))
    return np.where(x > 0, x, alpha * elementary.expm1(x / alpha))


def _leaky_relu(node: Node, x: Array) -> Array:
    return np.where(x < 0, float(node.attributes["alpha"]) * x, x)


def _thresholded_relu(node: Node, x: Array) -> Array:
    return np.where(x > float(node.attributes["alpha"]), x, 0.0)


def _ramp(x: Array, slope: float, middle: float) -> Array:
    """Return slope x + middle, kept between 0 and 1."""
    return less(greater(slope * x + middle, np.zeros(())), np.ones(()))


def _hard_sigmoid(node: Node, x: Array) -> Array:
    return _ramp(x, float(node.attributes["alpha"]), float(node.attributes["beta"]))


def _hard_swish(x: Array) -> Array:
    return x * _ramp(x, 1.0 / 6.0, 0.5)


def _swish(node: Node, x: Array) -> Array:
    return x * elementary.sigmoid(float(node.attributes.get("alpha", 1.0)) * x)


def _gelu(node: Node, x: Array) -> Array:
    """Gelu, with the distribution as half of an erfc, or as a logistic function of a cubic."""
    if node.attributes.get("approximate", "none") == "tanh":
        return x * elementary.sigmoid(2.0 * SQRT_TWO_OVER_PI * (x + 0.044715 * (x * x * x)))
    return np.asarray(x * (0.5 * elementary.erfc(-x * SQRT_HALF)))


def _shrink(node: Node, x: Array) -> Array:
    limit, bias = (float(node.attributes[key]) for key in ("lambd", "bias"))
    return np.where(x < -limit, x + bias, np.where(x > limit, x - bias, 0.0))


def prelu(node: Node, inputs: Inputs) -> List[Array]:
    """PRelu, the slope broadcast to the input."""
    x, slope = need(inputs, 0), need(inputs, 1)
    return [np.where(x < 0, x * slope, x)]


def power(node: Node, inputs: Inputs) -> List[Array]:
    """Pow in the format of the base; integers modulo the width, floats rounded once."""
    x, y = need(inputs, 0), need(inputs, 1)
    if x.dtype.kind != "f" and y.dtype.kind != "f":
        return [np.power(x, y.astype(x.dtype))]
    result = elementary.power(x.astype(np.float64), y.astype(np.float64))
    with np.errstate(all="ignore"):
        return [np.asarray(result).astype(x.dtype)]


CIRCULAR: Dict[str, Callable[[Array], Array]] = {
    "Acos": trigonometry.acos,
    "Acosh": trigonometry.acosh,
    "Asin": trigonometry.asin,
    "Asinh": trigonometry.asinh,
    "Atan": trigonometry.atan,
    "Atanh": trigonometry.atanh,
    "Cos": trigonometry.cos,
    "Cosh": trigonometry.cosh,
    "Sin": trigonometry.sin,
    "Sinh": trigonometry.sinh,
    "Tan": trigonometry.tan,
}

OPERATORS: Dict[Tuple[str, str], Callable[[Any, Any], Any]] = {
    **{("", name): plain(function) for name, function in CIRCULAR.items()},
    ("", "Celu"): rounded(_celu),
    ("", "Elu"): rounded(_elu),
    ("", "Erf"): plain(elementary.erf),
    ("", "Exp"): plain(elementary.exp),
    ("", "Gelu"): rounded(_gelu),
    ("", "HardSigmoid"): rounded(_hard_sigmoid),
    ("", "HardSwish"): plain(_hard_swish),
    ("", "LeakyRelu"): rounded(_leaky_relu),
    ("", "Log"): plain(elementary.log),
    ("", "Mish"): plain(mish),
    ("", "PRelu"): prelu,
    ("", "Pow"): power,
    ("", "Reciprocal"): plain(lambda x: 1.0 / x),
    ("", "Selu"): rounded(_selu),
    ("", "Shrink"): rounded(_shrink),
    ("", "Sigmoid"): plain(elementary.sigmoid),
    ("", "Softplus"): plain(softplus),
    ("", "Softsign"): plain(softsign),
    ("", "Sqrt"): plain(np.sqrt),
    ("", "Swish"): rounded(_swish),
    ("", "Tanh"): plain(elementary.tanh),
    ("", "ThresholdedRelu"): rounded(_thresholded_relu),
}
"""The operator of each domain and name."""
