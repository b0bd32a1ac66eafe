"""Functions of the circle and the hyperbola against Python's decimal numbers of 60 digits."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
import pytest

from xbackend.backends.fixed import trigonometry

Array = np.ndarray[Any, Any]
Oracle = Callable[[Decimal], Decimal]

PI = Decimal("3.1415926535897932384626433832795028841971693993751058209749445923078164062862089986")


def sin(x: Decimal) -> Decimal:
    """Sum Taylor's series after whole turns are taken off."""
    x = x % (2 * PI)
    total = term = x
    n = 1
    while abs(term) > Decimal(10) ** -70:
        n += 2
        term = -term * x * x / (n * (n - 1))
        total += term
    return total


def cos(x: Decimal) -> Decimal:
    return sin(x + PI / 2)


def tan(x: Decimal) -> Decimal:
    return sin(x) / cos(x)


def atan(x: Decimal) -> Decimal:
    """Halve the angle eight times, then sum the series."""
    for _ in range(8):
        x = x / (1 + (1 + x * x).sqrt())
    total = term = x
    n = 1
    while abs(term) > Decimal(10) ** -70:
        n += 2
        term = -term * x * x
        total += term / n
    return total * 256


def asin(x: Decimal) -> Decimal:
    return atan(x / (1 - x * x).sqrt())


def acos(x: Decimal) -> Decimal:
    return PI / 2 - asin(x)


def sinh(x: Decimal) -> Decimal:
    return (x.exp() - (-x).exp()) / 2


def cosh(x: Decimal) -> Decimal:
    return (x.exp() + (-x).exp()) / 2


def asinh(x: Decimal) -> Decimal:
    return (x + (x * x + 1).sqrt()).ln()


def acosh(x: Decimal) -> Decimal:
    return (x + (x * x - 1).sqrt()).ln()


def atanh(x: Decimal) -> Decimal:
    return ((1 + x) / (1 - x)).ln() / 2


CASES: dict[str, tuple[Oracle, float, float]] = {
    "sin": (sin, -50, 50),
    "cos": (cos, -50, 50),
    "tan": (tan, -50, 50),
    "asin": (asin, -0.999, 0.999),
    "acos": (acos, -0.999, 0.999),
    "atan": (atan, -30, 30),
    "sinh": (sinh, -80, 80),
    "cosh": (cosh, -80, 80),
    "asinh": (asinh, -1000, 1000),
    "acosh": (acosh, 1, 1000),
    "atanh": (atanh, -0.999, 0.999),
}


def arguments(begin: float, end: float) -> Array:
    """Return float32 over a range, evenly and near its middle by magnitude."""
    random = np.random.default_rng(5)
    small = np.exp2(random.uniform(-20, -1, 60)) * random.choice([-1, 1], 60)
    found = np.concatenate([random.uniform(begin, end, 150), small, 1 + np.abs(small)])
    return found[(found > begin) & (found < end)].astype(np.float32)


@pytest.mark.parametrize("name", CASES)
def test_rounded_to_float32_it_is_the_nearest(name: str) -> None:
    oracle, begin, end = CASES[name]
    x = arguments(begin, end)
    found = getattr(trigonometry, name)(x.astype(np.float64)).astype(np.float32)
    with localcontext() as context:
        context.prec = 75
        wanted = [np.float32(float(oracle(Decimal(float(value))))) for value in x]
    assert found.tolist() == [float(value) for value in wanted]


def test_angles_of_any_size_are_those_of_whole_numbers() -> None:
    x = np.array([1e7, 1e22, 3.4e38, -(2.0**90), 1.5e300])
    with localcontext() as context:
        context.prec = 420
        pi = 4 * (4 * _arc(5) - _arc(239))
        wanted = [float(sin_of(Decimal(float(value)), pi)) for value in x]
    np.testing.assert_allclose(trigonometry.sin(x), wanted, rtol=1e-15)


def _arc(denominator: int) -> Decimal:
    """Return the angle whose tangent is 1 over a number."""
    total = term = Decimal(1) / denominator
    n = 1
    while abs(term) > Decimal(10) ** -410:
        n += 2
        term = -term / (denominator * denominator)
        total += term / n
    return total


def sin_of(x: Decimal, pi: Decimal) -> Decimal:
    """Take whole turns off with as many digits as it needs."""
    return sin(x - 2 * pi * (x / (2 * pi)).to_integral_value())


def test_what_has_no_value_has_none() -> None:
    with np.errstate(all="ignore"):
        assert np.isnan(trigonometry.sin(np.array([np.inf, np.nan]))).all()
        assert np.isnan(trigonometry.acosh(np.array([0.5]))).all()
        assert np.isnan(trigonometry.asin(np.array([1.5]))).all()
        assert trigonometry.atanh(np.array([1.0])).tolist() == [np.inf]
        assert trigonometry.asin(np.array([1.0, -1.0])).tolist() == [np.pi / 2, -np.pi / 2]
        assert trigonometry.atan(np.array([np.inf])).tolist() == [np.pi / 2]
        assert trigonometry.sinh(np.array([800.0, -800.0])).tolist() == [np.inf, -np.inf]


def test_zeros_keep_their_sign() -> None:
    zeros = np.array([0.0, -0.0])
    for name in ("sin", "atan", "asinh"):
        assert np.signbit(getattr(trigonometry, name)(zeros)).tolist() == [False, True]
