"""What a whole comparison came to: how many runs stopped, how many could be compared at all."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import chain
from typing import Any

from xbackend.comparison.compare import compare_runs
from xbackend.comparison.comparison import Comparison, SampleComparison
from xbackend.store.records import Run
from xbackend.store.store import Store

Record = Mapping[str, Any]


class Outcome(Enum):
    """What is known of some runs."""

    NO_RUN = "no run gave an output"
    ONE_RUN = "one run alone"
    NOTHING_SHARED = "no two runs computed the same output of the same sample"
    SAME_BITS = "the same bits"
    DIFFERENT_BITS = "other bits"


COMPARED = frozenset({Outcome.SAME_BITS, Outcome.DIFFERENT_BITS})
"""Outcomes of runs that were held against each other."""


def outcome_of(runs: int, samples: Sequence[SampleComparison], classes: int) -> Outcome:
    """Return what the runs of a cohort came to, from how many gave outputs and their classes."""
    if runs < 2:
        return Outcome.ONE_RUN if runs else Outcome.NO_RUN
    if not compared_runs(samples):
        return Outcome.NOTHING_SHARED
    return Outcome.SAME_BITS if classes == 1 else Outcome.DIFFERENT_BITS


def compared_runs(samples: Sequence[SampleComparison]) -> tuple[str, ...]:
    """Return the ids of the runs that have an output of a sample which another one has, too."""
    tensors = (list(chain(*output.eqcs)) for sample in samples for output in sample.outputs)
    return tuple(dict.fromkeys(name for names in tensors if len(names) > 1 for name in names))


@dataclass(frozen=True)
class RunCounts:
    """How many runs ended in which way."""

    ok: int
    failed: int
    skipped: int
    compared: int
    """Of those that are ok: how many could be held against another one."""

    @property
    def total(self) -> int:
        """All of them."""
        return self.ok + self.failed + self.skipped


def count_runs(comparison: Comparison) -> RunCounts:
    """Count the runs of a comparison."""
    status = [str(run.row["status"]) for run in comparison.runs]
    ok = sum(run.ok for run in comparison.runs)
    failed = status.count("failed")
    compared = {name for samples in comparison.sections.values() for name in compared_runs(samples)}
    return RunCounts(ok, failed, len(status) - ok - failed, len(compared))


def compare_outputs(store: Store, runs: Iterable[Run]) -> Comparison:
    """Compare runs by their outputs alone, so that no layer is read however many were recorded.

    Raises StoreError for a damaged output.
    """
    bare = [
        dataclasses.replace(run, results=[{**each, "taps": []} for each in run.results])
        for run in runs
    ]
    return compare_runs(store, bare)
