"""Computes a comparison: the tensors of each section, sample by sample, from runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from xbackend.comparison.class_changes import ClassChanges
from xbackend.comparison.comparison import Comparison, SampleComparison, TapComparison
from xbackend.comparison.equivalence import (
    Array,
    Digests,
    RunIdClasses,
    SampleDigests,
    combine_known_labels,
    members,
)
from xbackend.comparison.measurement import Measurer
from xbackend.errors import StoreError
from xbackend.platforms.emulation_doubt import assess_emulation
from xbackend.store.cohort import Cohort, cohorts, sample_names
from xbackend.store.query import Query, select
from xbackend.store.records import Run
from xbackend.store.store import Store

Record = dict[str, Any]


def compare(
    store: Store,
    model: str | None = None,
    where: Sequence[str] = (),
    group_by: Sequence[str] = (),
) -> Comparison:
    """Compare the runs of a store; for the arguments see `xbackend.store.query.Query`.

    Raises UsageError for an empty store or an unknown key, StoreError for one of which no record
    is sound; single records that are not are told in `left_out`.
    """
    damaged: list[StoreError] = []
    runs = select(store, Query(model, tuple(where), tuple(group_by)), damaged)
    found = compare_runs(store, runs, group_by)
    return replace(found, left_out=tuple(damaged), filters=tuple(where))


def compare_runs(store: Store, runs: Sequence[Run], group_by: Sequence[str] = ()) -> Comparison:
    """Compare some runs of a store. Raises StoreError for a damaged tensor."""
    return compare_cohorts(store, runs, cohorts(runs, group_by))


def compare_cohorts(store: Store, runs: Sequence[Run], sections: Sequence[Cohort]) -> Comparison:
    """Compare the runs of each section. Raises StoreError for a damaged tensor."""
    measurer = Measurer.of(store, runs)
    found = [_SectionComparer(cohort, measurer) for cohort in sections]
    samples = (each.sample(name) for each in found for name in sample_names(each.cohort.runs))
    return Comparison(tuple(runs), tuple(samples), store)


class _SectionComparer:
    """Compares the samples of a cohort."""

    def __init__(self, cohort: Cohort, measurer: Measurer) -> None:
        self.cohort = cohort
        self.measurer = measurer
        self.digests = Digests(cohort.runs)
        self.ids = RunIdClasses(cohort.runs)
        self.unsafe = {
            place: run.emulation_unsafe
            for place, run in enumerate(cohort.runs)
            if run.emulation_unsafe
        }

    def sample(self, name: str) -> SampleComparison:
        """Compare one sample over the runs that computed it."""
        sample = self.digests.sample(name)
        runs = [self.cohort.runs[place] for place in np.flatnonzero(sample.computed).tolist()]
        origins = ClassChanges(sample, self.cohort.runs, sample.not_neutral, self.ids)
        taps = tuple(
            self._tap(sample, tap, layer, origins)
            for tap, layer in _in_graph_order(sample, self.cohort.runs)
        )
        eqcs = self.ids.classes(_output_labels(sample))
        return SampleComparison(
            cohort=self.cohort,
            input=name,
            taps=taps,
            eqcs=eqcs,
            label_flips=_count_flips(taps),
            taps_not_neutral=self.ids.at(np.flatnonzero(sample.not_neutral)),
            emulation_doubt=assess_emulation(eqcs, runs, [name]),
        )

    def _tap(
        self, sample: SampleDigests, tap: str, layer: Record, origins: ClassChanges
    ) -> TapComparison:
        labels, is_output = sample.labels(tap), tap in sample.outputs
        heads = [places[0] for places in members(labels)]
        rows = [sample.record(tap, place) for place in heads]
        measured = (
            self.measurer.measure_outputs(rows) if is_output else self.measurer.measure_tap(rows)
        )
        having = labels >= 0
        unsafe = [place for place, names in self.unsafe.items() if having[place] and tap in names]
        not_neutral = having & sample.not_neutral & (not is_output)
        reads = layer.get("inputs")
        return TapComparison(
            cohort=self.cohort,
            input=sample.name,
            tap=tap,
            layer=layer.get("layer"),
            operator=layer.get("operator"),
            dtype=rows[0]["dtype"],
            shape=tuple(rows[0]["shape"]),
            eqcs=self.ids.classes(labels),
            metrics=measured.metrics,
            is_measured=measured.is_measured,
            remaining_to_first=measured.remaining_to_first,
            flips=measured.flips,
            is_output=is_output,
            missing=self.ids.at(np.flatnonzero(sample.computed & ~having)),
            taps_not_neutral=self.ids.at(np.flatnonzero(not_neutral)),
            emulation_unsafe=self.ids.at(np.array(unsafe, int)),
            reads=None if reads is None else tuple(reads),
            origin=origins.of(tap),
        )


def _in_graph_order(sample: SampleDigests, runs: Sequence[Run]) -> list[tuple[str, Record]]:
    """Return every tensor that was recorded, with its layer: by layer, then as runs list them.

    Tensors that no graph knows stand after all others, outputs last.
    """
    places = (place for stack in sample.stacks for place in stack.places.tolist())
    graphs = {id(runs[place].layers): runs[place].layers for place in sorted(places)}
    layers: dict[str, Record] = {}
    for graph in graphs.values():
        for row in graph:
            layers.setdefault(row["tap"], row)
    beyond = 1 + max((row["layer"] for row in layers.values()), default=-1)
    order = dict.fromkeys([*layers, *sample.taps, *sample.outputs])
    recorded = {*sample.taps, *sample.outputs}
    names = [name for name in order if name in recorded]
    names.sort(key=lambda name: layers[name]["layer"] if name in layers else beyond)
    return [(name, layers.get(name, {})) for name in names]


def _output_labels(sample: SampleDigests) -> Array:
    """Return the classes of all outputs together; -1 for runs that did not compute the sample."""
    computed = sample.computed
    labels = np.full(len(computed), -1)
    labels[computed] = combine_known_labels(
        [
            np.zeros(int(computed.sum()), int),
            *(sample.labels(n)[computed] for n in sample.outputs),
        ]
    )
    return labels


def _count_flips(rows: Iterable[TapComparison]) -> int:
    """Count the runs of which any output's label is not the first run's."""
    flipped = {
        run
        for row in rows
        for ids, flips in zip(row.eqcs, row.flips)  # noqa: B905 (flips is empty but for outputs)
        if flips
        for run in ids
    }
    return len(flipped)
