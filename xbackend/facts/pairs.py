"""Adds to a comparison what is known of each pair of classes: measured only on demand."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from itertools import combinations
from math import prod
from typing import Any

from xbackend.comparison.comparison import Comparison, SampleComparison, TapComparison
from xbackend.comparison.findings import TensorPair
from xbackend.comparison.measurement import Measurer

Record = dict[str, Any]
FEW = 4
"""With more classes than these, each is held against the first only."""


def with_pairs(comparison: Comparison, most_elements: int | None = None) -> Comparison:
    """Return a comparison with all metrics of every tensor that falls into several classes.

    All pairs of up to four classes are measured, of more each with the first. Where that is more
    than `most_elements` to read, outputs and layers that bear classes come first, then the layers
    of the first samples, in graph order. Raises StoreError for a damaged store.
    """
    measurer = Measurer.of(comparison.store, comparison.runs)
    chosen = None if most_elements is None else _affordable(comparison, most_elements)
    found = tuple(
        pair
        for at, sample in enumerate(comparison.samples)
        for taps in [
            [
                tap
                for place, tap in enumerate(sample.taps)
                if chosen is None or (at, place) in chosen
            ]
        ]
        for pair in class_pairs(sample, taps, measurer)
    )
    return dataclasses.replace(comparison, pairs=found)


def _affordable(comparison: Comparison, most_elements: int) -> set[tuple[int, int]]:
    """Return the tensors, by sample and place, whose pairs do not have too many elements."""
    tensors = [
        (not (tap.is_output or tap.origin.born), at, place, _cost(tap))
        for at, sample in enumerate(comparison.samples)
        for place, tap in enumerate(sample.taps)
        if tap.eqc_count > 1
    ]
    chosen, spent = set(), 0
    for _, at, place, cost in sorted(tensors):
        if spent + cost <= most_elements:
            spent += cost
            chosen.add((at, place))
    return chosen


def _cost(tap: TapComparison) -> int:
    """Return the elements of all pairs of classes that are measured."""
    count = tap.eqc_count
    return prod(tap.shape) * (count * (count - 1) // 2 if count <= FEW else count - 1)


def class_pairs(
    sample: SampleComparison, taps: Iterable[TapComparison], measurer: Measurer
) -> Iterator[TensorPair]:
    """Yield the pairs of classes of those tensors of a sample that fall into several."""
    for tap, rows in class_tensors(sample, [tap for tap in taps if tap.eqc_count > 1]):
        several = range(len(rows))
        chosen = combinations(several, 2) if len(rows) <= FEW else ((0, n) for n in several[1:])
        for one, other in chosen:
            metrics = measurer.measure_pair(rows[one], rows[other])
            yield TensorPair(
                sample.cohort.key,
                sample.input,
                tap.tap,
                (one + 1, other + 1),
                (tap.eqcs[one][0], tap.eqcs[other][0]),
                metrics,
            )


def class_tensors(
    sample: SampleComparison, taps: Iterable[TapComparison]
) -> Iterator[tuple[TapComparison, list[Record]]]:
    """Yield tensors of a sample with how the first run of each class recorded them."""
    results: dict[str, Record] = {
        run.id: next((row for row in run.results if str(row["input"]) == sample.input), {})
        for run in sample.cohort.runs
    }
    for tap in taps:
        yield tap, [_row(results[ids[0]], tap) for ids in tap.eqcs]


def _row(result: Record, tap: TapComparison) -> Record:
    """Return a tensor as it is recorded: an output's is that of the untapped inference."""
    rows = [*result["outputs"], *result["taps"]]
    found: Record = next(row for row in rows if row["name"] == tap.tap)
    return found
