"""Adds to a comparison what is known of each pair of classes: measured only on demand."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import Any

from xbackend.comparison.comparison import Comparison, SampleComparison, TapComparison
from xbackend.comparison.findings import TensorPair
from xbackend.comparison.measurement import Measurer

Record = dict[str, Any]
FEW = 4
"""With more classes than these, each is held against the first only."""


def with_pairs(comparison: Comparison) -> Comparison:
    """Return a comparison with all metrics of every tensor that falls into several classes.

    All pairs of up to four classes are measured, of more each with the first.
    Raises StoreError for a damaged store.
    """
    measurer = Measurer.of(comparison.store, comparison.runs)
    found = tuple(
        pair for sample in comparison.samples for pair in class_pairs(sample, sample.taps, measurer)
    )
    return dataclasses.replace(comparison, pairs=found)


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
