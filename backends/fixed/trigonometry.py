"""Trigonometric and hyperbolic functions and their inverses: float64 in and out, without a libm.

As in elementary.py each is a fixed sequence of single IEEE 754 operations on whole arrays. Angles
are brought to an eighth of the circle by a quarter of it in three parts, of 33 bits the first two,
which is exact up to 2**20; beyond, whole numbers are divided by pi of 1,200 bits. Series are
Taylor's.
"""

from __future__ import annotations

from fractions import Fraction
from math import factorial
from typing import TYPE_CHECKING, Any

import numpy as np

from .elementary import exp, expm1, log, log1p, polynomial

if TYPE_CHECKING:
    from typing import Tuple

    Array = np.ndarray[Any, Any]

SINE = [float(Fraction((-1) ** n, factorial(2 * n + 1))) for n in range(1, 10)]
"""Taylor's coefficients of (sin(r) - r) / r**3 in r**2."""
COSINE = [float(Fraction((-1) ** n, factorial(2 * n))) for n in range(2, 11)]
"""Taylor's coefficients of (cos(r) - 1 + r**2 / 2) / r**4 in r**2."""
ARC = [float(Fraction((-1) ** n, 2 * n + 1)) for n in range(1, 18)]
"""Taylor's coefficients of (atan(r) - r) / r**3 in r**2."""

BITS = 1200
HALVINGS = 2


def _pi(bits: int) -> int:
    """Return pi times 2**bits, cut off: Machin's formula in whole numbers."""
    one = 1 << (bits + 32)

    def arc(denominator: int) -> int:
        total = power = one // denominator
        n, sign = 3, -1
        while power:
            power //= denominator * denominator
            total += sign * (power // n)
            n, sign = n + 2, -sign
        return total

    return (4 * (4 * arc(5) - arc(239))) >> 32


PI = _pi(BITS)
"""pi times 2**1200."""


def _parts() -> Tuple[float, float, float]:
    """Return a quarter of the circle as two floats of 33 bits and the rest."""
    rest = Fraction(PI, 1 << (BITS + 1))
    found = []
    for place in (32, 65):
        part = Fraction(int(rest * (1 << place)), 1 << place)
        found.append(float(part))
        rest -= part
    return found[0], found[1], float(rest)


HIGH, MIDDLE, LOW = _parts()
HALF_PI = float(Fraction(PI, 1 << (BITS + 1)))
HALF_PI_LOW = float(Fraction(PI, 1 << (BITS + 1)) - Fraction(HALF_PI))
TWO_OVER_PI = float(Fraction(1 << (BITS + 1), PI))
FAR = 2.0**20


def _reduced(x: Array) -> Tuple[Array, Array]:
    """Return which quarter an angle is nearest to, from 0 to 3, and what is left of the angle."""
    near = np.abs(x) < FAR
    inside = np.where(near, x, 0.0)
    quarter = np.rint(inside * TWO_OVER_PI)
    rest = ((inside - quarter * HIGH) - quarter * MIDDLE) - quarter * LOW
    turns = quarter.astype(np.int64) & 3
    for place in np.argwhere(~near & np.isfinite(x)):
        index = tuple(place)
        turns[index], rest[index] = _far(float(x[index]))
    return turns, rest


def _far(x: float) -> Tuple[int, float]:
    """Reduce an angle of any size in whole numbers."""
    numerator, denominator = x.as_integer_ratio()
    scaled = (numerator << (BITS + 1)) // denominator
    quarter = (2 * scaled + PI) // (2 * PI)
    return quarter & 3, float(Fraction(scaled - quarter * PI, 1 << (BITS + 1)))


def _sine(r: Array) -> Array:
    square = r * r
    return r + r * square * polynomial(square, SINE)


def _cosine(r: Array) -> Array:
    square = r * r
    return np.asarray(1.0 - (0.5 * square - square * square * polynomial(square, COSINE)))


def _turned(x: Array, ahead: int) -> Array:
    """Return the sine of an angle and so many quarters of the circle."""
    x = np.asarray(x)
    turns, rest = _reduced(np.atleast_1d(x))
    turns = (turns + ahead) & 3
    value = np.where(turns & 1, _cosine(rest), _sine(rest))
    value = np.where(turns & 2, -value, value).reshape(x.shape)
    return np.where(np.isfinite(x), value, np.nan)


def sin(x: Array) -> Array:
    """Return the sine of an angle."""
    return np.where(x == 0, x, _turned(x, 0))


def cos(x: Array) -> Array:
    """Return the cosine of an angle."""
    return _turned(x, 1)


def tan(x: Array) -> Array:
    """Return the tangent of an angle."""
    return np.asarray(sin(x) / cos(x))


def atan(x: Array) -> Array:
    """Return the angle of a tangent, which is halved twice before the series."""
    size = np.abs(x)
    small = np.where(size > 1.0, 1.0 / np.where(size > 1.0, size, 1.0), size)
    for _ in range(HALVINGS):
        small = small / (1.0 + np.sqrt(1.0 + small * small))
    square = small * small
    angle = (small + small * square * polynomial(square, ARC)) * float(1 << HALVINGS)
    angle = np.where(size > 1.0, HALF_PI - (angle - HALF_PI_LOW), angle)
    return np.where(np.isnan(x) | (x == 0), x, np.copysign(angle, x))


def asin(x: Array) -> Array:
    """Return the angle of a sine."""
    return atan(x / np.sqrt((1.0 - x) * (1.0 + x)))


def acos(x: Array) -> Array:
    """Return the angle of a cosine."""
    return np.asarray(2.0 * atan(np.sqrt((1.0 - x) / (1.0 + x))))


def sinh(x: Array) -> Array:
    """Return the hyperbolic sine."""
    size = np.abs(x)
    grown = expm1(size)
    value = np.where(size < 22.0, 0.5 * (grown + grown / (grown + 1.0)), _half_exp(size))
    return np.where(np.isnan(x), x, np.copysign(value, x))


def cosh(x: Array) -> Array:
    """Return the hyperbolic cosine."""
    size = np.abs(x)
    grown = exp(size)
    return np.where(size < 22.0, 0.5 * (grown + 1.0 / grown), _half_exp(size))


def _half_exp(x: Array) -> Array:
    """Return half of e**x, also where e**x itself is too large."""
    root = exp(0.5 * x)
    return np.asarray((0.5 * root) * root)


def asinh(x: Array) -> Array:
    """Return the inverse of the hyperbolic sine."""
    size = np.abs(x)
    small = np.where(size < 0.5, size, 0.0)
    square = small * small
    near = log1p(small + square / (1.0 + np.sqrt(1.0 + square)))
    medium = np.where(size < 2.0**28, size, 1.0)
    far = np.where(
        size < 2.0**28, log(medium + np.sqrt(medium * medium + 1.0)), log(size) + log_2()
    )
    value = np.where(size < 0.5, near, far)
    return np.where(np.isnan(x) | (x == 0), x, np.copysign(value, x))


def log_2() -> Array:
    """Return the logarithm of 2."""
    return log(np.array(2.0))


def acosh(x: Array) -> Array:
    """Return the inverse of the hyperbolic cosine."""
    beyond = x - 1.0
    near = beyond + np.sqrt(2.0 * beyond + beyond * beyond)
    close = log1p(np.where(near <= 1.0, near, 0.0))
    medium = np.where(x < 2.0**28, x, 2.0)
    far = np.where(
        x < 2.0**28, log(medium + np.sqrt((medium - 1.0) * (medium + 1.0))), log(x) + log_2()
    )
    return np.where(x < 1.0, np.nan, np.where(near <= 1.0, close, far))


def atanh(x: Array) -> Array:
    """Return the inverse of the hyperbolic tangent."""
    size = np.abs(x)
    grown = 2.0 * size / (1.0 - size)
    near = 0.5 * log1p(np.where(grown <= 1.0, grown, 0.0))
    far = 0.5 * log((1.0 + size) / (1.0 - size))
    return np.where(np.isnan(x), x, np.copysign(np.where(grown <= 1.0, near, far), x))
