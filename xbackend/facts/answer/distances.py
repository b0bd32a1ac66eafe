"""How far each class of outputs is from the first: absolutely, by norm, and by its labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from xbackend.comparison.comparison import SampleComparison
from xbackend.comparison.measurement import Measurer
from xbackend.comparison.summary import Summary
from xbackend.numerics.floats import FORMATS
from xbackend.numerics.label_flips import argmax_label, has_label
from xbackend.store.records import Run
from xbackend.store.store import Store

Record = dict[str, Any]
MOST_LABELS = 8
"""With more samples than these the labels of the first class are not read."""


@dataclass(frozen=True)
class ClassDistance:
    """How far the outputs of a class are from those of class 1, at their worst."""

    number: int
    """The class, from 1."""
    max_abs: float | None
    """Of an element; None where that is not finite, or dtypes or shapes differ."""
    relative: float | None
    """Norm of the difference over that of class 1's output; None likewise."""
    flips: int
    """Samples of which a label is not that of class 1."""
    shared: bool
    """Whether both have an output of a sample at all."""


def class_distances(summary: Summary, store: Store) -> tuple[ClassDistance, ...]:
    """Return how far each class is from class 1, itself among them.

    Reads outputs. Raises StoreError for a damaged one.
    """
    runs = {run.id: run for run in summary.cohort.runs}
    measurer = Measurer(store)
    first = runs[summary.eqcs[0][0]]
    return tuple(
        _distance(summary, number, first, runs[ids[0]], measurer)
        for number, ids in enumerate(summary.eqcs, 1)
    )


def _distance(
    summary: Summary, number: int, first: Run, other: Run, measurer: Measurer
) -> ClassDistance:
    pairs = list(_shared_outputs(first, other))
    found = [_measure(one, two, measurer) for one, two in pairs]
    return ClassDistance(
        number=number,
        max_abs=_largest([each[0] for each in found]),
        relative=_largest([each[1] for each in found]),
        flips=sum(_flips(sample, first.id, other.id) for sample in summary.samples),
        shared=bool(pairs),
    )


def _shared_outputs(first: Run, other: Run) -> Iterator[tuple[Record, Record]]:
    theirs = {
        (str(result["input"]), str(row["name"])): row
        for result in other.results
        for row in result["outputs"]
    }
    for result in first.results:
        for row in result["outputs"]:
            key = (str(result["input"]), str(row["name"]))
            if key in theirs:
                yield row, theirs[key]


def _measure(one: Record, two: Record, measurer: Measurer) -> tuple[float | None, float | None]:
    """Return the largest distance and the relative one; both 0 for the same bits."""
    if all(one[key] == two[key] for key in ("dtype", "shape", "digest")):
        return 0.0, 0.0
    found = measurer.measure_pair(one, two)
    if found is None or found.not_finite:
        return None, None
    worst = found.worst_abs[0].abs if found.worst_abs else 0.0
    return worst, found.relative if one["dtype"] in FORMATS else None


def _largest(values: list[float | None]) -> float | None:
    known = [each for each in values if each is not None]
    return max(known, default=None) if len(known) == len(values) else None


def _flips(sample: SampleComparison, first: str, other: str) -> bool:
    """Tell whether a label of a run's outputs on a sample is not that of another run."""
    for output in sample.outputs:
        if first in output.eqcs[0]:
            pairs = zip(output.eqcs, output.flips, strict=True)
            if any(flips and other in ids for ids, flips in pairs):
                return True
    return False


def first_labels(summary: Summary, store: Store) -> tuple[int, ...]:
    """Return the labels of class 1 for each sample, none where outputs have none or are many."""
    first = next(run for run in summary.cohort.runs if run.id == summary.eqcs[0][0])
    found: list[int] = []
    for result in first.results:
        rows = [row for row in result["outputs"] if has_label(row["dtype"], row["shape"])]
        if len(rows) != 1 or _rows(rows[0]) != 1 or len(first.results) > MOST_LABELS:
            return ()
        found.append(argmax_label(store.read_tensor(rows[0])))
    return tuple(found)


def _rows(row: Mapping[str, Any]) -> int:
    shape = [extent for extent in row["shape"] if extent != 1]
    return 1 if len(shape) <= 1 else int(shape[0])
