"""Which tensors have the same bits, and how far apart the others are: pure functions.

Classes come from digests alone. Distances come from one representative of each class, read in
blocks that fit the cache, so that memory does not grow with the tensors.

What each metric means where the answer is not obvious:

* *Zeros.* -0.0 and +0.0 are two numbers, one ULP apart; so `max_ulp` without NaN is 0 if and only
  if all bits are the same. They share no leading bits (the sign differs) and are 0.0 apart.
* *NaN.* Payload and sign count for classes, `deviating_fraction` and `remaining_precision`, which
  look at bits. Two NaN are no distance apart. Between a NaN and a number there is no distance:
  `max_ulp` and `max_abs` are None if that happens at any element.
* *Infinity.* One ULP beyond the largest number. Its absolute distance from anything but itself is
  not finite, and then `max_abs` is None, as it is where the difference overflows float64.
  `not_finite` counts the elements at which NaN or infinity leave no finite distance.
* *Integers and booleans* have no mantissa: `remaining_precision` is None, `max_ulp` counts steps.
* *Different dtypes or shapes* cannot be compared element by element: all is None, but
  `remaining_precision` is 0 if every tensor is a float, as no bit can be vouched for.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from xbackend.numerics.block_metrics import DistanceAccumulator
from xbackend.numerics.blocks import TensorBlocks, element_count, unsigned_dtype
from xbackend.numerics.floats import FORMATS, FloatFormat

BLOCK_BYTES = 1 << 17
"""Size of a block of each tensor: a handful of them fit the second-level cache."""
SPAN_BYTES = 1 << 18
"""Where the others are read one after the other, only that of the first stays in the cache."""
LEAST_BYTES = 1 << 15
"""Below this, calls cost more than the cache saves."""
CACHE_BYTES = 1 << 21
"""What the blocks of all tensors may take together, if that leaves none too small."""
MOST_BYTES = 1 << 26
"""What they take at most, however many tensors there are."""


@dataclass(frozen=True)
class Metrics:
    """How far apart tensors are; over all pairs of them and all elements."""

    remaining_precision: int | None
    """Identical leading mantissa bits, 0 where sign or exponent differ: the minimum."""
    max_ulp: int | None
    """Steps from one number to the other in the order of all numbers: the maximum."""
    max_abs: float | None
    """Absolute difference, each rounded once to float64: the maximum."""
    deviating_fraction: float | None
    """Share of the elements whose bits are not the same in all tensors, 0..1."""
    not_finite: int = 0
    """Elements at which some pair has no finite distance, because of a NaN or an infinity."""


def equivalence_classes(digests: Iterable[Hashable]) -> list[list[int]]:
    """Return the positions of equal digests together, ordered by first appearance.

    >>> equivalence_classes(["b", "a", "b", "c"])
    [[0, 2], [1], [3]]
    """
    found: dict[Hashable, list[int]] = {}
    for place, digest in enumerate(digests):
        found.setdefault(digest, []).append(place)
    return list(found.values())


def measure(tensors: Sequence[TensorBlocks]) -> Metrics:
    """Return all metrics over all pairs of tensors, in one pass.

    One pass is enough. The length of a common prefix is an ultrametric, so the minimum over pairs
    is that of everyone against the first; and the two numbers of an element that are farthest
    apart are the highest and the lowest, by ULP as well as by value.
    """
    if not _comparable(tensors):
        return _incomparable(tensors)
    if len(tensors) == 1 or not element_count(tensors[0]):
        return identical_metrics(tensors[0].dtype)
    size = _block_size(tensors)
    distances = DistanceAccumulator.for_dtype(tensors[0].dtype, size)
    with np.errstate(invalid="ignore", over="ignore"):
        for start, stop in block_ranges(element_count(tensors[0]), size):
            distances.add([tensor.bits(start, stop) for tensor in tensors])
    return _metrics(distances, tensors[0])


def identical_metrics(dtype: str) -> Metrics:
    """Return the metrics of tensors that have the same bits, which no tensor is read for.

    >>> identical_metrics("bfloat16").remaining_precision
    7
    """
    float_format = FORMATS.get(dtype)
    return Metrics(None if float_format is None else float_format.mantissa_bits, 0, 0.0, 0.0)


def remaining_precision(tensors: Sequence[TensorBlocks]) -> int | None:
    """Return the identical leading mantissa bits alone, which is faster than `measure`."""
    float_format = FORMATS.get(tensors[0].dtype)
    if not _comparable(tensors) or float_format is None:
        return _incomparable(tensors).remaining_precision
    differing_bits = 0
    for start, stop in block_ranges(element_count(tensors[0]), large_block_size(tensors)):
        first = tensors[0].bits(start, stop)
        part = np.empty(stop - start, first.dtype)
        for tensor in tensors[1:]:
            np.bitwise_xor(first, tensor.bits(start, stop), out=part)
            differing_bits |= int(np.bitwise_or.reduce(part))
        if differing_bits > float_format.mantissa_mask:
            return 0
    return kept_mantissa_bits(float_format, differing_bits)


def kept_mantissa_bits(float_format: FloatFormat, differing_bits: int) -> int:
    """Count the mantissa bits above the highest one that ever differs."""
    return max(0, float_format.mantissa_bits - differing_bits.bit_length())


def _metrics(distances: DistanceAccumulator, first: TensorBlocks) -> Metrics:
    float_format = FORMATS.get(first.dtype)
    unbounded = distances.nan or distances.infinite or math.isinf(distances.max_abs)
    return Metrics(
        remaining_precision=None
        if float_format is None
        else kept_mantissa_bits(float_format, distances.differing_bits),
        max_ulp=None if distances.nan else distances.max_ulp,
        max_abs=None if unbounded else distances.max_abs,
        deviating_fraction=distances.deviating / element_count(first),
        not_finite=distances.nan + distances.infinite,
    )


def _comparable(tensors: Sequence[TensorBlocks]) -> bool:
    return len({(tensor.dtype, tuple(tensor.shape)) for tensor in tensors}) == 1


def _incomparable(tensors: Sequence[TensorBlocks]) -> Metrics:
    floats = all(tensor.dtype in FORMATS for tensor in tensors)
    return Metrics(0 if floats else None, None, None, None)


def _block_size(tensors: Sequence[TensorBlocks]) -> int:
    """Return the elements of a block: fewer for many tensors, as all of them share the cache."""
    share = CACHE_BYTES // (len(tensors) + 6)
    return _elements(tensors, min(max(share, LEAST_BYTES), BLOCK_BYTES))


def large_block_size(tensors: Sequence[TensorBlocks]) -> int:
    """Return the elements of a block where only the first tensor's stays in the cache."""
    return _elements(tensors, SPAN_BYTES)


def _elements(tensors: Sequence[TensorBlocks], size: int) -> int:
    width = unsigned_dtype(tensors[0].dtype).itemsize
    return max(1, min(min(size, MOST_BYTES // len(tensors)) // width, element_count(tensors[0])))


def block_ranges(count: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield where blocks begin and end."""
    for start in range(0, count, size):
        yield start, min(start + size, count)
