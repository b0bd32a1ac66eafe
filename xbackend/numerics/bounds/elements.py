"""Bounds of functions of single elements: correctly rounded ones, and elementary functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from xbackend.numerics.floats import FORMATS

from .arithmetic import power_below, roundoff
from .bound import DOUBLE, NOTHING, Array, Bound, Layer, Rule
from .integers import exact_integers

ESTIMATED = 5.0
"""Half ULPs of a quotient or a root that starts from an estimate and a step of Newton's."""
FUNCTION = 8.0
"""Half ULPs of an elementary function of a vector library: four ULPs."""


def _computed(layer: Layer) -> Array:
    """Return the right values of an operation of IEEE 754, which NumPy has in float64."""
    operands = [layer.input(place) for place in range(len(layer.shapes))]
    with np.errstate(all="ignore"):
        return np.asarray(OPERATIONS[layer.operator](*operands))


def rounded_once(layer: Layer) -> Bound:
    """Allow half an ULP, and as much again of a product that the operation is contracted with."""
    if layer.dtype not in FORMATS:
        return exact_integers(layer)
    a, b = (np.abs(layer.input(place)) for place in (0, 1))
    exact, absolute = _computed(layer), np.zeros(())
    if layer.operator != "Mul":
        made = [each for each, product in zip((a, b), layer.products, strict=False) if product]
        absolute = roundoff(layer.dtype) * sum(made, np.zeros(()))
    condition = 2 * np.abs(exact) if layer.operator == "Mul" else a + b
    return Bound(
        power_below(exact),
        1.0,
        1.0,
        1,
        absolute,
        condition=condition,
        exact=exact,
        rounds_once=True,
    )


def estimated(layer: Layer) -> Bound:
    """Allow what is left of an estimate after a step of Newton's; as a rule it is rounded once."""
    if layer.dtype not in FORMATS:
        return exact_integers(layer)
    exact = _computed(layer)
    condition, scale = 2 * np.abs(exact), power_below(exact)
    return Bound(scale, ESTIMATED, 1.0, condition=condition, exact=exact, rounds_once=True)


def sloped(layer: Layer) -> Bound:
    """Allow one product or two."""
    return Bound(np.abs(layer.truth), 2.0, 2.0, condition=2 * np.abs(layer.truth))


def function(layer: Layer) -> Bound:
    """Allow the ULPs of an elementary function."""
    return Bound(np.abs(layer.truth), FUNCTION, FUNCTION / 2)


def exponential(layer: Layer) -> Bound:
    """Allow, beside, an argument that was reduced with one rounding."""
    size, reach = np.abs(layer.truth), np.abs(layer.input(0))
    return Bound(size, FUNCTION + reach, FUNCTION / 2, condition=size * reach)


def logarithm(layer: Layer) -> Bound:
    """Allow, beside, the error of an exponent's share that cancels."""
    share = np.where(np.abs(layer.truth) < 1, 1.0, 0.0)
    return Bound(np.abs(layer.truth) + share * 0.5, FUNCTION, FUNCTION / 2)


def power(layer: Layer) -> Bound:
    """Allow the exponential of a rounded product of exponent and logarithm."""
    base, exponent = layer.input(0), layer.input(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        turns = np.nan_to_num(np.abs(exponent * np.log(np.abs(base))), nan=0.0, posinf=0.0)
    size = np.abs(layer.truth)
    condition = size * (np.abs(exponent) + turns)
    return Bound(size, FUNCTION + 3 * turns, FUNCTION / 2, condition=condition)


def bounded(layer: Layer) -> Bound:
    """Allow errors relative to 1, the most that a logistic function or tanh gives."""
    scale = np.maximum(np.abs(layer.truth), 1.0 if layer.operator == "Sigmoid" else 0.0)
    condition = np.abs(layer.input(0))
    return Bound(scale, FUNCTION, FUNCTION / 2, condition=condition)


def softplus(layer: Layer) -> Bound:
    """Allow log(1 + exp(x)) as it stands, whose sum is rounded near 1."""
    condition = np.abs(layer.input(0))
    return Bound(np.abs(layer.truth) + 1.0, FUNCTION, FUNCTION / 2, condition=condition)


def exponential_unit(layer: Layer) -> Bound:
    """Allow alpha (exp(x) - 1) as it stands, of which the difference cancels near 0."""
    alpha = float(layer.attributes.get("alpha") or 1.0) * float(
        layer.attributes.get("gamma") or 1.0
    )
    steep = np.where(layer.input(0) < 0, abs(alpha), 0.0)
    return Bound(np.abs(layer.truth) + steep, FUNCTION + 2, FUNCTION / 2)


def gelu(layer: Layer) -> Bound:
    """Compose x Phi(x) from its steps: the argument's rounding, the function, the products."""
    x = layer.input(0)
    tanh = str(layer.attributes.get("approximate", "none")) == "tanh"
    slope = np.exp(-np.minimum(x * x / 2, 700.0)) * np.abs(x)
    return Bound(
        scale=np.abs(x) * (1.0 + slope),
        limit=FUNCTION + (8 if tanh else 4),
        usual=FUNCTION / 2,
        condition=2 * np.abs(x),
    )


def sigmoid_product(layer: Layer) -> Bound:
    """Allow x times a function that errs relative to 1."""
    size = np.abs(layer.input(0))
    return Bound(size, FUNCTION + 4, FUNCTION / 2, condition=2 * size)


def hard(layer: Layer) -> Bound:
    """Compose a clipped line: a product, a sum, and for HardSwish another product."""
    x = np.abs(layer.input(0))
    alpha = abs(float(layer.attributes.get("alpha", 1 / 6)))
    beta = abs(float(layer.attributes.get("beta", 0.5)))
    line = np.minimum(alpha * x + beta, 2.0 + 2 * beta)
    swish = layer.operator == "HardSwish"
    size = line * x if swish else line
    return Bound(size, 4.0 + swish, 3.0, condition=2 * size)


def shrink(layer: Layer) -> Bound:
    """Move what is beyond a threshold toward 0, with one rounding; the rest is 0."""
    x = layer.input(0)
    bias, reach = (
        float(layer.attributes.get(key, n)) for key, n in (("bias", 0.0), ("lambd", 0.5))
    )
    exact = np.where(x < -reach, x + bias, np.where(x > reach, x - bias, 0.0))
    return Bound(power_below(exact), 1.0, 1.0, exact=exact, rounds_once=True)


OPERATIONS: Mapping[str, Callable[..., Any]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Sqrt": np.sqrt,
    "Reciprocal": np.reciprocal,
}
_FUNCTIONS = "Sin Cos Tan Asin Acos Atan Sinh Cosh Asinh Acosh Atanh Softsign"


def _all(names: str, bound: Callable[[Layer], Bound], **more: Any) -> dict[str, Rule]:
    return {name: Rule(bound, DOUBLE, **more) for name in names.split()}


RULES: Mapping[str, Rule] = {
    **{name: Rule(rounded_once, NOTHING, reads=True) for name in ("Add", "Sub", "Mul")},
    **{name: Rule(estimated, NOTHING, reads=True) for name in ("Div", "Sqrt", "Reciprocal")},
    **_all("LeakyRelu PRelu ThresholdedRelu Mod", sloped),
    **_all(_FUNCTIONS, function),
    **_all("Exp", exponential, reads=True),
    **_all("Log", logarithm),
    **_all("Pow", power, reads=True),
    **_all("Sigmoid Erf Tanh", bounded, reads=True),
    **_all("Softplus", softplus, reads=True),
    **_all("Elu Selu Celu", exponential_unit, reads=True),
    **_all("Gelu", gelu, reads=True),
    **_all("Swish Silu Mish", sigmoid_product, reads=True),
    **_all("HardSigmoid HardSwish", hard, reads=True),
    "Shrink": Rule(shrink, NOTHING, reads=True),
}
