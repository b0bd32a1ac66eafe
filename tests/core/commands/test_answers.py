"""What `run`, `compare` and `explain` answer, and the exit status when nothing was compared."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from xbackend.api.store_check import CheckedStore
from xbackend.commands.compare import FORMATS_HELP
from xbackend.commands.main import main
from xbackend.exchange.importing import ImportResult
from xbackend.reports.results import runs
from xbackend.reports.results.exchange import render_import
from xbackend.testing.store_builder import StoreBuilder


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")


@pytest.fixture
def split(bench: StoreBuilder) -> StoreBuilder:
    bench.run({"y": [0.25, 0.5]}, {"conv": [1.0]})
    bench.run({"y": [0.25, 0.75]}, {"conv": [2.0]}, backend="torch")
    return bench


def compare(bench: StoreBuilder, *options: str) -> int:
    return main(["compare", "--store", str(bench.store.folder), *options])


def test_compare_begins_with_the_answer(
    split: StoreBuilder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(split) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[3].startswith("OTHER BITS; rounding or a fault is not judged. Outputs fall into 2")


def test_a_gate_that_is_broken_is_told_and_ends_with_one(
    split: StoreBuilder, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = ["--gate", "output: bits>=16, flips=0", "--gate", "conv*: snr>=3"]
    assert compare(split, *rules) == 1
    assert capsys.readouterr().err.splitlines() == [
        "xbackend: Gate 'output: bits>=16' fails at 'y' of net (float32), input '0': bits is 0.",
        "xbackend: Gate 'conv*: snr>=3' fails at 'conv' of net (float32), input '0': snr is 0.",
    ]
    assert compare(split, "--gate", "output: classes<=2") == 0


def test_gates_and_thresholds_of_one_run_fail(
    bench: StoreBuilder, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.run({"y": [1.0, 2.0]})
    for rule in (("--gate", "output: bits>=1"), ("--fail-under", "1"), ("--max-eqcs", "9")):
        assert compare(bench, *rule) == 1
        assert "othing was compared" in capsys.readouterr().err
    assert compare(bench) == 0


def test_a_rule_without_a_meaning_is_wrong_usage_before_anything_is_printed(
    split: StoreBuilder, capsys: pytest.CaptureFixture[str]
) -> None:
    for options in (["--gate", "output"], ["--gate", "rounding: all"], ["--metrics", "some"]):
        assert compare(split, *options) == 2
        assert capsys.readouterr().out == ""


def test_all_metrics_are_keys_that_are_added(
    split: StoreBuilder, capsys: pytest.CaptureFixture[str]
) -> None:
    compare(split, "--format", "json")
    usual = json.loads(capsys.readouterr().out)
    compare(split, "--format", "json", "--metrics", "all")
    found = json.loads(capsys.readouterr().out)
    pairs = found.pop("pairs")
    assert found == usual
    (conv,) = [pair for pair in pairs if pair["tap"] == "conv"]
    assert (conv["mean_error"], conv["rms_error"], conv["relative"]) == (1.0, 1.0, 1.0)
    assert conv["worst_abs"][0]["values"] == [1.0, 2.0]
    assert conv["ulp_quantiles"]["0.5"] == 1 << 23
    compare(split, "--metrics", "all")
    assert "y, input 0, class 1 against 2: mean error 0.125;" in capsys.readouterr().out


def test_explain_says_what_is_known_and_what_is_next(
    split: StoreBuilder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", "--store", str(split.store.folder)]) == 0
    text = capsys.readouterr().out
    assert "[recorded]" in text
    assert "  xbackend compare --model net --isolate" in text


def run(*options: str) -> int:
    return main(["run", "--backends", "fixed", "--taps", "outputs", *options])


@pytest.fixture
def _own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("XBACKEND_STORE", str(tmp_path / "store"))


@pytest.mark.usefixtures("_own_store")
def test_run_ends_with_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--threads", "1,2") == 0
    *_, there, said = capsys.readouterr().out.splitlines()
    assert said == "The same bits in 2 runs."
    assert there.endswith("; next: xbackend compare")


@pytest.mark.usefixtures("_own_store")
def test_runs_that_were_all_skipped_are_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--precision", "bfloat16") == 3
    *_, there, said = capsys.readouterr().out.splitlines()
    assert said.startswith("No run gave an output: there is nothing to compare.")
    assert "next:" not in there


@pytest.mark.usefixtures("_own_store")
def test_strict_fails_for_what_was_asked_for_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--precision", "int8,bfloat16") == 0
    assert run("--precision", "int8,bfloat16", "--strict") == 3
    assert "xbackend: fixed bfloat16 on native was skipped: " in capsys.readouterr().err
    assert run("--precision", "int8", "--strict") == 0


def test_the_answer_of_run_reads_outputs_and_no_layer(split: StoreBuilder) -> None:
    records = [dict(record) for record in split.store.runs()]
    layers = {row["digest"] for r in records for each in r["results"] for row in each["taps"]}
    for digest in layers:
        split.store.object_path(digest).unlink()
    said = runs.render(records, split.store.folder).splitlines()[-1]
    assert said.startswith("Other bits: 2 classes in 2 runs; at least 0 of 23 mantissa bits agree")


def test_a_damaged_output_does_not_lose_the_lines_of_runs(split: StoreBuilder) -> None:
    records = [dict(record) for record in split.store.runs()]
    digest = records[0]["results"][0]["outputs"][0]["digest"]
    split.store.object_path(digest).write_bytes(b"other")
    *_, there, said = runs.render(records, split.store.folder).splitlines()
    assert said.startswith("Whether they gave the same bits is not known.")
    assert there.startswith("2 of 2 runs are in ")


def test_what_is_next_after_runs_names_their_store(
    split: StoreBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = split.store.folder
    there = runs.render(list(split.store.runs()), folder).splitlines()[-2]
    assert there.endswith(f"; next: xbackend compare --store {folder}")
    monkeypatch.setenv("XBACKEND_STORE", str(folder))
    there = runs.render(list(split.store.runs()), folder).splitlines()[-2]
    assert there.endswith("; next: xbackend compare")


def test_rows_of_one_backend_are_told_apart_by_the_settings_that_differ(
    bench: StoreBuilder,
) -> None:
    for graph in ("source", "onnx"):
        bench.run({"y": [1.0]}, backend="tf", settings={"threads": 1, "graph": graph, "same": 0})
    bench.run({"y": [1.0]}, settings={"threads": 2, "graph": "other"})
    said = runs.render(list(bench.store.runs()), bench.store.folder).splitlines()
    rows = [line.partition("  ok")[0].split() for line in said[:3]]
    assert rows == [
        ["tf", "float32", "native", "1", "thread", "graph=source"],
        ["tf", "float32", "native", "1", "thread", "graph=onnx"],
        ["ort", "float32", "native", "2", "threads"],
    ]


def test_one_of_a_thing_is_said_in_the_singular(tmp_path: Path) -> None:
    one = ImportResult(added=1, known=1, refusals=1)
    said = "1 run imported, 1 was there already, 1 remark is above; "
    assert render_import(one, tmp_path).startswith(said)
    assert str(CheckedStore("s", {"runs": 1}, ("It is torn.",))).endswith("in s: 1 fault")


def test_help_names_every_format_that_an_unknown_one_is_told_of(
    split: StoreBuilder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(split, "--format", "none-such") == 2
    known = capsys.readouterr().err.partition("Known reports: ")[2].strip(" .\n").split(", ")
    named = FORMATS_HELP.replace(" or ", ", ").split(", ")
    assert set(known) <= set(named)
    assert "export" in known
