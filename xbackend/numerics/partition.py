"""Classes and shared bits of tensors that have no digests, in one pass: a pure function.

Runs of a store have digests, and their classes come from these. What was only just computed has
none, and a digest costs many times what reading does.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from xbackend.numerics.blocks import Bits, TensorBlocks, element_count
from xbackend.numerics.floats import FORMATS
from xbackend.numerics.metrics import block_ranges, kept_mantissa_bits, large_block_size

MOST = (1 << 64) - 1


@dataclass(frozen=True)
class Partition:
    """Which tensors have the same bits, and what each shares with the first."""

    classes: tuple[tuple[int, ...], ...]
    """Positions of tensors with the same bits, ordered by first appearance."""
    shared_bits: tuple[int | None, ...]
    """For each tensor, the mantissa bits that it shares with the first; None for integers."""

    @property
    def remaining_precision(self) -> int | None:
        """What all share. Leading bits are an ultrametric, so it is the least of `shared_bits`."""
        known = [bits for bits in self.shared_bits if bits is not None]
        return min(known) if len(known) == len(self.shared_bits) else None


@dataclass
class DifferenceAccumulator:
    """What is known of a tensor, as far as it was read."""

    differing_bits: int = 0
    """Every bit that differed from the first tensor's at any element."""
    total: int = 0
    """The sum of its bits, as integers of 64 bits that run over."""


def partition(tensors: Sequence[TensorBlocks]) -> Partition:
    """Return classes and shared bits, reading each tensor once.

    Tensors with the same sum of bits are then held against each other bit by bit, so the classes
    are exact. Tensors of another dtype or shape than the first's share no bit.

    >>> from xbackend.numerics.blocks import blocks_of_tensor
    >>> from xbackend.worker.tensor import from_numpy
    >>> found = partition([blocks_of_tensor(from_numpy(np.float32([1, x]))) for x in (1, 1.5, 1)])
    >>> found.classes, found.shared_bits
    (((0, 2), (1,)), (23, 0, 23))
    """
    float_format = FORMATS.get(tensors[0].dtype)
    alike = [_kind(tensor) == _kind(tensors[0]) for tensor in tensors]
    found = _differences(tensors, alike)
    shared = (
        None
        if float_format is None or tensor.dtype not in FORMATS
        else kept_mantissa_bits(float_format, each.differing_bits) * same
        for tensor, each, same in zip(tensors, found, alike, strict=True)
    )
    keys = [
        (_kind(tensor), d.differing_bits, d.total) for tensor, d in zip(tensors, found, strict=True)
    ]
    return Partition(_classes(tensors, keys), tuple(shared))


def _kind(tensor: TensorBlocks) -> tuple[str, tuple[int, ...]]:
    return tensor.dtype, tuple(tensor.shape)


def _differences(
    tensors: Sequence[TensorBlocks], alike: Sequence[bool]
) -> list[DifferenceAccumulator]:
    found = [DifferenceAccumulator() for _ in tensors]
    pairs = [
        (tensor, each) for tensor, each, same in zip(tensors, found, alike, strict=True) if same
    ]
    for start, stop in block_ranges(element_count(tensors[0]), large_block_size(tensors)):
        first = tensors[0].bits(start, stop)
        part = np.empty(stop - start, first.dtype)
        for tensor, each in pairs:
            bits = tensor.bits(start, stop)
            each.total = (each.total + _sum(bits)) & MOST  # first, as one stream fills the cache
            np.bitwise_xor(first, bits, out=part)
            each.differing_bits |= int(np.bitwise_or.reduce(part))
    return found


def _sum(bits: Bits) -> int:
    whole = bits.nbytes % 8 == 0
    return int(np.add.reduce(bits.view(np.uint64) if whole else bits, dtype=np.uint64))


def _classes(
    tensors: Sequence[TensorBlocks], keys: Sequence[Hashable]
) -> tuple[tuple[int, ...], ...]:
    """Return the classes, from keys that equal tensors share and others hardly ever do."""
    found: dict[Hashable, list[list[int]]] = {}
    for place, key in enumerate(keys):
        candidates = found.setdefault(key, [])
        same = (each for each in candidates if _same_bits(tensors[each[0]], tensors[place]))
        mine = next(same, None)
        if mine is None:
            candidates.append([place])
        else:
            mine.append(place)
    return tuple(sorted(tuple(each) for candidates in found.values() for each in candidates))


def _same_bits(one: TensorBlocks, other: TensorBlocks) -> bool:
    if one is other:
        return True
    size = large_block_size([one, other])
    return all(
        np.array_equal(one.bits(start, stop), other.bits(start, stop))
        for start, stop in block_ranges(element_count(one), size)
    )
