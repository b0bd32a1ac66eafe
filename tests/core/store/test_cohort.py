"""Cohorts: runs that can be compared at all."""

from __future__ import annotations

from xbackend.testing.store_builder import StoreBuilder


def test_a_row_is_shown_in_a_few_lines_however_many_runs_it_is_of(bench: StoreBuilder) -> None:
    for value in range(50):
        bench.run({"y": [float(value)]})
    ((tap,),) = [sample.taps for sample in bench.compare().samples]
    assert len(repr(tap.cohort)) < 300
