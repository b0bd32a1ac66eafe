"""Exponentials, logarithms, error functions: float64 in, float64 out, without a libm.

Each is a fixed sequence of additions, multiplications, divisions and roundings of whole arrays,
every one a single IEEE 754 operation, so the bits are the same on every machine. Errors are a few
units in the last place of float64. Rounded to float32 that is the nearest float32 but for about
one argument in 10**8; the tests compare with numbers of 40 digits.

Series are those of textbooks: Taylor's for exp - 1, the one of atanh for log, Kummer's for erf,
and the continued fraction for erfc.
"""

from __future__ import annotations

from fractions import Fraction
from math import factorial
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from typing import Sequence, Tuple

    Array = np.ndarray[Any, Any]

LN2_HIGH = float.fromhex("0x1.62e42fee00000p-1")
"""The first 33 bits of log(2), so that products with exponents are exact."""
LN2_LOW = float.fromhex("0x1.a39ef35793c76p-33")
"""The rest of it."""
LOG2_E = float.fromhex("0x1.71547652b82fep+0")
SQRT_HALF = float.fromhex("0x1.6a09e667f3bcdp-1")
TWO_OVER_SQRT_PI = float.fromhex("0x1.20dd750429b6dp+0")

EXPONENTIAL = [float(Fraction(1, factorial(n))) for n in range(2, 15)]
"""Taylor's coefficients of (exp(r) - 1 - r) / r**2."""
LOGARITHM = [float(Fraction(2, n)) for n in range(3, 25, 2)]
"""Coefficients of (log((1 + s) / (1 - s)) - 2 s) / s**3 in s**2."""

LEAST, GREATEST = -1100.0, 1100.0
"""Beyond these exp is 0 and infinite in float64; arguments are clamped to them."""

NEAR = 2.0
"""Up to here erf is summed as a series; beyond, erfc is a continued fraction."""
SERIES_TERMS, FRACTION_TERMS = 44, 60
"""So many give all bits of float64 on their side of NEAR."""


def polynomial(x: Array, coefficients: Sequence[float]) -> Array:
    """Evaluate by Horner's rule, the constant coefficient first."""
    result = np.full(x.shape, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        result = result * x + coefficient
    return result


def power_of_two(exponent: Array) -> Array:
    """Return 2**n for whole numbers n between -1022 and 1023, from its bits."""
    return np.asarray((exponent.astype(np.int64) + 1023) << 52).view(np.float64)


def _reduced(x: Array) -> Tuple[Array, Array]:
    """Return n and exp(r) - 1, where x = n log(2) + r and r is at most log(2) / 2."""
    inside = np.where(x > GREATEST, GREATEST, np.where(x < LEAST, LEAST, x))
    inside = np.where(np.isnan(x), 0.0, inside)
    exponent = np.rint(inside * LOG2_E)
    rest = (inside - exponent * LN2_HIGH) - exponent * LN2_LOW
    return exponent, rest + rest * rest * polynomial(rest, EXPONENTIAL)


def _scaled(values: Array, exponent: Array) -> Array:
    """Multiply by 2**n in two steps, either of which is a power that float64 has."""
    half = np.floor(exponent * 0.5)
    return values * power_of_two(half) * power_of_two(exponent - half)


def exp(x: Array) -> Array:
    """Return e**x."""
    exponent, part = _reduced(x)
    with np.errstate(all="ignore"):
        return np.where(np.isnan(x), x, _scaled(1.0 + part, exponent))


def expm1(x: Array) -> Array:
    """Return e**x - 1, of small numbers too with all of its bits."""
    exponent, part = _reduced(x)
    near = np.where(np.abs(exponent) < 60, exponent, 0.0)
    scale = power_of_two(near)
    with np.errstate(all="ignore"):
        far = _scaled(1.0 + part, exponent) - 1.0
        result = np.where(near == exponent, scale * part + (scale - 1.0), far)
        return np.where(np.isnan(x) | (x == 0), x, result)


def log(x: Array) -> Array:
    """Return the natural logarithm; of 0 it is minus infinity, of less not a number."""
    normal = np.where(x > 0, x, 1.0)
    normal = np.where(np.isinf(normal), 1.0, normal)
    tiny = normal < 2.0**-1000
    bits = np.asarray(np.where(tiny, normal * 2.0**100, normal)).view(np.int64)
    exponent = (bits >> 52) - 1023 - np.where(tiny, 100, 0)
    mantissa = np.asarray((bits & ((1 << 52) - 1)) | (1023 << 52)).view(np.float64)
    high = mantissa > 2.0 * SQRT_HALF
    mantissa = np.where(high, mantissa * 0.5, mantissa)
    exponent = (exponent + high).astype(np.float64)
    result = exponent * LN2_HIGH + (_log_near_one(mantissa - 1.0) + exponent * LN2_LOW)
    special = np.where(x == 0, -np.inf, np.where(x < 0, np.nan, x))
    return np.where((x > 0) & ~np.isinf(x), result, special)


def _log_near_one(f: Array) -> Array:
    """Return log(1 + f) for f between sqrt(1/2) - 1 and sqrt(2) - 1.

    With s = f / (2 + f) it is 2 s + s**3 (2/3 + …) and 2 s = f - f s.
    """
    s = f / (2.0 + f)
    square = s * s
    return np.asarray(f - s * (f - square * polynomial(square, LOGARITHM)))


def log1p(x: Array) -> Array:
    """Return log(1 + x) for x from 0 to 1, of small numbers too with all of their bits."""
    above = 1.0 + x
    with np.errstate(all="ignore"):
        return np.asarray(log(above) + (x - (above - 1.0)) / above)


def erf(x: Array) -> Array:
    """Return the error function."""
    size = np.where(np.abs(x) < 8.0, np.abs(x), 8.0)
    far = 1.0 - _erfc_far(np.where(size > NEAR, size, NEAR))
    result = np.where(size > NEAR, far, _erf_near(np.where(size > NEAR, NEAR, size)))
    return np.where(np.isnan(x), x, np.copysign(result, x))


def erfc(x: Array) -> Array:
    """Return 1 - erf(x), of large numbers too with their leading bits."""
    size = np.where(np.abs(x) < 30.0, np.abs(x), 30.0)
    far = _erfc_far(np.where(size > NEAR, size, NEAR))
    near = _erf_near(np.where(size > NEAR, NEAR, size))
    above = np.where(size > NEAR, far, 1.0 - near)
    below = np.where(size > NEAR, 2.0 - far, 1.0 + near)
    return np.where(np.isnan(x), x, np.where(x < 0, below, above))


def _erf_near(x: Array) -> Array:
    """Return 2 / sqrt(pi) exp(-x**2) times the sum of 2**n x**(2n+1) / (2n+1)!!; none cancels."""
    square = x * x
    series = np.ones(x.shape)
    for n in range(SERIES_TERMS, 0, -1):
        series = series * (2.0 * square) / (2.0 * n + 1.0) + 1.0
    return TWO_OVER_SQRT_PI * x * exp(-square) * series


def _erfc_far(x: Array) -> Array:
    """Return exp(-x**2) / sqrt(pi) / (x + (1/2) / (x + (2/2) / (x + …)))."""
    fraction = np.array(x)
    for n in range(FRACTION_TERMS, 0, -1):
        fraction = x + (0.5 * n) / fraction
    return np.asarray(_exp_of_minus_square(x) * (0.5 * TWO_OVER_SQRT_PI) / fraction)


def _exp_of_minus_square(x: Array) -> Array:
    """Return exp(-x**2); the square is split, as its rounding would be magnified."""
    head = np.asarray(x.view(np.int64) & ~((1 << 27) - 1)).view(np.float64)
    return exp(-head * head) * exp(-(x - head) * (x + head))


def tanh(x: Array) -> Array:
    """Return the hyperbolic tangent."""
    size = np.where(np.abs(x) < 32.0, np.abs(x), 32.0)
    grown = expm1(2.0 * size)
    return np.where(np.isnan(x), x, np.copysign(grown / (grown + 2.0), x))


def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + e**-x)."""
    decay = exp(-np.abs(x))
    return np.asarray(np.where(x < 0, decay, 1.0) / (1.0 + decay))


def power(x: Array, y: Array) -> Array:
    """Return x**y with the special values of C: by multiplication where y is whole and small."""
    x, y = np.broadcast_arrays(x, y)
    whole = np.where(np.abs(y) <= 64, y, 0.0)
    small = (np.rint(whole) == y) & (np.abs(y) <= 64)
    with np.errstate(all="ignore"):
        general = exp(y * log(np.abs(x)))
        odd = (np.rint(y) == y) & (np.rint(y * 0.5) != y * 0.5)
        signed = np.where(np.signbit(x) & odd, -general, general)
        invalid = (x < 0) & (np.rint(y) != y) & ~np.isinf(x) & ~np.isinf(y)
        general = np.where(invalid, np.nan, signed)
        general = np.where(y == 0.5, np.where(x >= 0, np.sqrt(np.abs(x)), general), general)
        general = np.where((x == 1) | ((np.abs(x) == 1) & np.isinf(y)), 1.0, general)
    return np.where(small, _whole_power(x, np.where(small, y, 0.0)), general)


def _whole_power(x: Array, y: Array) -> Array:
    """Multiply by squaring, the exponent's least bit first; a negative one is 1 / x**-y."""
    result, square, left = np.ones(x.shape), np.array(x), np.abs(y).astype(np.int64)
    with np.errstate(all="ignore"):
        for _ in range(7):
            result = np.where(left & 1, result * square, result)
            left = left >> 1
            square = np.where(left > 0, square * square, square)
        return np.where(y < 0, 1.0 / result, result)
