"""More numbers on two tensors, in one pass over blocks: means, norms, quantiles, worst elements.

Elements where NaN or infinity stands on a side are counted and left out of sums; those with the
same bits on both sides are no distance apart. A quantile is the smallest distance in ULP that so
many of the elements do not exceed: exact up to 4095, and above that rounded up by less than 1 in
2000. Memory is that of a block and of a histogram of 0.9 MB, however large the tensors are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from xbackend.numerics.block_metrics import order_places
from xbackend.numerics.blocks import Bits, TensorBlocks, element_count, view_as_numbers
from xbackend.numerics.deviation_map import DeviationCounts, DeviationMap
from xbackend.numerics.floats import FORMATS

Array = np.ndarray[Any, Any]

BLOCK = 1 << 15
"""Elements that are looked at in one go."""
QUANTILES = (0.5, 0.9, 0.99, 1.0)
EXACT = 12
"""Distances of so many bits have a bucket each; longer ones share it by their leading bits."""
HALF = 1 << (EXACT - 1)
BUCKETS = (1 << EXACT) + (64 - EXACT) * HALF
WORST = 3
"""How many elements are told, by each measure."""


@dataclass(frozen=True)
class WorstElement:
    """An element that is far from its twin."""

    index: tuple[int, ...]
    values: tuple[float | None, float | None]
    """On both sides; None for NaN and infinity, which JSON cannot write."""
    text: tuple[str, str]
    """The same as text: `nan`, `inf`, and all digits that tell a number from others."""
    ulp: int | None
    """None where a NaN stands against a number."""
    abs: float | None


@dataclass(frozen=True)
class PairMetrics:
    """How far a second tensor is from a first; None for what is not finite or has no meaning."""

    elements: int
    deviating: int
    """Elements whose bits are not the same."""
    not_finite: int
    """Elements left out of all sums, as NaN or infinity stands on a side."""
    mean_error: float | None
    """Of second less first."""
    mean_abs: float | None
    rms_error: float | None
    relative: float | None
    """Norm of the difference over that of the first."""
    cosine: float | None
    """Of the angle between both as vectors."""
    snr_db: float | None
    """20 log10 of the first's norm over the difference's; None where they do not differ."""
    ulp_quantiles: Mapping[str, int | None]
    """By share, such as `0.99`; None where that many elements have no distance."""
    ulp_histogram: Mapping[str, int]
    """How many elements are 0, 1, 2 to 3, 4 to 7 … ULP apart, by the least: `0`, `1`, `2`, `4`."""
    worst_abs: tuple[WorstElement, ...]
    """The elements that are farthest apart absolutely, those without a finite distance first."""
    worst_ulp: tuple[WorstElement, ...]
    """The same by ULP."""
    places: DeviationMap | None = None
    """Where elements deviate; None of a tensor without any."""

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


def measure_pair(first: TensorBlocks, second: TensorBlocks) -> PairMetrics | None:
    """Return what is known of a pair; None where dtypes or shapes differ."""
    if (first.dtype, tuple(first.shape)) != (second.dtype, tuple(second.shape)):
        return None
    sums = PairSums(first.dtype, tuple(first.shape))
    count = element_count(first)
    with np.errstate(all="ignore"):
        for start in range(0, count, BLOCK):
            stop = min(start + BLOCK, count)
            sums.add(first.bits(start, stop).copy(), second.bits(start, stop), start)
    return sums.metrics()


@dataclass
class _Candidate:
    place: int
    bits: tuple[Bits, Bits]
    ulp: float
    """Infinite where there is no distance."""
    gap: float


@dataclass
class PairSums:
    """What was seen so far, block after block."""

    dtype: str
    shape: tuple[int, ...]
    elements: int = 0
    deviating: int = 0
    not_finite: int = 0
    no_distance: int = 0
    """Elements without a distance in ULP: NaN against a number."""
    finite: int = 0
    error: float = 0.0
    absolute: float = 0.0
    squares: float = 0.0
    first: float = 0.0
    second: float = 0.0
    product: float = 0.0
    buckets: Array = field(default_factory=lambda: np.zeros(BUCKETS, np.int64))
    largest: int = 0
    by_gap: list[_Candidate] = field(default_factory=list)
    by_ulp: list[_Candidate] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begin with no place at which anything deviates."""
        self.places = DeviationCounts(self.shape)

    def add(self, one: Bits, other: Bits, start: int) -> None:
        """Take in the same span of both tensors."""
        left, right = (_wide(self.dtype, bits) for bits in (one, other))
        same = one == other
        finite = np.isfinite(left) & np.isfinite(right)
        self.elements += one.size
        self.deviating += int(np.count_nonzero(~same))
        self.places.add(~same, start)
        self.not_finite += int(np.count_nonzero(~finite))
        self._add_sums(left[finite], right[finite])
        ulp = ulp_distances(self.dtype, one, other)
        nan = np.isnan(left) != np.isnan(right)
        ulp[np.isnan(left) & np.isnan(right)] = 0
        self.no_distance += int(np.count_nonzero(nan))
        self._count(ulp[~nan])
        gap = np.where(same | (np.isnan(left) & np.isnan(right)), 0.0, np.abs(right - left))
        gap[np.isnan(gap)] = np.inf
        steps = np.where(nan, np.inf, ulp.astype(np.float64))
        self.by_gap = _worst(self.by_gap, gap, (gap, steps), (one, other), start, "gap")
        self.by_ulp = _worst(self.by_ulp, steps, (gap, steps), (one, other), start, "ulp")

    def _add_sums(self, left: Array, right: Array) -> None:
        difference = right - left
        self.finite += left.size
        self.error += float(difference.sum())
        self.absolute += float(np.abs(difference).sum())
        self.squares += float(np.dot(difference, difference))
        self.first += float(np.dot(left, left))
        self.second += float(np.dot(right, right))
        self.product += float(np.dot(left, right))

    def _count(self, ulp: Array) -> None:
        if not ulp.size:
            return
        self.largest = max(self.largest, int(ulp.max()))
        found, counts = np.unique(bucket_of(ulp), return_counts=True)
        self.buckets[found] += counts

    def metrics(self) -> PairMetrics:
        """Return what the sums come to."""
        count, worst = self.finite, (self.by_gap, self.by_ulp)
        known = bool(count)
        norms = math.sqrt(self.first) * math.sqrt(self.second)
        by_abs, by_ulp = (
            tuple(_element(self.dtype, each, self.shape) for each in of) for of in worst
        )
        return PairMetrics(
            elements=self.elements,
            deviating=self.deviating,
            not_finite=self.not_finite,
            mean_error=_finite(self.error / count) if known else None,
            mean_abs=_finite(self.absolute / count) if known else None,
            rms_error=_finite(math.sqrt(self.squares / count)) if known else None,
            relative=_relative(self.squares, self.first),
            cosine=_finite(self.product / norms) if norms else None,
            snr_db=_decibel(self.squares, self.first),
            ulp_quantiles={f"{share:g}": self._quantile(share) for share in QUANTILES},
            ulp_histogram=self._histogram(),
            worst_abs=by_abs,
            worst_ulp=by_ulp,
            places=self.places.map(),
        )

    def _quantile(self, share: float) -> int | None:
        """Return the distance that a share of the elements does not exceed."""
        rank = max(1, math.ceil(share * self.elements))
        total = np.cumsum(self.buckets)
        if not self.elements or rank > int(total[-1]):
            return None
        return min(self.largest, upper_edge(int(np.searchsorted(total, rank))))

    def _histogram(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for bucket in np.flatnonzero(self.buckets).tolist():
            edge = upper_edge(bucket)
            least = str(1 << (edge.bit_length() - 1) if edge else 0)
            found[least] = found.get(least, 0) + int(self.buckets[bucket])
        return found


def ulp_distances(dtype: str, one: Bits, other: Bits) -> Array:
    """Return how many steps apart the elements are, unsigned: in the order of all numbers.

    >>> ulp_distances("float32", np.uint32([0x3F800000]), np.uint32([0x3F800003])).tolist()
    [3]
    """
    if dtype == "bool" or dtype.startswith("uint"):
        steps: Array = (np.maximum(one, other) - np.minimum(one, other)).astype(np.uint64)
        return steps
    signed = f"i{one.itemsize}"
    places = []
    for bits in (one, other):
        place = np.array(bits.view(signed))
        if dtype in FORMATS:
            order_places(bits.view(signed), place)
        places.append(place)
    unsigned = f"u{one.itemsize}"
    high, low = np.maximum(*places).view(unsigned), np.minimum(*places).view(unsigned)
    distances: Array = (high - low).astype(np.uint64)
    return distances


def bucket_of(distances: Array) -> Array:
    """Return the bucket of each distance.

    >>> bucket_of(np.uint64([0, 4095, 4096, 4097, 4098])).tolist()
    [0, 4095, 4096, 4096, 4097]
    """
    length = np.zeros(distances.shape, np.int64)
    rest = distances.copy()
    for width in (32, 16, 8, 4, 2, 1):
        large = rest >= np.uint64(1 << width)
        length[large] += width
        rest[large] >>= np.uint64(width)
    shift = np.maximum(length + 1 - EXACT, 0)
    lead = (distances >> shift.astype(np.uint64)).astype(np.int64)
    found: Array = lead + shift * HALF
    return found


def upper_edge(bucket: int) -> int:
    """Return the largest distance that falls into a bucket.

    >>> upper_edge(4095), upper_edge(4096)
    (4095, 4097)
    """
    if bucket < 1 << EXACT:
        return bucket
    shift = (bucket - HALF) // HALF
    lead = bucket - shift * HALF
    return ((lead + 1) << shift) - 1


def _wide(dtype: str, bits: Bits) -> Array:
    values: Array = view_as_numbers(dtype, bits).astype(np.float64)
    return values


def _worst(
    held: list[_Candidate],
    measure: Array,
    both: tuple[Array, Array],
    bits: tuple[Bits, Bits],
    start: int,
    key: str,
) -> list[_Candidate]:
    """Return the worst of those so far and of a block; of equals the first, none that is equal."""
    least = getattr(held[-1], key) if len(held) == WORST else 0.0
    places = np.flatnonzero(measure > least)
    if places.size > WORST:
        places = places[np.argsort(-measure[places], kind="stable")[:WORST]]
    new = [
        _Candidate(
            start + at,
            (bits[0][at : at + 1].copy(), bits[1][at : at + 1].copy()),
            ulp=float(both[1][at]),
            gap=float(both[0][at]),
        )
        for at in places.tolist()
    ]
    return sorted([*held, *new], key=lambda each: -getattr(each, key))[:WORST]


def _element(dtype: str, found: _Candidate, shape: Sequence[int]) -> WorstElement:
    numbers = [view_as_numbers(dtype, bits)[0] for bits in found.bits]
    wide = [float(number) for number in numbers]
    ulp = None
    if math.isfinite(found.ulp):
        ulp = int(ulp_distances(dtype, *found.bits)[0])
    return WorstElement(
        index=tuple(int(each) for each in np.unravel_index(found.place, tuple(shape))),
        values=(_finite(wide[0]), _finite(wide[1])),
        text=(str(numbers[0]), str(numbers[1])),
        ulp=ulp,
        abs=_finite(found.gap),
    )


def _relative(squares: float, first: float) -> float | None:
    if squares == 0:
        return 0.0
    return _finite(math.sqrt(squares / first)) if first else None


def _decibel(squares: float, first: float) -> float | None:
    if not (squares and first and math.isfinite(squares) and math.isfinite(first)):
        return None
    return 10.0 * math.log10(first / squares)


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
