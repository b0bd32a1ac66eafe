"""How runs stand to one another, on runs that are written by hand."""

from __future__ import annotations

from typing import Any

import pytest

from xbackend.comparison.measurement import Measurer
from xbackend.mitigation.consistency import Consistency, measure_consistency
from xbackend.store.query import Query, select
from xbackend.testing.store_builder import StoreBuilder

CHAIN = [
    {"tap": "gemm", "layer": 0, "operator": "Gemm", "inputs": ["x"]},
    {"tap": "y", "layer": 1, "operator": "Softmax", "inputs": ["gemm"]},
]
EMULATED = {"emulation_unsafe": ["y"], "emulation_reasons": {"Softmax": "Why."}}


@pytest.fixture
def add(bench: StoreBuilder) -> Any:
    """Write a run of the chain."""

    def run(gemm: float, y: float, other: float = 0.0, **keys: Any) -> None:
        bench.run({"y": [y, other]}, {"gemm": [gemm]}, layers=CHAIN, **keys)

    return run


def standing(bench: StoreBuilder) -> Consistency:
    return measure_consistency(select(bench.store, Query()), Measurer(bench.store))


def test_outputs_decide_where_nothing_is_emulated(bench: StoreBuilder, add: Any) -> None:
    for y in (1.0, 1.5, 1.0):
        add(7.0, y)
    assert standing(bench) == Consistency(runs=3, classes=2, bits=0, flips=0)


def test_bits_are_those_that_all_classes_share(bench: StoreBuilder, add: Any) -> None:
    for y in (1.0, 1.0 + 2.0**-10, 1.0 + 2.0**-4):
        add(7.0, y)
    found = standing(bench)
    assert (found.classes, found.bits) == (3, 3)


def test_a_label_that_differs_from_the_first_runs_is_a_flip(bench: StoreBuilder, add: Any) -> None:
    add(7.0, 0.5, 0.25)
    add(7.0, 0.5, 0.75)
    add(7.0, 0.5, 0.75)
    assert standing(bench).flips == 2


def test_an_emulated_softmax_makes_no_class(bench: StoreBuilder, add: Any) -> None:
    add(7.0, 1.0)
    add(7.0, 1.5, **EMULATED)
    found = standing(bench)
    assert (found.classes, found.without) == (1, ("Softmax",))


def test_the_last_safe_tensor_makes_one(bench: StoreBuilder, add: Any) -> None:
    add(7.0, 1.0)
    add(7.0 + 2.0**-19, 1.5, **EMULATED)
    found = standing(bench)
    assert (found.classes, found.bits) == (2, 20)


def test_taps_that_changed_the_bits_prove_nothing(bench: StoreBuilder, add: Any) -> None:
    add(7.0, 1.0, neutral=False)
    add(9.0, 1.5, **EMULATED)
    assert standing(bench).classes == 1


def test_samples_that_only_some_runs_have_do_not_count(bench: StoreBuilder) -> None:
    for values in ([1.0, 2.0], [1.0]):
        results = [bench.result(str(at), {"y": [y]}, {}) for at, y in enumerate(values)]
        bench.write(results=results)
    assert standing(bench) == Consistency(runs=2, classes=1, bits=None, flips=0)
