"""The arithmetic of one block: bits that differ, ULP and absolute distances, in place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xbackend.numerics.blocks import Bits, unsigned_dtype, view_as_numbers
from xbackend.numerics.floats import FORMATS, FloatFormat

Array = np.ndarray[Any, Any]


FEW = 256
"""How many elements are looked up one by one rather than all computed."""


@dataclass(frozen=True)
class ScratchBuffers:
    """Arrays as long as a block, which every block is computed in."""

    deviating: Bits
    """Where some tensor's bits are not those of the first, and which."""
    scratch: Bits
    high: Bits
    """The highest of the tensors, element by element, as a place in the order of all numbers."""
    low: Bits
    gap: Array
    """Absolute difference of highest and lowest, float64."""

    @classmethod
    def allocate(cls, dtype: np.dtype[Any], size: int) -> ScratchBuffers:
        """Make buffers for blocks of at most `size` elements."""
        one, two, three, four = (np.empty(size, dtype) for _ in range(4))
        return cls(one, two, three, four, np.empty(size))

    def head(self, size: int) -> ScratchBuffers:
        """Return the beginning of each, for a block that is shorter than the others."""
        arrays = (self.deviating, self.scratch, self.high, self.low, self.gap)
        return ScratchBuffers(*(array[:size] for array in arrays))


@dataclass
class DistanceAccumulator:
    """What has been seen so far, block after block."""

    float_format: FloatFormat | None
    """None for integers and booleans."""
    signed: np.dtype[Any]
    """The integers in whose order the bits are compared."""
    buffers: ScratchBuffers
    differing_bits: int = 0
    """Every bit that differed at any element."""
    deviating: int = 0
    max_ulp: int = 0
    max_abs: float = 0.0
    nan: int = 0
    """Elements with a NaN in one tensor and a number in another."""
    narrow_peak: float = 0.0
    """The largest absolute difference of float32 numbers, rounded to float32."""
    infinite: int = 0
    """Elements with infinity in one tensor and another number in another."""

    @classmethod
    def for_dtype(cls, dtype: str, size: int) -> DistanceAccumulator:
        """Begin, for tensors of a dtype, in blocks of at most `size` elements."""
        bits = unsigned_dtype(dtype)
        plain = dtype == "bool" or dtype.startswith("uint")
        order = bits if plain else np.dtype(f"i{bits.itemsize}")
        return cls(FORMATS.get(dtype), order, ScratchBuffers.allocate(bits, size))

    def add(self, blocks: Sequence[Bits]) -> None:
        """Take in the same span of every tensor."""
        buffers = self.buffers.head(blocks[0].size)
        _find_deviating(blocks, buffers)
        differing_bits = int(np.bitwise_or.reduce(buffers.deviating))
        if not differing_bits:
            return
        self.differing_bits |= differing_bits
        self.deviating += int(np.count_nonzero(buffers.deviating))
        if self.float_format is None:
            self._add_integers(blocks, buffers)
        else:
            self._add_floats(self.float_format, blocks, buffers, differing_bits)

    def _add_integers(self, blocks: Sequence[Bits], buffers: ScratchBuffers) -> None:
        _find_extremes(blocks, buffers, self.signed)
        self._add_steps(buffers)
        self.max_abs = float(self.max_ulp)

    def _add_floats(
        self,
        float_format: FloatFormat,
        blocks: Sequence[Bits],
        buffers: ScratchBuffers,
        differing_bits: int,
    ) -> None:
        crossing = bool(differing_bits & float_format.sign_mask)
        find_extremes = _find_extremes_across_zero if crossing else _find_extremes
        if len(blocks) > 2:
            find_extremes(blocks, buffers, self.signed)
        one, two = _ends(blocks, buffers, self.signed, crossing=crossing)
        peak = self._find_peak(float_format, one, two, buffers.gap)
        finite = bool(np.isfinite(peak))
        far = (
            len(blocks) > 2
            or not finite
            or self._may_be_farther(float_format, blocks, differing_bits, peak)
        )
        if far and len(blocks) == 2:
            find_extremes(blocks, buffers, self.signed)
        if not finite:
            _find_gap(float_format, one, two, buffers.gap)
            peak = self._set_aside(float_format, blocks, buffers)
        self.max_abs = max(self.max_abs, peak)
        if far:
            self._add_steps(buffers)

    def _may_be_farther(
        self, float_format: FloatFormat, blocks: Sequence[Bits], differing_bits: int, peak: float
    ) -> bool:
        """Tell whether numbers can be more than `max_ulp` apart, without computing how far.

        Those of one sign are at most as far apart as if all bits up to the highest one that
        differs did, and as the largest is from zero. Of those of two signs, `peak` is the largest
        difference: it is the sum of their magnitudes. The place of a magnitude in the order of all
        numbers is a concave function of it, so for a given sum both together are farthest from
        zero if they are equal.
        """
        if not differing_bits & float_format.sign_mask:
            return (1 << differing_bits.bit_length()) - 1 > self.max_ulp
        if 2 * _place_above(float_format, peak / 2) + 1 > self.max_ulp:
            return True
        if float_format.infinity <= self.max_ulp:
            return False
        return max(int(_magnitude(float_format, block).max()) for block in blocks) > self.max_ulp

    def _find_peak(self, float_format: FloatFormat, one: Bits, two: Bits, gap: Array) -> float:
        """Return the largest absolute difference, or at most `max_abs` where none is larger.

        For float32 it is sought in float32, at twice the speed, and rounded to float64 only where
        that found the largest. Rounding keeps the order, so the largest is among these.
        """
        if float_format.name != "float32":
            return _widest(float_format, one, two, gap)
        first, second = one.view(np.float32), two.view(np.float32)
        narrow = gap.view(np.float32)[: one.size]
        np.subtract(first, second, out=narrow)
        np.absolute(narrow, out=narrow)
        peak = float(narrow.max())
        if not np.isfinite(peak) or peak < self.narrow_peak:
            return peak
        self.narrow_peak = peak
        largest = narrow == np.float32(peak)
        if np.count_nonzero(largest) > FEW:
            return _widest(float_format, one, two, gap)
        places = np.flatnonzero(largest)
        return _widest(float_format, one[places], two[places], np.empty(places.size))

    def _add_steps(self, buffers: ScratchBuffers) -> None:
        np.subtract(buffers.high, buffers.low, out=buffers.high)
        self.max_ulp = max(self.max_ulp, int(buffers.high.max()))

    def _set_aside(
        self, float_format: FloatFormat, blocks: Sequence[Bits], buffers: ScratchBuffers
    ) -> float:
        """Count the elements without a finite distance; return the largest of the others."""
        nans = [_magnitude(float_format, block) > float_format.infinity for block in blocks]
        infinities = [_magnitude(float_format, block) == float_format.infinity for block in blocks]
        some_nan = np.logical_or.reduce(nans)
        mixed = some_nan & ~np.logical_and.reduce(nans)
        same = buffers.high == buffers.low
        infinite = np.logical_or.reduce(infinities) & ~some_nan & ~same
        self.nan += int(np.count_nonzero(mixed))
        self.infinite += int(np.count_nonzero(infinite))
        np.copyto(buffers.high, buffers.low, where=some_nan)
        rest = buffers.gap[~(some_nan | infinite | same)]
        return float(rest.max(initial=0.0))


def _place_above(float_format: FloatFormat, magnitude: float) -> int:
    """Return a place in the order of all numbers that is beyond a magnitude, rounded as it may be.

    Formats of 16 bits are not looked up: there the answer is the place of infinity.
    """
    if float_format.name not in ("float32", "float64"):
        return float_format.infinity
    kind = np.dtype(float_format.name)
    bits = np.array(magnitude, kind).view(float_format.storage)
    return min(int(bits) + 2, float_format.infinity)


def _find_deviating(blocks: Sequence[Bits], buffers: ScratchBuffers) -> None:
    np.bitwise_xor(blocks[0], blocks[1], out=buffers.deviating)
    for block in blocks[2:]:
        np.bitwise_xor(blocks[0], block, out=buffers.scratch)
        np.bitwise_or(buffers.deviating, buffers.scratch, out=buffers.deviating)


def _find_extremes(blocks: Sequence[Bits], buffers: ScratchBuffers, order: np.dtype[Any]) -> None:
    """Find highest and lowest by the bits themselves.

    That is the order of integers, and of floats if at each element all have the same sign: it is
    backwards for negative ones, which leaves every distance as it is.
    """
    high, low = buffers.high.view(order), buffers.low.view(order)
    views = [block.view(order) for block in blocks]
    np.maximum(views[0], views[1], out=high)
    np.minimum(views[0], views[1], out=low)
    for view in views[2:]:
        np.maximum(high, view, out=high)
        np.minimum(low, view, out=low)


def _find_extremes_across_zero(
    blocks: Sequence[Bits], buffers: ScratchBuffers, order: np.dtype[Any]
) -> None:
    high, low, place = (each.view(order) for each in (buffers.high, buffers.low, buffers.scratch))
    order_places(blocks[0].view(order), high)
    lowest = high
    for block in blocks[1:]:
        order_places(block.view(order), place)
        np.minimum(lowest, place, out=low)
        np.maximum(high, place, out=high)
        lowest = low


def order_places(bits: Array, out: Array) -> None:
    """Turn bits of floats into places in their order, or back: -0.0 is at -1.

    Both arrays are of signed integers. All bits but the sign are flipped where the sign is set.
    """
    width = out.itemsize * 8
    np.right_shift(bits, width - 1, out=out)
    unsigned_out = out.view(f"u{out.itemsize}")
    np.right_shift(unsigned_out, 1, out=unsigned_out)
    np.bitwise_xor(out, bits, out=out)


def _ends(
    blocks: Sequence[Bits], buffers: ScratchBuffers, order: np.dtype[Any], *, crossing: bool
) -> tuple[Bits, Bits]:
    """Return the bits of the two numbers of each element that are farthest apart."""
    if len(blocks) == 2:
        return blocks[0], blocks[1]
    if not crossing:
        return buffers.high, buffers.low
    order_places(buffers.high.view(order), buffers.deviating.view(order))
    order_places(buffers.low.view(order), buffers.scratch.view(order))
    return buffers.deviating, buffers.scratch


def _widest(float_format: FloatFormat, one: Bits, two: Bits, gap: Array) -> float:
    _find_gap(float_format, one, two, gap)
    return float(gap.max())


def _find_gap(float_format: FloatFormat, one: Bits, two: Bits, gap: Array) -> None:
    ends = view_as_numbers(float_format.name, one), view_as_numbers(float_format.name, two)
    np.subtract(*ends, out=gap, dtype=np.float64)
    np.absolute(gap, out=gap)


def _magnitude(float_format: FloatFormat, bits: Bits) -> Bits:
    magnitude: Bits = bits & bits.dtype.type(float_format.sign_mask - 1)
    return magnitude
