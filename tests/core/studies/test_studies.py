"""Studies on runs written by hand: when a finding holds, when it does not, when nobody can tell."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from xbackend.execution.execute import ExecutionContext
from xbackend.execution.progress import ProgressLines
from xbackend.execution.request import RunRequest
from xbackend.store.query import Query, select
from xbackend.store.records import Run
from xbackend.studies.catalogue import find
from xbackend.studies.configuration import SIZES, shipped
from xbackend.studies.paper.placement import summarise_placement
from xbackend.studies.study import StudyContext, StudyResult
from xbackend.testing.store_builder import StoreBuilder

HERE, THERE, BEYOND = "native", "qemu:SandyBridge", "qemu:Haswell"
ONE, TWO = [1.0, 2.0], [1.0, 2.5]
KINDS = ("f1_k3_c3_i6", "f1_k3_c3_i60")
"""The convolutions of the configuration below: 972 and 97,200 multiplications."""
DOUBTFUL = {"emulation_unsafe": ["y"], "emulation_reasons": {"Softmax": "an estimate"}}


class Canned(StudyContext):
    """Takes the runs of a store for those that it should have started."""

    def run(self, request: RunRequest) -> list[Run]:
        """Return the store's runs of the ordered backends that have the ordered settings."""
        wanted = dict(text.split(".", 1)[1].split("=") for text in request.settings)
        found = [
            run
            for run in select(self.context.store, Query())
            if run.row["backend"] in request.backends
            and all(run.row["settings"].get(key) == value for key, value in wanted.items())
        ]
        self.runs += found
        return found


Carry = Callable[..., tuple[StudyResult, str]]


@pytest.fixture
def carry_out(bench: StoreBuilder) -> Carry:
    """Carry out a study on the bench's runs; return its outcome and its sentence."""

    def carry(name: str, **changes: Any) -> tuple[StudyResult, str]:
        study = find(name)
        chosen = {**shipped(name, "small", study.keys), "backends": ["ort"], **changes}
        context = ExecutionContext(bench.store, 1, 60.0, ProgressLines(io.StringIO()))
        outcome = study.run(Canned(chosen, context))
        return outcome, study.sentence(outcome)

    return carry


def convolutions(carry_out: Carry) -> tuple[StudyResult, str]:
    sizes = {"multiplications": [1000, 100000], "filters": [1], "kernels": [3], "channels": 3}
    return carry_out("multiplications", **sizes)


def test_more_multiplications_give_more_classes_where_the_largest_has_more(
    bench: StoreBuilder, carry_out: Carry
) -> None:
    bench.run({KINDS[0]: ONE, KINDS[1]: ONE}, platform=HERE)
    bench.run({KINDS[0]: ONE, KINDS[1]: TWO}, platform=THERE)
    outcome, sentence = convolutions(carry_out)
    assert [row["classes"] for row in outcome.records] == [1, 2]
    assert [row["multiplications"] for row in outcome.records] == [972, 97200]
    assert sentence == (
        "That more multiplications give more classes (Figure 4) holds here for ort (1 of 1 kinds "
        "of convolution gain classes, 0 lose some)."
    )


def test_they_do_not_where_classes_are_lost_or_stay(bench: StoreBuilder, carry_out: Carry) -> None:
    bench.run({KINDS[0]: ONE, KINDS[1]: ONE}, platform=HERE)
    bench.run({KINDS[0]: TWO, KINDS[1]: ONE}, platform=THERE)
    assert convolutions(carry_out)[0].verdicts[0].word == "does not hold"
    bench.run({KINDS[0]: TWO, KINDS[1]: TWO}, platform=BEYOND)
    assert convolutions(carry_out)[0].verdicts[0].word == "does not hold"


def test_one_number_of_multiplications_cannot_tell(bench: StoreBuilder, carry_out: Carry) -> None:
    bench.run({KINDS[0]: ONE}, platform=HERE)
    bench.run({KINDS[0]: TWO}, platform=THERE)
    _, sentence = convolutions(carry_out)
    assert "cannot be told here for ort (it takes two numbers of multiplications)" in sentence


def test_one_platform_cannot_tell(bench: StoreBuilder, carry_out: Carry) -> None:
    bench.run({KINDS[0]: ONE, KINDS[1]: ONE}, platform=HERE)
    outcome, sentence = convolutions(carry_out)
    assert outcome.verdicts[0].word == "cannot be told"
    assert "cannot be told here for ort (it takes two platforms" in sentence


def test_what_an_emulator_may_have_made_is_no_class(bench: StoreBuilder, carry_out: Carry) -> None:
    bench.run({KINDS[0]: ONE, KINDS[1]: ONE}, platform=HERE)
    unsafe = {"emulation_unsafe": list(KINDS), "emulation_reasons": {"Conv": "an estimate"}}
    bench.run({KINDS[0]: ONE, KINDS[1]: TWO}, platform=THERE, **unsafe)
    outcome, _ = convolutions(carry_out)
    assert [row["classes"] for row in outcome.records] == [1, 1]
    assert [row["bits"] for row in outcome.records] == [None, None]
    assert outcome.verdicts[0].word == "cannot be told"
    assert any(
        "emulated Conv" in note and "ort on qemu:SandyBridge" in note for note in outcome.notes
    )


def test_a_backend_without_outputs_is_told_with_its_reason(
    bench: StoreBuilder, carry_out: Carry
) -> None:
    error = {"stage": "import", "symptom": "SIGILL", "message": "It needs AVX."}
    bench.run(None, platform=HERE, status="failed", error=error)
    outcome, sentence = convolutions(carry_out)
    assert "cannot be told here for ort (none of its runs gave outputs)" in sentence
    assert outcome.notes == ("ort on native failed: It needs AVX.",)
    assert not outcome.plot_data


def test_distributions_matter_where_platforms_are_alike_in_one_combination_only(
    bench: StoreBuilder, carry_out: Carry
) -> None:
    chosen = {"weights": ["trained", "glorot"], "inputs": ["real"]}
    same, other = "trained-real", "glorot-real"
    bench.run({same: ONE, other: ONE}, platform=HERE)
    bench.run({same: TWO, other: TWO}, platform=THERE)
    outcome, _ = carry_out("distributions", **chosen)
    assert outcome.verdicts[0].word == "holds"
    bench.run({same: ONE, other: TWO}, platform=BEYOND)
    outcome, _ = carry_out("distributions", **chosen)
    assert outcome.verdicts[0].word == "does not hold"
    classes = {(r["weights"], r["platform"]): r["class"] for r in outcome.records}
    assert classes["trained", BEYOND] == 1
    assert classes["glorot", BEYOND] == 2


def test_threads_change_the_class_only_within_a_platform(
    bench: StoreBuilder, carry_out: Carry
) -> None:
    for platform, values in ((HERE, ONE), (THERE, TWO)):
        for threads in (1, 2):
            bench.run({"y": values}, platform=platform, settings={"threads": threads})
    assert carry_out("cores")[0].verdicts[0].word == "does not hold"
    bench.run({"y": ONE}, platform=THERE, settings={"threads": 4})
    outcome, sentence = carry_out("cores")
    assert "holds here for ort (on 1 of 2 platforms)" in sentence
    assert [r["classes"] for r in outcome.records] == [[1], [1], [2], [2], [1]]


def test_threads_cannot_be_judged_by_an_emulated_output_but_by_a_layer_before_it(
    bench: StoreBuilder, carry_out: Carry
) -> None:
    for threads, values in ((1, ONE), (2, TWO)):
        settings = {"threads": threads}
        bench.run({"y": values}, {"conv": ONE}, platform=THERE, settings=settings, **DOUBTFUL)
    assert carry_out("cores")[0].verdicts[0].word == "cannot be told"
    settings = {"threads": 4}
    bench.run({"y": ONE}, {"conv": TWO}, platform=THERE, settings=settings, **DOUBTFUL)
    assert carry_out("cores")[0].verdicts[0].word == "holds"


def test_repeats_race_where_one_has_other_bits(bench: StoreBuilder, carry_out: Carry) -> None:
    for repeat in (0, 1):
        bench.run({"y": ONE}, platform=HERE, repeat=repeat)
        bench.run({"y": TWO}, platform=THERE, repeat=repeat)
    assert carry_out("races")[0].verdicts[0].word == "holds"
    bench.run({"y": ONE}, platform=THERE, repeat=2)
    outcome, sentence = carry_out("races")
    assert "repeats differ in 1 of 2, such as 1 threads on qemu:SandyBridge" in sentence
    assert [(r["repeats"], r["classes"]) for r in outcome.records] == [(2, 1), (3, 2)]


def test_a_compiler_is_behind_deviations_only_if_there_are_none_without_it(
    bench: StoreBuilder, carry_out: Carry
) -> None:
    chosen = {"variants": ["ort.mode=plain", "ort.mode=xla"]}

    def run(mode: str, platform: str, values: list[float]) -> None:
        bench.run({"y": values}, platform=platform, settings={"threads": 1, "mode": mode})

    run("plain", HERE, ONE)
    run("xla", HERE, TWO)
    assert "one platform; mode=xla changes bits on 1 of 1" in carry_out("xla", **chosen)[1]
    run("plain", THERE, ONE)
    run("xla", THERE, ONE)
    assert carry_out("xla", **chosen)[0].verdicts[0].word == "does not hold"
    run("plain", BEYOND, TWO)
    assert carry_out("xla", **chosen)[0].verdicts[0].word == "holds"


def test_placement_explains_deviations_only_where_they_go_with_it(
    bench: StoreBuilder, carry_out: Carry
) -> None:
    bench.run({"y": ONE}, platform=HERE, facts={"nodes": {"CPU": ["Conv a"]}})
    assert "cannot be told here for ort (it takes two platforms)" in carry_out("placement")[1]
    bench.run({"y": TWO}, platform=THERE, facts={"nodes": {"GPU": ["Conv a"]}})
    outcome, _ = carry_out("placement")
    assert outcome.verdicts[0].word == "does not hold"
    assert not any("No GPU took part" in note for note in outcome.notes)
    assert [(r["placement"], r["alike"]) for r in outcome.records] == [
        ("CPU 1", True),
        ("GPU 1", False),
    ]
    bench.run({"y": TWO}, platform=BEYOND, facts={"nodes": {"CPU": ["Conv a"]}})
    assert carry_out("placement")[0].verdicts[0].word == "holds"


def test_placements_that_are_not_recorded_tell_nothing(
    bench: StoreBuilder, carry_out: Carry
) -> None:
    bench.run({"y": ONE}, platform=HERE)
    bench.run({"y": TWO}, platform=THERE)
    outcome, sentence = carry_out("placement")
    assert "it does not say where operations ran" in sentence
    assert any("No GPU took part" in note for note in outcome.notes)


def test_placements_are_counted_whatever_a_backend_calls_them() -> None:
    assert summarise_placement({"a": "GPU:0", "b": "CPU:0"}) == "CPU:0 1, GPU:0 1"
    assert summarise_placement("cuda") == "cuda"
    assert summarise_placement(None) == "–"


@pytest.mark.parametrize("size", SIZES)
def test_every_shipped_configuration_is_sound_and_whole(size: str) -> None:
    from xbackend.studies.catalogue import studies

    for study in studies():
        found = shipped(study.name, size, study.keys)
        assert sorted(found) == sorted(key.name for key in study.keys)


def test_every_shipped_configuration_is_of_a_study(root: Path) -> None:
    from xbackend.studies.catalogue import NAMES

    folder = root / "xbackend" / "studies" / "configurations"
    names = {path.name for path in folder.iterdir()}
    assert names == {f"{name}.{size}.json" for name in NAMES for size in SIZES}


CHAIN = [
    {"tap": "conv", "layer": 0, "operator": "Conv", "inputs": ["x"]},
    {"tap": "relu", "layer": 1, "operator": "Relu", "inputs": ["conv"]},
    {"tap": "y", "layer": 2, "operator": "Softmax", "inputs": ["relu"]},
]


def through(
    bench: StoreBuilder, platform: str, conv: list[float], y: list[float], **more: Any
) -> None:
    """Write a run whose input has the same bits everywhere; ReLU passes on what it reads."""
    result = bench.result("0", {"y": y}, {"conv": conv, "relu": conv})
    result["inputs"] = [{"name": "x", "dtype": "float32", "shape": [1], "digest": "e" * 64}]
    bench.write(results=[result], taps_neutral=True, platform=platform, layers=CHAIN, **more)


def test_deviations_begin_where_a_layer_parts_runs_that_read_the_same_bits(
    bench: StoreBuilder, carry_out: Carry
) -> None:
    through(bench, HERE, ONE, ONE)
    through(bench, THERE, TWO, TWO)
    outcome, sentence = carry_out("layers")
    assert "holds here for ort (classes are born in 1 Conv of 3 layers)" in sentence
    assert [(r["operator"], r["classes"], r["born"]) for r in outcome.records] == [
        ("Conv", 2, 1),
        ("Relu", 2, 0),
        ("Softmax", 2, 0),
    ]
    through(bench, BEYOND, ONE, TWO)
    _, sentence = carry_out("layers")
    assert "does not hold here for ort (classes are born in 1 Conv, 1 Softmax of 3 layers)" in (
        sentence
    )


def test_a_class_that_emulation_bears_is_no_beginning(
    bench: StoreBuilder, carry_out: Carry
) -> None:
    through(bench, HERE, ONE, ONE)
    through(bench, THERE, ONE, TWO, **DOUBTFUL)
    outcome, sentence = carry_out("layers")
    assert "cannot be told here for ort (no recorded layer bears a class)" in sentence
    assert outcome.records[-1]["born_by_emulation"] == 1


def test_activations_remove_deviations_where_fewer_values_deviate_after_them(
    bench: StoreBuilder, carry_out: Carry
) -> None:
    def run(platform: str, before: list[float], after: list[float], **more: Any) -> None:
        bench.run(
            {"y": ONE}, {"conv": before, "relu": after}, platform=platform, layers=CHAIN, **more
        )

    run(HERE, [1.0, -2.0], [1.0, 0.0])
    run(THERE, [1.5, -2.5], [1.5, 0.0])
    outcome, sentence = carry_out("activations", models=["net"])
    assert "holds here for ort (Relu 100.0% to 50.0%)" in sentence
    (record,) = outcome.records
    assert (record["deviating_fraction_before"], record["deviating_fraction_after"]) == (1.0, 0.5)
    assert record["change"] == "keeps"
    unsafe = {"emulation_unsafe": ["relu", "y"], "emulation_reasons": {"Relu": "an estimate"}}
    run(BEYOND, [1.0, -2.0], [9.0, 9.0], **unsafe)
    assert carry_out("activations", models=["net"])[1] == sentence


def test_activations_that_let_as_many_deviate_remove_nothing(
    bench: StoreBuilder, carry_out: Carry
) -> None:
    for platform, values in ((HERE, ONE), (THERE, TWO)):
        bench.run({"y": ONE}, {"conv": values, "relu": values}, platform=platform, layers=CHAIN)
    assert carry_out("activations", models=["net"])[0].verdicts[0].word == "does not hold"
