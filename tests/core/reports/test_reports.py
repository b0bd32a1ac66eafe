"""The five reports, on runs that are written by hand."""

from __future__ import annotations

import csv
import io
import json
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from xbackend.comparison.summary import summaries
from xbackend.reports import csv as csv_report
from xbackend.reports import json as json_report
from xbackend.reports import markdown, terminal
from xbackend.reports.html import render_fragment
from xbackend.reports.wording.formatting import (
    format_number,
    format_percent,
    heading,
    printable,
    shorten,
)
from xbackend.testing.store_builder import StoreBuilder

ONE_ULP = float(np.nextafter(np.float32(0.5), np.float32(1)))
HOSTILE = "<script>alert('|x|')</script>\x1b[31m\n|"
REPORTS: dict[str, Any] = {
    "table": terminal, "json": json_report, "markdown": markdown, "csv": csv_report,
}  # fmt: skip
AT_A_GLANCE = """\
net, float32, 1 input, 5 runs
=============================

OTHER BITS; rounding or a fault is not judged. Outputs fall into 2 classes;
  first difference at layer 1 (Relu, tap 'relu'); at least 22 of 23 mantissa
  bits agree; no label flips. By norm outputs agree to 23 bits; widest apart:
  input 0, [0, 1]: ort 0.5, torch 0.50000006. A test of these outputs passes
  with numpy.testing.assert_allclose(…, rtol=2e-07, atol=0).

run           class  bits  max |diff|  relative  labels
------------  -----  ----  ----------  --------  ------
ort 1.0           1    23                             1
torch 2.0 ×3      2    22    5.96e-08  1.07e-07    same
tf 3.0            1    23                             1

layer  tap         operator  classes  bits  max |diff|  deviating
-----  ----------  --------  -------  ----  ----------  ---------
    1  relu        Relu           2*     1         0.5     50.0 %
    2  y (output)  Softmax         2    22    5.96e-08     50.0 %
* with layers of runs whose bits the recording changed

Note: tf 3.0, native: recording its layers changed the bits of its outputs, so
  its layers may not be those of the untapped run.

NEXT   whose error is its own: xbackend compare --model net --isolate
       whether rounding alone makes the difference:
         xbackend explain --model net --certify
       which result is nearer to float64:
         xbackend compare --model net --reference float64

Runs that gave nothing to compare:
failed: tflite float32, native at stage prepare (SIGILL): The worker died.

class: runs with the same number gave the same bits. bits: identical leading
  mantissa bits, the least of any element; max |diff|: the largest distance of
  an element; relative: norm of the difference over the norm. Those of a run are
  from class 1, those of a layer between all runs. tap: the tensor that a layer
  gives, by its name in ONNX; deviating: share of its elements with other bits.
"""


@pytest.fixture(autouse=True)
def _eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def filled(bench: StoreBuilder) -> StoreBuilder:
    """Three configurations in two classes, one of them run three times, and one that failed."""
    same = {"y": [0.25, 0.5]}, {"conv": [1.0, 2.0], "relu": [1.0, 2.0]}
    other = {"y": [0.25, ONE_ULP]}, {"conv": [1.0, 2.0], "relu": [1.0, 2.5]}
    bench.run(*same)
    for repeat in range(3):
        bench.run(*other, backend="torch", backend_version="2.0", repeat=repeat)
    bench.run(*same, backend="tf", backend_version="3.0", neutral=False)
    stopped = {"stage": "prepare", "symptom": "SIGILL", "message": "The worker died."}
    bench.run(None, backend="tflite", status="failed", error=stopped)
    return bench


@pytest.fixture
def hostile(bench: StoreBuilder) -> StoreBuilder:
    """Names that a model could hold to do harm where they are shown."""
    layers = [{"tap": HOSTILE, "layer": 0, "operator": HOSTILE}]
    model = {"name": HOSTILE, "digest": "d" * 64, "source": "x"}
    for value in (1.0, 2.0):
        bench.run({HOSTILE: [value]}, {HOSTILE: [value]}, layers=layers, model=model)
    failure = {"stage": "prepare", "symptom": HOSTILE, "message": HOSTILE}
    bench.run(None, status="failed", error=failure, model=model)
    return bench


def test_the_terminal_shows_who_agrees_with_whom_and_where_they_part(
    filled: StoreBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XBACKEND_STORE", str(filled.store.folder))
    assert terminal.render(filled.compare()) == AT_A_GLANCE


def test_runs_that_agree_are_told_so_in_one_sentence(bench: StoreBuilder) -> None:
    for backend in ("ort", "torch", "tf"):
        bench.run({"y": [1.0]}, {"conv": [1.0]}, backend=backend)
    text = terminal.render(bench.compare())
    assert "All 3 runs give the same bits, in every layer they share too." in text
    assert "operator" not in text


def test_outputs_alone_that_agree_promise_nothing_about_layers(bench: StoreBuilder) -> None:
    for taps in ({"conv": [1.0]}, {}):
        bench.run({"y": [1.0]}, taps)
    assert "All 2 runs give the same bits." in terminal.render(bench.compare())


def test_a_layer_that_differs_under_equal_outputs_is_named(bench: StoreBuilder) -> None:
    for value in (-1.0, -2.0):
        bench.run({"y": [0.0]}, {"conv": [value], "relu": [0.0]})
    text = " ".join(terminal.render(bench.compare()).split())
    assert "same bits, although a layer differs: layer 0 (Conv, tap 'conv')." in text


def test_one_run_alone_is_not_called_agreement(bench: StoreBuilder) -> None:
    bench.run({"y": [1.0]})
    text = terminal.render(bench.compare())
    assert "One run alone: there is nothing to compare it with." in text


def test_label_flips_are_in_the_verdict(bench: StoreBuilder) -> None:
    for values in ([0.25, 0.75], [0.75, 0.25]):
        bench.run({"y": values})
    text = " ".join(terminal.render(bench.compare()).split())
    assert "no two runs recorded the same layer" in text
    assert "labels flip in 1 run." in text


def test_integers_are_told_by_their_distance(bench: StoreBuilder) -> None:
    for value in (3, 5):
        bench.run({"y": np.array([[value, 0]], np.int8)}, precision="int8")
    assert "integers are up to 2 apart" in " ".join(terminal.render(bench.compare()).split())


def test_outputs_that_cannot_be_compared_are_told_so(bench: StoreBuilder) -> None:
    for count in (2, 3):
        bench.run({"y": np.ones((1, count), np.float32)})
    assert "their dtypes or shapes differ" in " ".join(terminal.render(bench.compare()).split())


def test_nan_against_a_number_is_noted(bench: StoreBuilder) -> None:
    for value in (1.0, float("nan")):
        bench.run({"y": [value, 0.0]})
    text = " ".join(terminal.render(bench.compare()).split())
    assert "NaN or infinity stands against another number at 1 element of the outputs." in text


def test_repeats_that_contradict_one_another_are_not_deterministic(bench: StoreBuilder) -> None:
    for repeat, value in enumerate((1.0, 2.0, 1.0)):
        bench.run({"y": [value]}, repeat=repeat)
    bench.run({"y": [1.0]}, backend="torch")
    text = " ".join(terminal.render(bench.compare()).split())
    assert "Not deterministic, as repeats gave other bits: ort 1.0, native." in text
    assert "ort 1.0 ×2" in text


def test_settings_are_shown_only_where_they_tell_runs_apart(bench: StoreBuilder) -> None:
    for threads in (1, 2):
        bench.run({"y": [1.0]}, settings={"threads": threads, "mode": "eager"})
    text = terminal.render(bench.compare())
    assert "threads=2" in text
    assert "mode" not in text


def test_a_processor_is_shown_only_where_the_platform_does_not_imply_it(
    bench: StoreBuilder,
) -> None:
    for platform, device in (("native", "Old"), ("native", "New"), ("qemu:Haswell", "QEMU")):
        bench.run({"y": [1.0]}, platform=platform, hardware={"device": device})
    text = terminal.render(bench.compare())
    assert "native, processor=Old" in text
    assert "native, processor=New" in text
    assert "processor=QEMU" not in text


def test_runs_of_one_platform_on_one_processor_do_not_name_it(bench: StoreBuilder) -> None:
    for platform in ("native", "qemu:Haswell"):
        bench.run({"y": [1.0]}, platform=platform, hardware={"device": f"CPU of {platform}"})
    assert "processor" not in terminal.render(bench.compare())


def test_what_a_run_that_is_ok_could_not_do_is_noted(bench: StoreBuilder) -> None:
    failure = {"stage": "taps", "symptom": "MemoryError", "message": "No taps."}
    bench.run({"y": [1.0]}, error=failure)
    assert "Note: ort float32, native: No taps." in terminal.render(bench.compare())


@pytest.mark.parametrize("report", [terminal, markdown])
def test_a_crowd_of_runs_is_shown_class_by_class(bench: StoreBuilder, report: Any) -> None:
    """120 platforms, every third in the second class: two rows, and how to see all."""
    for n in range(120):
        bench.run({"y": [0.25, ONE_ULP if n % 3 == 2 else 0.5]}, platform=f"host{n}")
    shown = report.render(bench.compare())
    assert "host0" in shown
    assert "host101" in shown
    assert "host3" not in shown
    cells = [line.split() for line in shown.replace("|", " ").splitlines()]
    assert ["ort", "1.0,", "host0", "1", "80", "23", "neutral"] in cells
    assert ["ort", "1.0,", "host101", "2", "40", "22", "neutral"] in cells
    assert "as 120 rows of runs are too many" in shown.replace("\n  ", " ")
    assert "host119" in render_fragment(bench.compare())


def test_notes_on_a_crowd_name_the_first_and_count_the_rest(bench: StoreBuilder) -> None:
    for n in range(12):
        bench.run({"y": [0.5]}, {"conv": [1.0]}, neutral=False, platform=f"host{n}")
    shown = terminal.render(bench.compare()).replace("\n  ", " ")
    assert shown.count("Note: ort 1.0, host") == 8
    assert "Note: 4 more runs likewise" in shown


def test_many_samples_fold_into_one_class_column(bench: StoreBuilder) -> None:
    for last in (1.0, 2.0):
        samples = [bench.result(str(n), {"y": [1.0]}, {}) for n in range(9)]
        bench.write(results=[*samples, bench.result("9", {"y": [last]}, {})])
    lines = terminal.render(bench.compare()).splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith("run "))
    head, _, first, second = lines[start : start + 4]
    assert head.split() == ["run", "class", "bits", "max", "|diff|", "relative"]
    assert (first.split(), second.split()) == (
        ["ort", "1.0", "1", "23"],
        ["ort", "1.0", "2", "0", "1", "1"],
    )


@pytest.mark.parametrize("columns", [80, 100, 140])
def test_no_line_is_wider_than_the_terminal(
    bench: StoreBuilder, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("XBACKEND_STORE", str(bench.store.folder))
    name = "/".join(["block_of_the_network"] * 6)
    layers = [{"tap": f"{name}/{n}", "layer": n, "operator": "Conv"} for n in range(30)]
    for value in (1.0, 2.0):
        taps = {layer["tap"]: [value] for layer in layers}
        where = {"platform": f"python:/opt/{'old/' * 12}bin/python", "layers": layers}
        bench.run({name: [value]}, taps, **where)
    lines = terminal.render(bench.compare()).splitlines()
    typed = [line for line in lines if "--platform python:/opt" in line]  # is one word of a shell
    assert [line for line in lines if line not in typed and len(line) > columns] == []
    assert "… layers that add less: 'xbackend compare --all' shows each." in lines
    assert any("… 29 layers" in line or "29 layers" in line for line in lines), lines


def test_all_runs_failed_is_a_report_too(bench: StoreBuilder) -> None:
    failure = {"stage": "import", "symptom": "not-installed", "message": "Install it."}
    for _ in range(2):
        bench.run(None, status="failed", error=failure)
    assert terminal.render(bench.compare()) == (
        "Runs that gave nothing to compare:\n"
        "failed: ort float32, native ×2 at stage import (not-installed): Install it.\n"
    )


@pytest.mark.parametrize("name", ["table", "markdown"])
def test_no_name_moves_the_cursor_or_starts_a_line(hostile: StoreBuilder, name: str) -> None:
    text = REPORTS[name].render(hostile.compare())
    assert "\x1b" not in text
    assert all(char.isprintable() or char == "\n" for char in text)


def test_markdown_has_as_many_cells_in_every_row_whatever_the_names(hostile: StoreBuilder) -> None:
    text = markdown.render(hostile.compare())
    assert "<script" not in text
    for block in text.split("\n\n"):
        if block.startswith("|"):
            bars = [line.replace("\\|", "").count("|") for line in block.splitlines()]
            assert len(set(bars)) == 1


class _Page(HTMLParser):
    """Collects the elements and the text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [str(value) for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_html_shows_hostile_names_and_runs_none(hostile: StoreBuilder) -> None:
    page = _Page()
    page.feed(render_fragment(hostile.compare()))
    assert "script" not in page.tags
    assert page.links == []
    assert any("<script>alert('|x|')</script>" in text for text in page.texts)


def test_html_shows_the_same_cells_as_the_terminal(filled: StoreBuilder) -> None:
    page = _Page()
    page.feed(render_fragment(filled.compare()))
    assert {"torch 2.0, native ×3", "22", "CHANGED BITS", "y (output)", "SIGILL"} <= set(page.texts)


def test_csv_has_one_row_for_each_comparison(filled: StoreBuilder) -> None:
    rows = list(csv.DictReader(io.StringIO(csv_report.render(filled.compare()))))
    assert [row["tap"] for row in rows] == ["conv", "relu", "y"]
    assert rows[2]["eqcs"] == "run-0 run-4|run-1 run-2 run-3"
    assert (rows[2]["remaining_precision"], rows[2]["shape"]) == ("22", "1x2")
    assert json.loads(rows[0]["group"])["precision"] == "float32"
    assert rows[1]["taps_not_neutral"] == "run-4"


def test_csv_keeps_any_name_in_its_cell(hostile: StoreBuilder) -> None:
    (row,) = csv.DictReader(io.StringIO(csv_report.render(hostile.compare())))
    assert row["tap"].encode().decode("unicode_escape") == HOSTILE


def test_json_is_one_object_that_any_parser_reads(filled: StoreBuilder) -> None:
    filled.run({"y": [float("nan"), float("inf")]}, backend="other")

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON.")

    document = json.loads(json_report.render(filled.compare()), parse_constant=refuse)
    assert document["schema_version"] == 1
    assert [run["id"] for run in document["runs"]] == [f"run-{n}" for n in range(7)]
    (section,) = document["sections"]
    assert section["eqcs"] == [["run-0", "run-4"], ["run-1", "run-2", "run-3"], ["run-6"]]
    assert section["taps_not_neutral"] == ["run-4"]


@pytest.mark.parametrize("name", sorted(REPORTS))
def test_a_report_of_one_comparison_is_the_same_every_time(filled: StoreBuilder, name: str) -> None:
    assert REPORTS[name].render(filled.compare()) == REPORTS[name].render(filled.compare())


def test_numbers_and_shares_are_short_and_never_round_a_difference_away() -> None:
    assert [format_number(value) for value in (0, 999_999, 1_000_000, 0.5, None)] == [
        "0", "999999", "1e+06", "0.5", "–",
    ]  # fmt: skip
    assert [format_percent(value) for value in (0.0, 1e-9, 0.25, 1 - 1e-9, 1.0)] == [
        "0 %", "<0.1 %", "25.0 %", ">99.9 %", "100 %",
    ]  # fmt: skip


def test_a_long_name_keeps_both_ends() -> None:
    assert shorten("encoder/layer/0/attention", 12) == "encod…ention"
    assert shorten("short", 12) == "short"
    assert printable("tab\there") == "tab\\there"


def test_a_heading_says_where_outputs_of_float32_have_another_format(bench: StoreBuilder) -> None:
    bench.run({"y": [1.0]})
    (plain,) = summaries(bench.compare())
    assert heading(plain) == "net, float32, 1 input, 1 run"
    wide = {"name": "wide", "digest": "e" * 64, "source": "wide.onnx"}
    bench.run({"y": np.array([[1.0]])}, model=wide)
    (other,) = summaries(bench.compare(model="wide"))
    assert heading(other) == "wide, float32 (outputs in float64), 1 input, 1 run"
