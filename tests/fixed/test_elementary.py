"""Functions of single elements against Python's decimal numbers of 60 digits."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
import pytest

from xbackend.backends.fixed import elementary

Array = np.ndarray[Any, Any]
Oracle = Callable[[Decimal], Decimal]

PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899")


def exp(x: Decimal) -> Decimal:
    return x.exp()


def tanh(x: Decimal) -> Decimal:
    grown = (2 * x).exp()
    return (grown - 1) / (grown + 1)


def sigmoid(x: Decimal) -> Decimal:
    return 1 / (1 + (-x).exp())


def erf(x: Decimal) -> Decimal:
    """Sum 2 / sqrt(pi) times the alternating series of the integral, in enough digits."""
    total = term = x
    n = 0
    while abs(term) > Decimal(10) ** -90:
        n += 1
        term = -term * x * x / n
        total += term / (2 * n + 1)
    return 2 * total / PI.sqrt()


def erfc(x: Decimal) -> Decimal:
    return 1 - erf(x)


def softplus(x: Decimal) -> Decimal:
    return (1 + x.exp()).ln()


def gelu(x: Decimal) -> Decimal:
    return x * erfc(-x / Decimal(2).sqrt()) / 2


def float32s(begin: float, end: float) -> Array:
    """Return float32 over a range: evenly, and towards 0 by magnitude, with both signs."""
    random = np.random.default_rng(7)
    even = random.uniform(begin, end, 400)
    small = np.exp2(random.uniform(-30, 2, 200)) * random.choice([-1, 1], 200)
    values = np.concatenate([even, small[(small > begin) & (small < end)]])
    return values.astype(np.float32)


def nearest(oracle: Oracle, values: Array) -> Array:
    """Round exact results to float32 once; 100 digits reach beyond any tie."""
    with localcontext() as context:
        context.prec = 100
        exact = [oracle(Decimal(float(value))) for value in values]
        return np.array([_float32(number) for number in exact], np.float32)


def _float32(number: Decimal) -> float:
    """Round through float64; where that is a tie of float32, by what it lost."""
    wide = float(number)
    with np.errstate(all="ignore"):
        rounded = np.float32(wide)
        other = np.nextafter(rounded, np.float32(np.inf if wide > rounded else -np.inf))
    if np.isinf(rounded) or np.isinf(other):
        return float(rounded)
    near, far = (abs(Decimal(float(c)) - number) for c in (rounded, other))
    return float(rounded if near <= far else other)


CASES: dict[str, tuple[str, Oracle, tuple[float, float]]] = {
    "exp": ("Exp", exp, (-104, 89)),
    "log": ("Log", lambda x: x.ln(), (1e-30, 100)),
    "tanh": ("Tanh", tanh, (-10, 10)),
    "sigmoid": ("Sigmoid", sigmoid, (-88, 20)),
    "erf": ("Erf", erf, (-4, 4)),
    "softplus": ("Softplus", softplus, (-80, 30)),
    "gelu": ("Gelu", gelu, (-8, 6)),
    "three quarters": ("Pow", lambda x: (x.ln() * Decimal("0.75")).exp(), (1e-20, 1000)),
}


@pytest.mark.parametrize("name", CASES)
def test_a_function_is_the_nearest_float32(compute: Callable[..., Array], name: str) -> None:
    operator, oracle, ends = CASES[name]
    values = float32s(*ends)
    inputs = [values] if operator != "Pow" else [values, np.float32(0.75)]
    assert compute(operator, inputs).tobytes() == nearest(oracle, values).tobytes()


@pytest.mark.parametrize(
    ("function", "oracle", "ends", "units"),
    [
        (elementary.exp, exp, (-700, 709), 2),
        (elementary.expm1, lambda x: x.exp() - 1, (-3, 40), 3),
        (elementary.log, lambda x: x.ln(), (1e-5, 2), 2),
        (elementary.log1p, lambda x: (1 + x).ln(), (0, 1), 3),
        (elementary.tanh, tanh, (-5, 5), 4),
        (elementary.erf, erf, (-5, 5), 5),
        (elementary.erfc, erfc, (0, 10), 1500),
    ],
    ids=["exp", "expm1", "log", "log1p", "tanh", "erf", "erfc"],
)
def test_in_float64_few_last_places_are_wrong(
    function: Callable[[Array], Array], oracle: Oracle, ends: tuple[float, float], units: int
) -> None:
    values = np.random.default_rng(8).uniform(*ends, 300)
    with localcontext() as context:
        context.prec = 120
        for value, result in zip(values, function(values), strict=True):
            exact = oracle(Decimal(float(value)))
            assert abs(Decimal(float(result)) - exact) <= abs(exact) * units / 2**53


def test_special_values_are_those_of_c() -> None:
    inf, nan = np.inf, np.nan
    x = np.array([0.0, -0.0, inf, -inf, nan])
    special = {
        elementary.exp: [1, 1, inf, 0.0, nan],
        elementary.expm1: [0.0, -0.0, inf, -1, nan],
        elementary.log: [-inf, -inf, inf, nan, nan],
        elementary.tanh: [0.0, -0.0, 1, -1, nan],
        elementary.erf: [0.0, -0.0, 1, -1, nan],
        elementary.sigmoid: [0.5, 0.5, 1, 0, nan],
    }
    for function, expected in special.items():
        result = function(x)
        np.testing.assert_array_equal(result, expected)
        known = ~np.isnan(expected)
        assert (np.signbit(result) == np.signbit(expected))[known].all()


def test_powers_have_the_special_values_of_python() -> None:
    bases = [0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 0.5, np.inf, -np.inf]
    exponents = [0.0, 1.0, -1.0, 2.0, 3.0, -3.0, 0.5, 101.0, np.inf, -np.inf]
    for base in bases:
        for exponent in exponents:
            (result,) = elementary.power(np.array([base]), np.array([exponent]))
            expected = python_power(base, exponent)
            assert np.signbit(result) == np.signbit(expected) or np.isnan(expected)
            np.testing.assert_allclose(result, expected, rtol=1e-14, err_msg=f"{base}**{exponent}")


def python_power(base: float, exponent: float) -> float:
    """Raise by Python's rules, which are C's; it raises an error where C has an infinity or NaN."""
    import math

    try:
        return math.pow(base, exponent)
    except ValueError:
        if base == 0:
            odd = exponent % 2 == 1
            return math.copysign(math.inf, base) if odd else math.inf
        return math.nan
    except OverflowError:
        return -math.inf if base < 0 and exponent % 2 == 1 else math.inf
