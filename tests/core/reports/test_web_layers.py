"""The river of classes and the numbers that the page's charts are drawn from."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xbackend.plugins import registry
from xbackend.reports.json import document
from xbackend.reports.web.kernels import kernels
from xbackend.reports.web.layers import NUMBERS, cohorts_data
from xbackend.reports.web.river import colours_of, hold_places, river, run_order
from xbackend.testing.store_builder import StoreBuilder


@st.composite
def labellings(draw: st.DrawFn) -> list[list[int]]:
    """Draw classes of up to six runs over up to seven layers, with gaps."""
    runs, layers = draw(st.integers(1, 6)), draw(st.integers(1, 7))
    row = st.lists(st.integers(0, 3), min_size=runs, max_size=runs)
    return draw(st.lists(row, min_size=layers, max_size=layers))


@given(labellings())
def test_a_thread_is_drawn_where_its_run_was_recorded_and_nowhere_else(
    labels: list[list[int]],
) -> None:
    found = river(labels, [0] * len(labels[0]))
    drawn = {
        (thread.run, at) for thread in found.threads for at in range(thread.x[0], thread.x[-1] + 1)
    }
    recorded = {
        (run, at) for at, row in enumerate(labels) for run, label in enumerate(row) if label
    }
    assert drawn == recorded


@given(labellings())
def test_runs_stand_together_if_they_have_the_same_bits_and_no_two_at_one_place(
    labels: list[list[int]],
) -> None:
    held = hold_places(labels)
    for before, after in zip(labels, held, strict=True):
        assert [now for now, was in zip(after, before, strict=True) if was] == [
            was for was in before if was
        ]
        assert all(after)
    assert sorted(run_order(held)) == list(range(len(labels[0])))


@given(labellings(), st.data())
def test_two_classes_of_a_layer_never_have_one_colour(
    labels: list[list[int]], data: st.DataObject
) -> None:
    homes = data.draw(st.lists(st.integers(0, 3), min_size=len(labels[0]), max_size=len(labels[0])))
    for row in labels:
        colours = colours_of(row, homes)
        pairs = {(label, colour) for label, colour in zip(row, colours, strict=True) if label}
        assert len(pairs) == len({label for label, _ in pairs}) == len({c for _, c in pairs})


def test_runs_that_part_once_never_cross() -> None:
    labels = [[1, 1, 1, 1], [1, 2, 1, 2], [1, 2, 3, 4]]
    assert run_order(labels) == [0, 2, 1, 3]


def test_the_data_of_a_layer_are_those_of_the_json_report(bench: StoreBuilder) -> None:
    bench.run({"y": [0.25, 0.5]}, {"conv": [1.0, 2.0], "relu": [1.0, 2.0]})
    bench.run({"y": [0.25, 0.75]}, {"relu": [1.0, 2.5]}, backend="torch")
    report = json.loads(registry.report("json")(bench.compare()))
    (cohort,) = cohorts_data(document(bench.compare()), ["a", "b"])
    (sample,) = cohort["samples"]
    assert [tap["name"] for tap in cohort["taps"]] == ["conv", "relu", "y"]
    assert sample["numbers"] == [[each[key] for key in NUMBERS] for each in report["comparisons"]]
    assert sample["classes"] == [[1, 0], [1, 2], [1, 2]]
    assert cohort["leaders"] == [0, 1]
    assert cohort["bits"] == 23


def test_kernels_are_shown_where_they_differ_and_alike_runs_share_a_row() -> None:
    facts: list[dict[str, Any]] = [
        {"facts": {"placement": {"conv": "CPU:0", "relu": "GPU:0"}}},
        {"facts": {"placement": {"conv": "CPU:0", "relu": "GPU:0"}}},
        {"facts": {"nodes": {"CPUExecutionProvider": ["Conv a"]}}},
    ]
    assert kernels(facts, ["a", "b", "c"], ["conv", "pool", "relu"]) == {
        "a and 1 more": ["CPU:0", None, "GPU:0"]
    }
    assert kernels(facts[:1], ["a"], ["conv"]) == {}


@pytest.mark.skipif(bool(registry.missing_for("html")), reason="The extra is not installed.")
def test_charts_are_drawn_without_a_browser() -> None:
    from xbackend.reports.web.charts import charts, picture

    rows = [{"from": "0", "count": 5}, {"from": "1", "count": 2}]
    drawn = picture(charts()["histogram"], {"histogram": rows}, "svg").decode()
    assert drawn.startswith("<svg")
    assert "distance in ULP" in drawn
    assert picture(charts()["histogram"], {"histogram": rows}, "png").startswith(b"\x89PNG")
