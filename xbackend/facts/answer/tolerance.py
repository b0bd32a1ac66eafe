"""The relative and absolute tolerance with which a test of the outputs passes for all runs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from xbackend.comparison.comparison import SampleComparison, TapComparison
from xbackend.comparison.summary import Summary
from xbackend.facts.pairs import class_tensors
from xbackend.numerics.blocks import TensorBlocks, blocks_of_file, element_count, view_as_numbers
from xbackend.numerics.floats import FORMATS
from xbackend.store.store import Store

Array = np.ndarray[Any, Any]
BLOCK = 1 << 16
STEPS = (1, 2, 5, 10)
LARGEST_RELATIVE = 1e-3
"""A test with a larger relative tolerance alone would not notice much."""
LARGEST_USEFUL = 0.02
"""With a larger one a test would pass for other functions, too."""
MARGIN = 1.05
"""What a tolerance is larger by than what is needed, as tests compute in the outputs' format."""
ABOVE_TYPICAL = 8.0
"""How many times the root mean square of relative errors the relative tolerance is, where an
absolute one beside it is for the elements near zero."""
LEAST = {"float16": 1e-6, "bfloat16": 1e-36, "float32": 1e-36, "float64": 1e-300}
"""Distances below which a format has no digits left for what a test computes."""
LARGEST = {"float16": 65504.0, "bfloat16": 1e38, "float32": 1e38, "float64": 1e307}
"""Distances above which what a test computes may overflow."""


@dataclass(frozen=True)
class Tolerance:
    """What `numpy.testing.assert_allclose` passes with, whichever run is taken as the right one."""

    rtol: float
    atol: float

    def to_dict(self) -> Mapping[str, Any]:
        """Return the entry `tolerance` of a section in the JSON report."""
        return asdict(self)


@dataclass(frozen=True)
class _Spread:
    """How far the classes are apart in a block of a tensor, element by element."""

    dtype: str
    apart: Array
    least: Array
    """The smallest magnitude in any class."""


def tolerance(summary: Summary, store: Store) -> Tolerance | None:
    """Return a tolerance that holds for each pair of runs; None where there is none.

    There is none where no outputs differ, where these are no floats of one format and shape, where
    NaN or infinity stands against another number, where a label flips, and where a test that passed
    would notice nothing. Raises StoreError for a damaged output.
    """
    outputs = [output for sample in summary.samples for output in sample.outputs]
    differing = [each for each in outputs if each.eqc_count > 1]
    if not differing or summary.flipped or not all(map(_is_measurable, differing)):
        return None

    def spreads() -> Iterator[_Spread]:
        return (each for sample in summary.samples for each in _spreads(sample, store))

    if any(each.apart.max(initial=0.0) > LARGEST[each.dtype] for each in spreads()):
        return None
    needed = max(_largest_relative(each) for each in spreads()) * MARGIN
    relative = round_up(ABOVE_TYPICAL * _typical(spreads()))
    enough = needed <= max(LARGEST_RELATIVE, relative)
    if min(needed, relative) > LARGEST_USEFUL:
        return None
    if enough and not any(_has_small(each, needed) for each in spreads()):
        return Tolerance(round_up(needed), 0.0)
    absolute = max(_largest_rest(each, relative) for each in spreads())
    if absolute or any(_has_small(each, relative) for each in spreads()):
        absolute = max(absolute, *(LEAST[each.dtype] for each in differing))
    return Tolerance(relative, round_up(absolute))


def _is_measurable(tap: TapComparison) -> bool:
    found = tap.metrics
    return tap.dtype in FORMATS and found.deviating_fraction is not None and not found.not_finite


def _spreads(sample: SampleComparison, store: Store) -> Iterator[_Spread]:
    """Yield the blocks of a sample's outputs that differ."""
    differing = [output for output in sample.outputs if output.eqc_count > 1]
    for tap, rows in class_tensors(sample, differing):
        tensors = [_open(row, store) for row in rows]
        for start in range(0, element_count(tensors[0]), BLOCK):
            yield _spread(tap.dtype, tensors, start)


def _open(row: Mapping[str, Any], store: Store) -> TensorBlocks:
    store.verify_object(row["digest"])
    path = store.object_path(row["digest"])
    return blocks_of_file(path, row["dtype"], tuple(row["shape"]))


def _spread(dtype: str, tensors: Sequence[TensorBlocks], start: int) -> _Spread:
    """Hold a block of all classes together. NaN and infinity, the same in all, are no distance."""
    stop = min(start + BLOCK, element_count(tensors[0]))
    blocks = [view_as_numbers(each.dtype, each.bits(start, stop)) for each in tensors]
    values = np.stack([block.astype(np.float64) for block in blocks])
    values = np.where(np.isfinite(values), values, 0.0)
    with np.errstate(over="ignore"):
        apart = values.max(axis=0) - values.min(axis=0)
    return _Spread(dtype, apart, np.abs(values).min(axis=0))


def _largest_relative(found: _Spread) -> float:
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        shares = np.where(found.apart > 0, found.apart / found.least, 0.0)
    return float(shares.max(initial=0.0))


def _has_small(found: _Spread, relative: float) -> bool:
    """Tell whether a difference is so small that its format has no digits for the tolerance."""
    return bool(((found.apart > 0) & (relative * found.least < LEAST[found.dtype])).any())


def _largest_rest(found: _Spread, relative: float) -> float:
    """Return the absolute tolerance that is needed beside a relative one."""
    rest = found.apart * MARGIN - relative * found.least / MARGIN
    return float(rest.max(initial=0.0))


def _typical(found: Iterator[_Spread]) -> float:
    """Return the norm of the distances over that of the smallest magnitudes; 1 without any."""
    apart, least = 0.0, 0.0
    for each in found:
        apart = math.hypot(apart, float(np.linalg.norm(each.apart)))
        least = math.hypot(least, float(np.linalg.norm(each.least)))
    return min(1.0, apart / least) if least else 1.0


def round_up(value: float) -> float:
    """Return the next of 1, 2 or 5 times a power of ten.

    >>> round_up(3.4e-07), round_up(5e-6), round_up(0.0)
    (5e-07, 5e-06, 0.0)
    """
    if not value:
        return 0.0
    power = math.floor(math.log10(value)) - 1
    steps = (float(f"{step}e{power + more}") for more in (0, 1, 2) for step in STEPS)
    return next(step for step in steps if step >= value)
