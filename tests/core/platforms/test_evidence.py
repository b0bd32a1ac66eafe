"""Classes that only emulated operators tell apart, on runs that are written by hand."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from xbackend.comparison.comparison import threshold_failures
from xbackend.platforms.emulation_doubt import join_names
from xbackend.reports import csv as csv_report
from xbackend.reports import cumulative, dendrogram, machines, markdown, terminal
from xbackend.reports.html import render_fragment
from xbackend.testing.store_builder import StoreBuilder

Record = dict[str, Any]

CHAIN = [
    {"tap": "conv", "layer": 0, "operator": "Conv", "inputs": ["x"]},
    {"tap": "norm", "layer": 1, "operator": "BatchNormalization", "inputs": ["conv"]},
    {"tap": "gemm", "layer": 2, "operator": "Gemm", "inputs": ["norm"]},
    {"tap": "y", "layer": 3, "operator": "Softmax", "inputs": ["gemm"]},
]
SOFTMAX = {"emulation_unsafe": ["y"], "emulation_reasons": {"Softmax": "Why."}}
NORM = {
    "emulation_unsafe": ["norm", "gemm", "y"],
    "emulation_reasons": {"BatchNormalization": "Why.", "Softmax": "Why."},
}


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def add(bench: StoreBuilder, conv: float, norm: float, gemm: float, y: float, **keys: Any) -> None:
    """Write a run of the chain by one number for each tensor."""
    taps = {"conv": [conv], "norm": [norm], "gemm": [gemm]}
    emulated = {"platform": "qemu:Haswell"} if "emulation_unsafe" in keys else {}
    bench.run({"y": [y]}, taps, **{"layers": CHAIN, "backend": "tf", **emulated, **keys})


def divergence(bench: StoreBuilder) -> Record:
    """Return the only entry of `divergence`."""
    (row,) = bench.document()["divergence"]
    return dict(row)


def test_a_class_that_only_an_emulated_softmax_makes_is_no_finding(bench: StoreBuilder) -> None:
    add(bench, 1, 1, 1, 0.5)
    add(bench, 1, 1, 1, 0.75, **SOFTMAX)
    row = divergence(bench)
    assert row["emulation_unsafe"] == ["run-1"]
    assert row["emulation_operators"] == ["Softmax"]
    assert row["eqcs_by_emulation"] == [["run-1"]]
    assert (row["last_safe_tap"], row["last_safe_layer"]) == ("gemm", 2)
    assert row["eqcs_last_safe"] == [["run-0", "run-1"]]
    assert row["eqc_count_output"] == 2


def test_a_class_that_parts_before_the_softmax_is_a_finding(bench: StoreBuilder) -> None:
    add(bench, 1, 1, 1, 0.5)
    add(bench, 1, 1, 2, 0.75, **SOFTMAX)
    row = divergence(bench)
    assert row["eqcs_by_emulation"] == []
    assert row["eqcs_last_safe"] == [["run-0"], ["run-1"]]


def test_a_real_processor_makes_a_finding_even_where_it_comes_second(bench: StoreBuilder) -> None:
    add(bench, 1, 1, 1, 0.75, **SOFTMAX)
    add(bench, 1, 1, 1, 0.5)
    assert divergence(bench)["eqcs_by_emulation"] == [["run-0"]]


def test_two_emulated_processors_that_part_at_the_softmax_alone_are_one_finding(
    bench: StoreBuilder,
) -> None:
    add(bench, 1, 1, 1, 0.5, **SOFTMAX)
    add(bench, 1, 1, 1, 0.75, **SOFTMAX)
    assert divergence(bench)["eqcs_by_emulation"] == [["run-1"]]


def test_a_class_with_a_real_processor_in_it_is_a_finding(bench: StoreBuilder) -> None:
    add(bench, 1, 1, 1, 0.5)
    add(bench, 1, 1, 1, 0.75, backend="ort")
    add(bench, 1, 1, 1, 0.75, **SOFTMAX)
    assert divergence(bench)["eqcs_by_emulation"] == []


def test_a_faithful_operator_that_parts_equal_inputs_is_a_finding_wherever_it_is(
    bench: StoreBuilder,
) -> None:
    add(bench, 1, 1, 1, 0.5, **NORM)
    add(bench, 1, 1, 2, 0.75, **NORM)
    row = divergence(bench)
    assert row["eqcs_by_emulation"] == []
    assert row["last_safe_tap"] == "conv"
    assert row["eqcs_last_safe"] == [["run-0", "run-1"]]


def test_a_faithful_operator_on_other_inputs_proves_nothing(bench: StoreBuilder) -> None:
    add(bench, 1, 1, 1, 0.5, **NORM)
    add(bench, 1, 2, 2, 0.75, **NORM)
    assert divergence(bench)["eqcs_by_emulation"] == [["run-1"]]


@pytest.mark.parametrize("reads", [None, ["unrecorded", "norm"], ["x"]])
def test_a_layer_whose_inputs_are_not_known_to_be_equal_proves_nothing(
    bench: StoreBuilder, reads: list[str] | None
) -> None:
    chain = [dict(layer) for layer in CHAIN]
    chain[2]["inputs"] = ["norm"] if reads == ["x"] else reads
    other = [dict(layer) for layer in chain]
    other[2]["inputs"] = reads
    hidden = {"tap": "unrecorded", "layer": 1, "operator": "Relu", "inputs": ["conv"]}
    add(bench, 1, 1, 1, 0.5, **{**NORM, "layers": [*chain, hidden]})
    add(bench, 1, 1, 2, 0.75, **{**NORM, "layers": [*other, hidden]})
    assert divergence(bench)["eqcs_by_emulation"] == [["run-1"]]


def test_without_layers_nothing_proves_a_difference(bench: StoreBuilder) -> None:
    bench.run({"y": [0.5]}, layers=CHAIN)
    bench.run({"y": [0.75]}, layers=CHAIN, platform="qemu:Haswell", **SOFTMAX)
    row = divergence(bench)
    assert row["eqcs_by_emulation"] == [["run-1"]]
    assert row["last_safe_tap"] is row["eqcs_last_safe"] is None
    text = " ".join(terminal.render(bench.compare()).split())
    assert "Class 2 rests on emulated Softmax alone and is no finding; no layer before" in text


def test_each_tensor_names_the_runs_that_cannot_be_trusted(bench: StoreBuilder) -> None:
    add(bench, 1, 1, 1, 0.5)
    add(bench, 1, 2, 2, 0.75, **NORM)
    rows = {row["tap"]: row["emulation_unsafe"] for row in bench.document()["comparisons"]}
    assert rows == {"conv": [], "norm": ["run-1"], "gemm": ["run-1"], "y": ["run-1"]}
    table = csv.DictReader(io.StringIO(csv_report.render(bench.compare())))
    assert [row["emulation_unsafe"] for row in table] == ["", "run-1", "run-1", "run-1"]


def test_runs_without_marks_are_told_of_none(bench: StoreBuilder) -> None:
    add(bench, 1, 1, 1, 0.5)
    add(bench, 1, 1, 1, 0.75)
    row = divergence(bench)
    assert row["emulation_unsafe"] == row["eqcs_by_emulation"] == []
    assert row["last_safe_tap"] is None
    assert "†" not in terminal.render(bench.compare())


VERDICT = (
    "Class 2 rests on emulated Softmax alone and is no finding; at layer 2 (Gemm, tap 'gemm'), "
    "the last before, the runs fall into 1 class."
)
LEGEND = "† comes from emulated Softmax: perhaps the bits of no real processor"


@pytest.fixture
def softmax(bench: StoreBuilder) -> StoreBuilder:
    """A real and an emulated processor that part at the softmax."""
    add(bench, 1, 1, 1, 0.5)
    add(bench, 1, 1, 1, 0.75, **SOFTMAX)
    return bench


def test_the_terminal_marks_the_class_and_the_tensor_and_says_why(softmax: StoreBuilder) -> None:
    text = terminal.render(softmax.compare())
    assert VERDICT in " ".join(text.split())
    assert LEGEND in text.splitlines()
    (emulated,) = [line for line in text.splitlines() if "qemu:Haswell" in line]
    (output,) = [line for line in text.splitlines() if "y (output)" in line]
    assert "2†" in emulated.split()
    assert "2†" in output.split()


@pytest.mark.parametrize("render", [markdown.render, render_fragment])
def test_reports_for_a_browser_say_the_same(softmax: StoreBuilder, render: Any) -> None:
    text = render(softmax.compare()).replace("&#x27;", "'")
    assert VERDICT in text
    assert LEGEND in text
    assert "2†" in text


def test_the_table_of_machines_marks_the_cell(softmax: StoreBuilder) -> None:
    text = machines.render(softmax.compare())
    assert LEGEND in text.splitlines()
    (emulated,) = [line for line in text.splitlines() if "qemu:Haswell" in line]
    assert emulated.split()[-1] == "2†"


def test_the_growth_of_classes_says_how_many_emulation_made(softmax: StoreBuilder) -> None:
    text = cumulative.render(softmax.compare())
    assert "2 classes on 2 machines, 1 of them by emulated Softmax alone" in text


def test_the_tree_of_classes_marks_the_leaf(softmax: StoreBuilder) -> None:
    text = dendrogram.render(softmax.compare())
    assert "class 1: tf native" in text
    assert "class 2†: tf qemu:Haswell" in text
    assert LEGEND in text.splitlines()


def test_many_samples_are_marked_in_their_one_column(bench: StoreBuilder) -> None:
    for value, keys in ((0.5, {}), (0.75, SOFTMAX)):
        samples = [bench.result(str(n), {"y": [value]}, {"gemm": [1.0]}) for n in range(8)]
        bench.write(results=samples, layers=CHAIN, backend="tf", **keys)
    text = terminal.render(bench.compare())
    assert "2†" in text
    assert VERDICT in " ".join(text.split())


def test_one_sample_that_proves_a_difference_is_enough_for_all_of_them(bench: StoreBuilder) -> None:
    for second, y, keys in ((1.0, 0.5, {}), (2.0, 0.75, SOFTMAX)):
        samples = [
            bench.result("0", {"y": [y]}, {"gemm": [1.0]}),
            bench.result("1", {"y": [y]}, {"gemm": [second]}),
        ]
        bench.write(results=samples, layers=CHAIN, backend="tf", **keys)
    rows = bench.document()["divergence"]
    assert [row["eqcs_by_emulation"] for row in rows] == [[["run-1"]], []]
    assert "no finding" not in terminal.render(bench.compare())


def test_thresholds_are_about_bits_wherever_they_come_from(softmax: StoreBuilder) -> None:
    assert len(threshold_failures(softmax.compare(), max_eqcs=1)) == 1
    assert threshold_failures(softmax.compare(), max_eqcs=2) == []


def test_names_are_joined_as_a_sentence_has_them() -> None:
    assert join_names(["2", "3", "5"]) == "2, 3 and 5"
    assert join_names(["Gelu"]) == "Gelu"
