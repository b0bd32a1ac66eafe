"""The river of classes and the numbers that the page's charts are drawn from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import xbackend as xb
from xbackend.comparison.summary import summaries
from xbackend.errors import InputError
from xbackend.facts.pairs import with_pairs
from xbackend.plugins import registry
from xbackend.reports.json import document
from xbackend.reports.web.data.details import PAIR_NUMBERS, computed_data, details_data
from xbackend.reports.web.data.frontier import frontier
from xbackend.reports.web.data.further import growth, trees
from xbackend.reports.web.data.kernels import kernels
from xbackend.reports.web.data.layers import NUMBERS, cohorts_data
from xbackend.reports.web.data.river import colours_of, hold_places, river, run_order
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


@pytest.fixture
def apart(bench: StoreBuilder) -> StoreBuilder:
    """Three classes of an output and of a layer before it."""
    for backend, last in (("ort", 0.5), ("torch", 0.75), ("tf", 0.5625)):
        bench.run({"y": [0.25, last]}, {"relu": [1.0, last, 3.0]}, backend=backend)
    return bench


def test_details_of_a_tensor_are_those_of_the_json_report(apart: StoreBuilder) -> None:
    measured = with_pairs(apart.compare())
    report = json.loads(registry.report("json")(measured))
    cohorts = cohorts_data(report, ["a", "b", "c"])
    (found,), left_out = details_data(report, cohorts)
    assert left_out == 0
    places = {tap["name"]: str(at) for at, tap in enumerate(cohorts[0]["taps"])}
    for tap in ("relu", "y"):
        told = found["0"][places[tap]]
        pairs = [pair for pair in report["pairs"] if pair["tap"] == tap]
        assert [tuple(pair["classes"]) for pair in pairs] == [(1, 2), (1, 3), (2, 3)]
        assert told["pairs"] == [
            [*pair["classes"], *(pair[key] for key in PAIR_NUMBERS), pair["ulp_quantiles"]["1"]]
            for pair in pairs
        ]
        far = next(pair for pair in pairs if pair["classes"] == told["far"]["classes"])
        assert far["relative"] == max(pair["relative"] for pair in pairs)
        assert told["far"]["histogram"] == far["ulp_histogram"]
        assert told["far"]["places"]["counts"] == far["places"]["counts"]
        assert told["far"]["worst"][0][1:3] == far["worst_abs"][0]["text"]
    assert found["0"][places["y"]]["far"]["places"]["counts"] == [0, 1]


def test_what_cannot_be_compared_is_told_without_numbers(bench: StoreBuilder) -> None:
    for count in (2, 3):
        bench.run({"y": np.ones((1, count), np.float32)})
    measured = with_pairs(bench.compare())
    ((found,), _) = details_data(document(measured), cohorts_data(document(measured), ["a", "b"]))
    assert found["0"] == {"0": {"pairs": [[1, 2]], "far": None}}


def test_of_large_stores_outputs_are_measured_first(apart: StoreBuilder) -> None:
    """Three pairs of two elements are six; three more of three elements would be fifteen."""
    compared = apart.compare()
    assert {pair.tap for pair in with_pairs(compared).pairs} == {"relu", "y"}
    assert {pair.tap for pair in with_pairs(compared, 15).pairs} == {"relu", "y"}
    assert {pair.tap for pair in with_pairs(compared, 14).pairs} == {"y"}
    assert with_pairs(compared, 5).pairs == ()


def test_errors_of_layers_are_those_of_the_json_report(apart: StoreBuilder) -> None:
    compared = apart.compare()
    report = document(compared)
    ids = [run["id"] for run in report["runs"]]
    section = {key: report["sections"][0][key] for key in ("group", "model", "inputs_digest")}
    layer = {
        "tap": "relu", "layer": 1, "operator": "Relu", "verdict": "beyond rounding", "reason": "",
        "error": "inf", "limit": 28.0, "usual": 7.0, "arithmetic": "float32",
    }  # fmt: skip
    own = {"remaining_precision": 3, "max_ulp": 9, "max_abs": 0.5}
    isolated = {"tap": "y", "verdict": "own", "reason": "", "own": own, "inherited": None,
                "total": own}  # fmt: skip
    report["certificates"] = [{"run": ids[1], "layers": [layer]}]
    report["isolations"] = [{"run": ids[2], "reference": ids[0], "layers": [isolated]}]
    judged = {"ids": ids[:2], "taps": {"y": {"relative": 1e-7}}}
    report["accuracy"] = [{**section, "runs": [judged]}]
    cohorts = cohorts_data(report, ["a", "b", "c"])
    (found,) = computed_data(report, cohorts)
    assert found == {
        "certificates": [
            {"run": 1, "layers": {"0": ["beyond rounding", "inf", 28.0, 7.0, "float32", ""]}}
        ],
        "isolations": [
            {"run": 2, "reference": 0, "layers": {"1": ["own", "", [3, 9, 0.5], None, [3, 9, 0.5]]}}
        ],
        "accuracy": [{"runs": [0, 1], "relative": [None, 1e-7]}],
    }


def test_leaves_of_a_tree_are_named_by_backend_and_platform(apart: StoreBuilder) -> None:
    """0.5, 0.5625 and 0.75 share 0 bits with 0.75 and 2 bits with one another."""
    compared = apart.compare()
    (tree,) = trees(compared, summaries(compared))
    assert [name for _, _, name, _ in tree["leaves"]] == [
        "1: ort 1.0, native", "3: tf 1.0, native", "2: torch 1.0, native",
    ]  # fmt: skip
    assert tree["words"] == ["classes 1, 2, 3 share 0 bits", "classes 1, 3 share 2 bits"]
    assert tree["branches"][0] == [0, 0.5, 0, 2]


def test_the_growth_of_classes_ends_at_their_number(apart: StoreBuilder) -> None:
    compared = apart.compare()
    (curve,) = growth(compared, summaries(compared))
    assert curve["classes"] == [1, 2, 3]
    assert curve["machine"] == [1, 2, 3]


def _tried(backend: str, name: str, classes: int, error: float, time: float | None) -> Any:
    """Return a row as `xbackend mitigate --json` prints it."""
    kept = {"runs": 2, "classes": classes, "bits": 8, "flips": 0, "without": []}
    return {
        "backend": backend, "mitigation": name, "before": {**kept, "classes": 2} if name else None,
        "after": kept, "time": time, "correctness": {"relative": error}, "fidelity": 20.0,
        "notes": [],
    }  # fmt: skip


def _report(*rows: Any) -> Any:
    return {"model": "net", "platforms": ["native"], "rows": list(rows), "advice": "Take it."}


def test_the_frontier_leaves_out_what_another_row_beats() -> None:
    rows = [
        _tried("tflite", "", 2, 1e-6, None),
        _tried("tflite", "builtin-kernels", 1, 1e-7, 2.0),
        _tried("tflite", "slow", 1, 1e-7, 3.0),
        _tried("tflite", "rough", 2, 1e-3, 1.0),
        _tried("ort", "rough", 2, 1e-3, 1.0),
    ]
    (found,) = frontier([_report(*rows)])
    told = {(row["backend"], row["mitigation"]): row for row in found["rows"]}
    assert [name for name, row in told.items() if row["best"]] == [
        ("tflite", "as it is"), ("tflite", "builtin-kernels"), ("ort", "rough"),
    ]  # fmt: skip
    kernels = told["tflite", "builtin-kernels"]
    assert (kernels["before"], kernels["classes"], kernels["time_text"]) == (2, 1, "2")
    assert "BUILTIN_WITHOUT_DEFAULT_DELEGATES" in kernels["paste"]
    assert told["tflite", "as it is"]["time"] == 1.0


@pytest.mark.skipif(bool(registry.missing_for("html")), reason="The extra is not installed.")
def test_a_page_shows_what_was_tried_and_does_not_take_it_for_the_stores(
    apart: StoreBuilder, tmp_path: Path
) -> None:
    told = tmp_path / "tried.json"
    told.write_text(json.dumps(_report(_tried("ort", "calm", 1, 1e-7, 1.5))))
    page = xb.report(xb.compare(store=apart.store), tmp_path / "page.html", mitigations=told)
    text = page.read_text(encoding="utf-8")
    answer, _, rest = text.partition('id="layers"')
    assert "<span>Take it.</span>" in answer
    assert "Take it." in rest
    assert "was not tried" not in text
    assert "2 → 1" in text
    bare = xb.report(xb.compare(store=apart.store), tmp_path / "bare.html")
    assert "What removes the difference, and what that costs, was not tried." in bare.read_text()
    found = xb.verify(page, store=apart.store)
    assert found.faults == ()
    assert found.notes[0].endswith("have to run again for it: mitigations.")


@pytest.mark.skipif(bool(registry.missing_for("html")), reason="The extra is not installed.")
@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"rows": []}', '{"rows": [{"backend": 1}]}', '{"rows": 3}']
)
def test_what_does_not_tell_of_mitigations_is_refused(
    apart: StoreBuilder, tmp_path: Path, text: str
) -> None:
    told = tmp_path / "tried.json"
    told.write_text(text)
    with pytest.raises(InputError, match=r"is not what 'xbackend mitigate --json' prints"):
        xb.report(xb.compare(store=apart.store), tmp_path / "page.html", mitigations=told)
