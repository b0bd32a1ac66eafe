"""What `explain` says: each statement with its evidence, and what to type next."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from xbackend.comparison.compare import compare
from xbackend.comparison.findings import INHERITED, OWN, Isolation, LayerVerdict
from xbackend.facts.explanation import Grade, explain
from xbackend.facts.next_commands import Purpose
from xbackend.facts.outcome import Outcome
from xbackend.numerics.metrics import Metrics
from xbackend.plugins import registry
from xbackend.reports import answer
from xbackend.reports import explain as report
from xbackend.store.store import Store
from xbackend.testing.store_builder import StoreBuilder

ZERO = Metrics(23, 0, 0.0, 0.0)
FAILED = {"stage": "run", "symptom": "SIGILL", "message": "It died."}


@pytest.fixture
def split(bench: StoreBuilder) -> StoreBuilder:
    """Two backends, one of them with two numbers of threads, in three classes."""
    bench.run({"y": [0.25, 0.5]}, {"conv": [1.0], "relu": [1.0]})
    bench.run({"y": [0.25, 0.6]}, {"conv": [1.0], "relu": [2.0]}, backend="torch")
    settings = {"threads": 2}
    bench.run({"y": [0.7, 0.5]}, {"conv": [1.0], "relu": [3.0]}, backend="torch", settings=settings)
    return bench


def said(bench: StoreBuilder) -> str:
    return " ".join(report.render(bench.compare()).split())


def test_the_verdict_says_what_is_recorded_and_never_that_it_is_rounding(
    split: StoreBuilder,
) -> None:
    (found,) = explain(split.compare()).cohorts
    assert (found.verdict_grade, found.rounding) == (Grade.RECORDED, Grade.NOT_JUDGED)
    assert found.facts.outcome is Outcome.DIFFERENT_BITS
    text = said(split)
    assert "Whether rounding alone makes the difference is not known. [not judged]" in text
    assert "at least 0 of 23 mantissa bits agree; labels flip in 1 run. [recorded]" in text


def test_the_runs_on_each_side_of_the_first_difference_are_named(split: StoreBuilder) -> None:
    assert (
        "At layer 1 (Relu, tap 'relu'), input '0', the runs part so: ort 1.0, native | torch 1.0, "
        "native, threads=1 | torch 1.0, native, threads=2. [recorded]"
    ) in said(split)


def test_a_setting_that_alone_was_switched_is_shown_and_a_platform_goes_with(
    split: StoreBuilder,
) -> None:
    where = {"platform": "qemu:Haswell", "hardware": {"flags": ["avx2"]}}
    split.run({"y": [0.25, 0.5]}, {"conv": [1.0], "relu": [1.0]}, **where)
    text = said(split)
    assert "torch: threads 1 → 2 changes bits of the outputs. [shown by switching]" in text
    assert "ort: platform native → qemu:Haswell does not change bits of the outputs. [goes" in text


def test_what_a_library_chooses_by_the_processor_is_part_of_the_platform(
    bench: StoreBuilder,
) -> None:
    for platform, core in (("native", "Haswell"), ("qemu:SandyBridge", "Sandybridge")):
        versions = {"ort": "1.0", "openblas_core": core}
        bench.run({"y": [float(len(core)), 2.0]}, platform=platform, versions=versions)
    text = said(bench)
    assert (
        "ort: platform native → qemu:SandyBridge changes bits of the outputs. [goes with]" in text
    )
    assert "No two runs differ" not in text


def test_of_many_platforms_those_with_the_same_bits_are_named_together(bench: StoreBuilder) -> None:
    for number, value in enumerate([1.0, 1.0, 2.0, 1.0, 2.0]):
        bench.run({"y": [value, 0.5]}, platform=f"p{number}", backend="torch")
    text = said(bench)
    assert "torch: 5 platforms give 2 classes of bits: p0, p1, p3 | p2, p4. [goes with]" in text
    assert "→" not in text


def test_more_than_a_hundred_rows_are_searched_for_switches(bench: StoreBuilder) -> None:
    """Three numbers of threads on 50 platforms; eight threads alone give other bits."""
    for number in range(150):
        threads = (1, 2, 8)[number % 3]
        bench.run(
            {"y": [2.0 if threads == 8 else 1.0]},
            backend="torch",
            platform=f"cores:{number // 3}",
            settings={"threads": threads},
        )
    text = said(bench)
    assert "torch: threads 1 → 2 does not change bits of the outputs. [shown by switching]" in text
    assert "torch: threads 1 → 8 changes bits of the outputs. [shown by switching]" in text
    assert re.search(
        r"torch: 50 platforms give the same bits: (cores:\d+, ){2}cores:\d+ and 47 more", text
    )


def test_of_more_alike_than_can_be_paired_each_is_held_against_the_first(
    bench: StoreBuilder,
) -> None:
    for number in range(120):
        bench.run({"y": [float(number >= 100)]}, backend="torch", platform=f"p{number}")
    assert "torch: 120 platforms: of 119 pairs 20 give other bits of the outputs." in said(bench)


def test_another_version_is_no_part_of_the_platform(bench: StoreBuilder) -> None:
    for platform, version in (("native", "1.0"), ("qemu:SandyBridge", "1.1")):
        bench.run({"y": [float(version), 2.0]}, platform=platform, versions={"openblas": version})
    assert "No two runs differ in one setting or platform only" in said(bench)


@pytest.mark.parametrize(
    ("platforms", "flags", "grade"),
    [
        (("qemu:Haswell", "qemu:Haswell,-fma"), (["avx2", "fma"], ["avx2"]), "shown by switching"),
        (
            ("qemu:Haswell,-fma+python:/p", "qemu:Haswell,+fma+python:/p"),
            (["avx2"], ["avx2", "fma"]),
            "shown by switching",
        ),
        (("qemu:Haswell", "qemu:Haswell,-avx"), (["avx", "avx2", "fma"], []), "goes with"),
        (("qemu:Haswell", "qemu:Haswell,-avx,-fma"), (["avx2", "fma"], ["avx2"]), "goes with"),
        (("qemu:Haswell", "qemu:SandyBridge"), (["avx2", "fma"], ["avx2"]), "goes with"),
        (("native", "qemu:Haswell,-fma"), (["avx2", "fma"], ["avx2"]), "goes with"),
    ],
)
def test_one_feature_of_an_emulated_processor_is_one_switch(
    bench: StoreBuilder, platforms: tuple[str, str], flags: tuple[list[str], list[str]], grade: str
) -> None:
    for value, platform, has in zip((1.0, 1.5), platforms, flags, strict=True):
        bench.run({"y": [value, 2.0]}, platform=platform, hardware={"flags": has})
    assert f"{platforms[0]} → {platforms[1]} changes bits of the outputs. [{grade}]" in said(bench)


def test_two_things_at_once_show_nothing(bench: StoreBuilder) -> None:
    bench.run({"y": [1.0, 2.0]}, settings={"threads": 1, "mode": "a"})
    bench.run({"y": [1.5, 2.0]}, settings={"threads": 2, "mode": "b"})
    assert "No two runs differ in one setting or platform only" in said(bench)


def test_a_run_that_contradicts_its_repeat_shows_nothing_of_settings(bench: StoreBuilder) -> None:
    for repeat, value in enumerate((1.0, 1.5)):
        bench.run({"y": [value, 2.0]}, repeat=repeat)
    bench.run({"y": [1.0, 2.0]}, settings={"threads": 2})
    text = said(bench)
    assert "Not deterministic" in text
    assert "threads 1 → 2" not in text


def test_isolated_layers_are_proved_by_replay(split: StoreBuilder) -> None:
    compared = split.compare()
    one, other = compared.runs[:2]
    layers = tuple(
        LayerVerdict(tap, n, "Relu", verdict, "", ZERO, ZERO, ZERO, False)
        for n, (tap, verdict) in enumerate((("relu", OWN), ("y", INHERITED)))
    )
    found = replace(compared, isolations=(Isolation(one, other, ("0",), layers, ()),))
    text = " ".join(report.render(found).split())
    assert (
        "torch float32, native against ort float32, native: Of 2 layers, layer 0 (Relu, tap "
        "'relu') alone has an error of its own; 1 other only inherits one. [proved by replay]"
    ) in text
    assert Purpose.ISOLATE not in [each.purpose for each in explain(found).cohorts[0].next]


@pytest.fixture
def _usual_store(bench: StoreBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XBACKEND_STORE", str(bench.store.folder))


@pytest.mark.usefixtures("_usual_store")
def test_the_next_commands_can_be_typed_and_say_how_long_they_take(split: StoreBuilder) -> None:
    (found,) = explain(split.compare()).cohorts
    by_purpose = {each.purpose: each for each in found.next}
    isolate = by_purpose[Purpose.ISOLATE]
    assert isolate.command == "xbackend compare --model net --isolate"
    assert isolate.seconds == 1.5
    assert by_purpose[Purpose.REDUCE].command == "xbackend reduce --runs run-0,run-1"
    assert by_purpose[Purpose.MITIGATE].command == (
        "xbackend mitigate net.onnx --backends ort,torch --threads 1,2"
    )
    assert "Next, whose error is its own (about 2 seconds):" in said(split)


def test_how_long_runs_of_the_kind_took_last_counts(split: StoreBuilder) -> None:
    kind = f"{'d' * 16} ort float32 native 1"
    durations = json.dumps({kind: 100.0}).encode()
    split.store.write_file(split.store.folder / "durations.json", durations)
    (found,) = explain(split.compare()).cohorts
    seconds = {each.purpose: each.seconds for each in found.next}
    assert seconds[Purpose.ISOLATE] == 101.0


@pytest.mark.usefixtures("_usual_store")
def test_names_are_quoted_for_the_shell(bench: StoreBuilder) -> None:
    model = {"name": "a b", "digest": "d" * 64, "source": "a b;rm.onnx"}
    bench.run({"y": [1.0, 2.0]}, model=model)
    (found,) = explain(bench.compare()).cohorts
    assert [each.command for each in found.next] == ["xbackend run 'a b;rm.onnx'"]


def test_the_next_commands_name_the_store_and_what_the_runs_were_chosen_by(
    split: StoreBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(split.store.folder.parent)
    store = Store(Path(split.store.folder.name).rename("two words"))
    found = explain(compare(store, where=("platform=native", "settings.threads=1"))).cohorts[0]
    by_purpose = {each.purpose: each.command for each in found.next}
    assert by_purpose[Purpose.ISOLATE] == (
        "xbackend compare --model net --where platform=native --where settings.threads=1 "
        "--isolate --store 'two words'"
    )
    assert by_purpose[Purpose.CERTIFY] == (
        "xbackend explain --model net --where platform=native --where settings.threads=1 "
        "--certify --store 'two words'"
    )
    assert all(each.endswith(" --store 'two words'") for each in by_purpose.values())


@pytest.mark.usefixtures("_usual_store")
def test_only_runs_of_the_graph_are_to_be_reduced_or_certified(bench: StoreBuilder) -> None:
    source = {"threads": 1, "graph": "source"}
    bench.run({"y": [1.0, 2.0]}, {"conv": [1.0]}, backend="tf", settings=source)
    bench.run({"y": [1.5, 2.0]}, {"conv": [2.0]})
    (found,) = explain(bench.compare()).cohorts
    assert Purpose.REDUCE not in [each.purpose for each in found.next]
    bench.run({"y": [1.0, 2.0]}, {"conv": [1.0]}, backend="tf", settings={"graph": "onnx"})
    (found,) = explain(bench.compare()).cohorts
    commands = [each.command for each in found.next]
    assert "xbackend reduce --runs run-2,run-1" in commands


@pytest.mark.usefixtures("_usual_store")
def test_a_lone_run_of_integers_is_compared_with_those_of_other_backends(
    bench: StoreBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "available_backends", lambda: ["fixed", "ort", "torch"])
    bench.run({"y": np.int8([[1, 2]])}, precision="int8", backend="fixed")
    (found,) = explain(bench.compare()).cohorts
    (command,) = (each.command for each in found.next)
    assert command == "xbackend run net.onnx --precision int8 --backends ort,fixed"


def test_nothing_is_next_where_all_agree(bench: StoreBuilder) -> None:
    for _ in range(2):
        bench.run({"y": [1.0, 2.0]})
    (found,) = explain(bench.compare()).cohorts
    assert (found.next, found.verdict_grade) == ((), Grade.RECORDED)


def test_runs_that_all_stopped_are_said_to_have_been_compared_with_nothing(
    bench: StoreBuilder,
) -> None:
    bench.run(None, status="failed", error=FAILED)
    bench.run(None, status="skipped", error=FAILED)
    bench.run(None, status="skipped", error=FAILED)
    text = "No run gave an output: there is nothing to compare."
    stopped = "Of 3 runs 1 failed and 2 were skipped."
    assert said(bench) == f"{text} {stopped} See 'xbackend compare'."
    assert answer.render(bench.compare()) == f"{text} {stopped}\n"


def test_the_answer_of_a_run_is_one_line(split: StoreBuilder) -> None:
    assert answer.render(split.compare()) == (
        "Other bits: 3 classes in 3 runs; at least 0 of 23 mantissa bits agree; labels flip in 1 "
        "run.\n"
    )


def test_several_cohorts_are_named_in_the_answer(bench: StoreBuilder) -> None:
    for precision, values in (("float32", np.float32([[1, 2]])), ("float16", np.float16([[1, 2]]))):
        for _ in range(2):
            bench.run({"y": values}, precision=precision)
    assert answer.render(bench.compare()).splitlines() == [
        "net, float32, 1 input, 2 runs: The same bits in 2 runs.",
        "net, float16, 1 input, 2 runs: The same bits in 2 runs.",
    ]


@pytest.mark.parametrize(("name", "shown"), [("OMP_NUM_THREADS", True), ("MALLOC_CHECK_", False)])
def test_a_variable_that_hands_a_setting_on_is_no_second_difference(
    bench: StoreBuilder, name: str, shown: bool
) -> None:
    for threads, value in ((1, 1.0), (2, 1.5)):
        bench.run(
            {"y": [value, 2.0]},
            backend="torch",
            settings={"threads": threads},
            software={"environment": {name: str(threads)}},
        )
    assert ("torch: threads 1 → 2 changes bits" in said(bench)) == shown


def test_a_class_that_rests_on_emulation_is_graded_so(bench: StoreBuilder) -> None:
    bench.run({"y": [1.0, 2.0]}, {"conv": [1.0]})
    unsafe = {"emulation_unsafe": ["y"], "emulation_reasons": {"Softmax": "rcpps"}}
    bench.run({"y": [1.5, 2.0]}, {"conv": [1.0]}, platform="qemu:Haswell", **unsafe)
    (found,) = explain(bench.compare()).cohorts
    assert found.verdict_grade is Grade.EMULATED
    text = said(bench)
    assert "mantissa bits agree; no label flips. [rests on emulation]" in text
    assert "Class 2 rests on emulated Softmax alone and is no finding; at layer 0" in text
