"""Zeroes low mantissa bits of float32 numbers, by their bits: exact, the same on every machine."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

MANTISSA = 23
"""Bits of a float32's mantissa that are written."""
INFINITY = np.uint32(0x7F800000)
ROUNDINGS = ("nearest", "zero")
"""To the nearest number, ties to even; or towards zero, which cuts the bits off."""


def zero_mantissa_bits(array: Array, bits: int, rounding: str = "nearest") -> Array:
    """Return float32 numbers with their lowest mantissa bits zero; other formats as they are.

    Infinities and NaN stay what they are. Rounding to nearest may carry into the exponent, and
    from the largest numbers to infinity.

    >>> zero_mantissa_bits(np.float32([1 + 2**-23, 1 + 3 * 2**-23]), 1).tolist()
    [1.0, 1.0000004768371582]
    >>> zero_mantissa_bits(np.float32([1 + 2**-23, 1 + 3 * 2**-23]), 1, "zero").tolist()
    [1.0, 1.000000238418579]
    """
    if array.dtype != np.float32 or not bits:
        return array
    words = np.ascontiguousarray(array).view(np.uint32)
    low = np.uint32((1 << bits) - 1)
    finite = (words & INFINITY) != INFINITY
    if rounding == "nearest":
        odd = (words >> np.uint32(bits)) & np.uint32(1)
        words = np.where(finite, words + (low >> np.uint32(1)) + odd, words)
    zeroed = np.where(finite, words & ~low, words).astype(np.uint32)
    return zeroed.view(np.float32).reshape(array.shape)


def has_low_mantissa_bits(array: Array, bits: int) -> bool:
    """Tell whether any finite, normal float32 number has one of its lowest mantissa bits set.

    >>> (
    ...     has_low_mantissa_bits(np.float32([1.5, 0.0]), 22),
    ...     has_low_mantissa_bits(np.float32([1.25]), 22),
    ... )
    (False, True)
    """
    words = np.ascontiguousarray(array, np.float32).view(np.uint32)
    exponents = words & INFINITY
    looked_at = (exponents != INFINITY) & (exponents > np.uint32((MANTISSA + 1) << MANTISSA))
    return bool(np.any(words[looked_at] & np.uint32((1 << bits) - 1)))
