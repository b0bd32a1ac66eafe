"""The formats that a layer may compute in, and Higham's bound on a number of roundings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from xbackend.numerics.floats import FORMATS

Array = np.ndarray[Any, Any]
EXPONENT = np.int64(0x7FF << 52)
"""The bits of a float64 that hold its exponent; alone they are a power of two."""


@dataclass(frozen=True)
class Arithmetic:
    """How a kernel rounds: what it multiplies, what it adds up in, and what it gives."""

    name: str
    """What a reader calls it, such as `float32` or `TF32 products`."""
    sums: str
    """The format of each operation."""
    operand_bits: int = 0
    """Significant bits that what is multiplied is rounded to first; 0 where it is not."""
    truncates: bool = False
    """Whether operands are cut off instead of rounded to nearest."""
    result: str = ""
    """The format that results are rounded to at last, where it is a narrower one."""
    keeps: bool = False
    """Whether it hands on more than it records: inputs were wider than their recorded values."""
    slack: float = 1.0
    """Factor on the bound: accumulators of tensor cores cut off where IEEE 754 rounds."""

    @property
    def roundoff(self) -> float:
        """The unit roundoff u of the sums: half the distance from 1 to the next number."""
        return roundoff(self.sums)

    @property
    def tiny(self) -> float:
        """The most that one operation loses below the normal numbers, flushed to zero or not."""
        return smallest_normal(self.sums)


def roundoff(dtype: str) -> float:
    """Return half the distance from 1 to the next number. Raises LookupError for integers.

    >>> roundoff("float32") == 2.0**-24
    True
    """
    if dtype not in FORMATS:
        raise LookupError(f"no rounding of {dtype} is known for it")
    return float(2.0 ** -(FORMATS[dtype].mantissa_bits + 1))


def smallest_normal(dtype: str) -> float:
    """Return the smallest normal number; of float16, whose subnormals nobody flushes, the least.

    >>> smallest_normal("float32") == 2.0**-126
    True
    """
    layout = FORMATS[dtype]
    lowest = 2 - (1 << (layout.exponent_bits - 1))
    return float(2.0 ** (lowest - (layout.mantissa_bits if dtype == "float16" else 0)))


def largest(dtype: str) -> float:
    """Return the largest finite number.

    >>> largest("float16")
    65504.0
    """
    layout = FORMATS[dtype]
    top = (1 << (layout.exponent_bits - 1)) - 1
    return float((2.0 - 2.0**-layout.mantissa_bits) * 2.0**top)


def gamma(roundings: Array | float, unit: float) -> Array:
    """Return n u / (1 - n u), which bounds n roundings in a row; infinite from n u = 1 on.

    Source: Higham, Accuracy and Stability of Numerical Algorithms, 3.1.

    >>> float(gamma(1, 0.5))
    1.0
    """
    product = np.asarray(roundings, np.float64) * unit
    with np.errstate(divide="ignore"):
        return np.where(product < 1, product / np.maximum(1 - product, 0), np.inf)


def round_operand(values: Array, bits: int, truncates: bool = False) -> Array:
    """Round numbers to a number of significant bits, to nearest with ties to even or toward zero.

    >>> round_operand(np.array([1.0 + 2.0**-11]), 11).item()
    1.0
    """
    mantissas, exponents = np.frexp(np.asarray(values, np.float64))
    scaled = np.ldexp(mantissas, bits)
    kept = np.trunc(scaled) if truncates else np.rint(scaled)
    found: Array = np.ldexp(kept, exponents - bits)
    return np.where(np.isfinite(values), found, values)


def is_representable(values: Array, dtype: str) -> bool:
    """Tell whether all finite numbers of an array are numbers of a narrower format.

    >>> is_representable(np.array([1.5, 65504.0]), "float16")
    True
    """
    finite = values[np.isfinite(values)]
    if finite.size and float(np.abs(finite).max()) > largest(dtype):
        return False
    bits = FORMATS[dtype].mantissa_bits + 1
    return bool(np.array_equal(round_operand(finite, bits), finite))


def power_below(values: Array) -> Array:
    """Return the power of two at or below each magnitude, by which its ULP is measured; 0 of 0.

    >>> power_below(np.array([3.0, -4.0, 0.0])).tolist()
    [2.0, 4.0, 0.0]
    """
    bits = np.ascontiguousarray(values, np.float64).view(np.int64)
    return (bits & EXPONENT).view(np.float64).reshape(np.shape(values))
