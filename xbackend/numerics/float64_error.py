"""How near a tensor is to the truth: to the same tensor, computed in float64. Pure functions.

The truth of an element is a float64 number r. Rounded to nearest, ties to even, in the tensor's own
format it is the best that the format can hold, r'. What each figure means:

* *Correct bits*: the leading mantissa bits that an element shares with r', 0 where sign or
  exponent differ; of a tensor, the minimum. A carry that runs through costs many of them at a small
  distance.
* *ULP*: steps from the element to r' in the order of all numbers; of a tensor, the maximum.
* *Absolute*: |x - r|, r not rounded; of a tensor, the maximum.
* *Relative*: the root mean square of x - r over that of r. One number for a whole tensor, which a
  few elements near zero do not decide; what is nearer and where accuracy is lost is judged by it.
* *Exact*: the share of the elements whose bits are those of r'.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from xbackend.numerics.blocks import (
    Bits,
    TensorBlocks,
    element_count,
    unsigned_dtype,
    view_as_numbers,
)
from xbackend.numerics.floats import FORMATS, FloatFormat
from xbackend.numerics.metrics import measure

REFERENCE = "float64"
"""The format of the truth."""
BLOCK = 1 << 14
"""Elements that are looked at in one go."""
WIDE = np.dtype(np.float64)
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class ErrorMetrics:
    """How far a tensor is from its float64 reference."""

    correct_bits: int
    """Leading mantissa bits that agree with the reference rounded to the tensor's format."""
    max_ulp: int | None
    """Steps to the rounded reference; None between a NaN and a number."""
    max_abs: float | None
    """Distance from the reference itself; None where it is not finite."""
    relative: float | None
    """Root mean square of the error over that of the reference; None where it is not finite."""
    exact_fraction: float
    """Share of the elements that are the rounded reference, bit for bit, 0..1."""

    def normwise_bits(self, dtype: str) -> float | None:
        """Return -log2 of the relative error, at most two more than the format's mantissa has.

        That is about what rounding every element correctly gives: an error of 0.29 ULP in the mean.

        >>> ErrorMetrics(22, 1, 1e-7, 2.0**-20, 0.5).normwise_bits("float32")
        20.0
        """
        if self.relative is None:
            return None
        most = max_normwise_bits(dtype)
        return min(most, -math.log2(self.relative)) if self.relative else most


def max_normwise_bits(dtype: str) -> float:
    """Return the bits by norm of a tensor that is as good as its format can be.

    >>> max_normwise_bits("float32")
    25.0
    """
    return float(FORMATS[dtype].mantissa_bits + 2)


@dataclass(frozen=True)
class RoundedBlocks:
    """A float64 tensor as another format holds it, rounded once, block by block."""

    wide: TensorBlocks
    dtype: str

    @property
    def shape(self) -> tuple[int, ...]:
        """The extent of each axis."""
        return self.wide.shape

    def bits(self, start: int, stop: int) -> Bits:
        """Return the bits of the rounded elements."""
        return round_bits(self.wide.bits(start, stop).view(WIDE), self.dtype)


def round_bits(values: Array, dtype: str) -> Bits:
    """Round float64 to nearest, ties to even, in a format; return its bits.

    >>> [hex(bits) for bits in round_bits(np.array([1.0, 1.00390625, -3.5e38]), "bfloat16")]
    ['0x3f80', '0x3f80', '0xff80']
    """
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        if dtype != "bfloat16":
            return np.ascontiguousarray(values.astype(dtype)).view(unsigned_dtype(dtype))
        narrow = _on_grid(values, FORMATS[dtype]).astype(np.float32)
    high: Bits = (narrow.view(np.uint32) >> np.uint32(16)).astype(np.uint16)
    return high


def _on_grid(values: Array, float_format: FloatFormat) -> Array:
    """Round to the numbers of a format, without the bounds of its exponent above.

    Division by a power of two is exact, so this rounds once; by way of float32 it would be twice.
    """
    _, exponents = np.frexp(values)
    lowest = 2 - float_format.bias
    step = np.maximum(exponents, lowest) - 1 - float_format.mantissa_bits
    grid: Array = np.ldexp(np.rint(np.ldexp(values, -step)), step)
    return np.where(np.isfinite(values), grid, values)


def error_metrics(tensor: TensorBlocks, reference: TensorBlocks) -> ErrorMetrics | None:
    """Return how near a tensor is to the reference, read in blocks.

    None where there is nothing to say: integers, a reference that is not float64, other shapes.
    """
    if tensor.dtype not in FORMATS or reference.dtype != REFERENCE:
        return None
    if tuple(tensor.shape) != tuple(reference.shape):
        return None
    metrics = measure([tensor, RoundedBlocks(reference, tensor.dtype)])
    errors = _ErrorAccumulator()
    for start in range(0, element_count(tensor), BLOCK):
        stop = min(start + BLOCK, element_count(tensor))
        values = view_as_numbers(tensor.dtype, tensor.bits(start, stop)).astype(np.float64)
        errors.add(values, reference.bits(start, stop).view(WIDE))
    return ErrorMetrics(
        correct_bits=metrics.remaining_precision or 0,
        max_ulp=metrics.max_ulp,
        max_abs=_finite(errors.largest),
        relative=errors.relative(),
        exact_fraction=1.0 - (metrics.deviating_fraction or 0.0),
    )


class _ErrorAccumulator:
    """What was seen of the differences so far, block after block."""

    def __init__(self) -> None:
        self.largest = 0.0
        self.error = self.truth = 0.0

    def add(self, values: Array, truth: Array) -> None:
        """Take in a block. Equal infinities, and two NaN, are no distance apart."""
        with np.errstate(invalid="ignore", over="ignore"):
            gap = np.abs(values - truth)
            same = (values == truth) | (np.isnan(values) & np.isnan(truth))
            gap = np.where(same, 0.0, gap)
            finite = np.where(np.isfinite(truth), truth, 0.0)
            self.largest = float(np.maximum(self.largest, gap.max(initial=0.0)))
            self.error += float(np.dot(gap, gap))
            self.truth += float(np.dot(finite, finite))

    def relative(self) -> float | None:
        """Return the root mean square of the error over that of the truth."""
        if self.error == 0:
            return 0.0
        if not self.truth:
            return None
        return _finite(math.sqrt(self.error / self.truth))


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def worst_errors(found: Iterable[ErrorMetrics | None]) -> ErrorMetrics | None:
    """Return the worst of each figure over several tensors; None among them stays None.

    None as a whole where no tensor could be judged. Of what is exact it is the mean.
    """
    known = [each for each in found if each is not None]
    if not known:
        return None
    return ErrorMetrics(
        correct_bits=min(each.correct_bits for each in known),
        max_ulp=_most([each.max_ulp for each in known]),
        max_abs=_most([each.max_abs for each in known]),
        relative=_most([each.relative for each in known]),
        exact_fraction=sum(each.exact_fraction for each in known) / len(known),
    )


def _most(values: list[Any]) -> Any:
    return None if None in values else max(values)
