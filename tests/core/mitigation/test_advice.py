"""The sentence that says what to use, and the order of the table, from rows made by hand."""

from __future__ import annotations

import random
import re
from dataclasses import replace

import pytest

from xbackend.comparison.measurement import Measurer
from xbackend.mitigation.consistency import Consistency
from xbackend.mitigation.results import (
    ALL_BACKENDS,
    Evaluator,
    MitigationResult,
    evaluate_trials,
)
from xbackend.mitigation.trials import Trial, without_needless
from xbackend.plugins.mitigation import BackendChange, Mitigation
from xbackend.reports.wording.mitigations import recommendation
from xbackend.store.records import read_run
from xbackend.testing.store_builder import StoreBuilder


def row(
    backend: str, name: str, was: int, now: int, time: float = 1.0, fidelity: float = 20.0
) -> MitigationResult:
    before, after = (Consistency(4, count, None if count == 1 else 9, 0) for count in (was, now))
    return MitigationResult(backend, name, before, after, time=time, fidelity=fidelity)


PLAIN = row("ort", "", 3, 3)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([row("ort", "", 1, 1)], "ort as it is (one class of 4 runs)"),
        (
            [PLAIN, row("ort", "slow", 3, 1, 9.0), row("ort", "quick", 3, 1, 2.0)],
            "ort with quick (one class, about 2 times the time, 20 bits of fidelity instead of 20)",
        ),
        (
            [PLAIN, row("ort", "crude", 3, 1, 1.0, 5.0), row("ort", "slow", 3, 1, 9.0)],
            "ort with slow (one class, about 9 times the time, 20 bits of fidelity instead of 20)",
        ),
        (
            [PLAIN, row("ort", "near", 3, 1, 1.0, 19.9), row("ort", "slow", 3, 1, 9.0)],
            "ort with near (one class, about 1 times the time, 20 bits of fidelity instead of 20)",
        ),
        ([PLAIN, row("ort", "half", 3, 2)], "ort with half, which leaves 2 of 3 classes"),
        (
            [PLAIN, row("ort", "vain", 3, 3)],
            "ort as it is, as nothing here leaves fewer than its 3 classes",
        ),
    ],
    ids=[
        "nothing is needed",
        "the quicker",
        "the truer",
        "the quicker of two true ones",
        "fewer",
        "in vain",
    ],
)
def test_one_backend_is_told_what_to_use(rows: list[MitigationResult], said: str) -> None:
    assert recommendation(rows, "net") == f"For net use {said}."


def test_a_mitigation_that_lost_a_run_or_changed_nothing_is_no_advice() -> None:
    lost = row("ort", "lost", 3, 1)
    lost = replace(lost, after=Consistency(2, 1, None, 0))
    idle = replace(row("ort", "idle", 3, 1), unchanged=True)
    assert "nothing here leaves fewer" in recommendation([PLAIN, lost, idle], "net")


def test_a_flipped_label_is_worse_than_any_time() -> None:
    flipping = row("ort", "flipping", 3, 1, 0.5)
    flipping = replace(flipping, after=Consistency(4, 1, None, 1))
    assert "with safe" in recommendation([PLAIN, flipping, row("ort", "safe", 3, 1, 30.0)], "net")


def test_all_backends_together_come_last() -> None:
    together = [row(ALL_BACKENDS, "", 5, 5), row(ALL_BACKENDS, "half", 5, 4)]
    said = recommendation([PLAIN, *together], "net")
    assert said.endswith(
        "; nothing here gives all backends the same bits (5 classes as they are, 4 with half)."
    )
    said = recommendation([PLAIN, *together, row(ALL_BACKENDS, "all", 5, 1, 3.0)], "net")
    assert "; for the same bits in all backends all (one class, about 3 times" in said


def test_one_thread_that_makes_one_run_of_several_is_advice(bench: StoreBuilder) -> None:
    """Two numbers of threads gave two classes; with one there is one run left, and no loss."""
    for threads, value in ((1, 1.0), (2, 2.0)):
        bench.run({"y": [value, 0.0]}, settings={"threads": threads})
    both = [read_run(record) for record in bench.store.runs()]
    plain = Trial("ort", "", BackendChange(), tuple(both))
    single = Trial("ort", "one-thread", BackendChange(threads=1), tuple(both[:1]))
    rows = evaluate_trials([plain, single], Evaluator.of(bench.store, None, {}))
    assert [(row.mitigation, row.incomplete) for row in rows] == [
        ("", False),
        ("one-thread", False),
    ]
    assert recommendation(rows, "net").startswith(
        "For net use ort with one-thread (one run is left"
    )


def test_a_run_that_is_lost_besides_threads_is_a_loss(bench: StoreBuilder) -> None:
    for platform in ("native", "qemu:Haswell"):
        for threads, value in ((1, 1.0), (2, 2.0)):
            bench.run({"y": [value, 0.0]}, settings={"threads": threads}, platform=platform)
    every = [read_run(record) for record in bench.store.runs()]
    plain = Trial("ort", "", BackendChange(), tuple(every))
    single = Trial("ort", "one-thread", BackendChange(threads=1), tuple(every[:1]))
    rows = evaluate_trials([plain, single], Evaluator.of(bench.store, None, {}))
    assert rows[1].incomplete
    said = recommendation(rows, "net")
    assert "nothing here leaves fewer than its 2 classes without losing runs" in said


def test_a_replacement_is_called_one_and_comes_after_what_keeps_the_backend() -> None:
    swap = replace(row("ort", "flat-graph", 3, 1, 0.5), replaced_by="tflite")
    assert "use tflite in place of ort, by flat-graph (" in recommendation([PLAIN, swap], "net")
    assert "use ort with slow (" in recommendation(
        [PLAIN, swap, row("ort", "slow", 3, 1, 9.0)], "net"
    )
    together = [row(ALL_BACKENDS, "", 5, 5), replace(swap, backend=ALL_BACKENDS)]
    assert recommendation([PLAIN, *together], "net").endswith(
        "; nothing here gives all backends the same bits but a replacement: tflite in place of "
        "others, by flat-graph (one class, about 0.5 times the time, 20 bits of fidelity instead "
        "of 20)."
    )


def _trials(bench: StoreBuilder, values: dict[str, list[float]]) -> list[Trial]:
    for backend, of in values.items():
        for threads, value in enumerate(of, 1):
            bench.run({"y": [value, 0.0]}, backend=backend, settings={"threads": threads})
    runs = [read_run(record) for record in bench.store.runs()]
    return [
        Trial(word, "", BackendChange(), tuple(run for run in runs if run.row["backend"] == word))
        for word in values
    ]


@pytest.mark.parametrize(
    ("values", "kept", "said"),
    [
        ({"ort": [1, 1], "tf": [1, 1]}, [], "all backends give the same bits as they are"),
        ({"ort": [1, 1], "tf": [2, 2]}, ["both"], "every backend gives the same bits"),
        ({"ort": [1, 2], "tf": [2, 2]}, ["both", "ort alone"], ""),
        ({"ort": [1], "tf": [2]}, ["both", "ort alone"], ""),
    ],
)
def test_what_cannot_remove_a_difference_is_not_tried(
    bench: StoreBuilder, values: dict[str, list[float]], kept: list[str], said: str
) -> None:
    known = [
        Mitigation("both", "", {"ort": BackendChange(), "tf": BackendChange()}),
        Mitigation("ort alone", "", {"ort": BackendChange()}),
    ]
    found, why = without_needless(_trials(bench, values), known, Measurer(bench.store))
    assert [each.name for each in found] == kept
    assert why.startswith(said)
    assert bool(why) == bool(said)


@pytest.mark.parametrize("first", range(0, 4000, 400))
def test_no_advice_contradicts_the_rows_beside_it(first: int) -> None:
    for seed in range(first, first + 400):
        check_advice(random.Random(seed))


def check_advice(draw: random.Random) -> None:
    """Hold what the sentence claims of each row against what is counted from the rows alone."""
    was = draw.choice([1, 2, 3])
    rows = [row("ort", "", was, was)]
    for number in range(draw.randrange(5)):
        made = row("ort", f"m{number}", was, draw.choice([1, 2, 3]), draw.choice([1.0, 2.0]))
        runs = draw.choice([4, 4, 3])
        assert made.after is not None
        after = replace(made.after, runs=runs, flips=draw.choice([0, 0, 1]))
        made = replace(made, after=after, unchanged=draw.random() < 0.1)
        rows.append(replace(made, replaced_by=draw.choice(["", "", "tflite"])))
    said = recommendation(rows, "net")
    whole = [
        each for each in rows[1:]
        if each.after is not None and each.after.runs == 4 and not each.unchanged
    ]  # fmt: skip
    fewest = min((each.after.classes for each in whole if each.after), default=was)
    named = re.search(r"(?:with|by) (m\d)", said)
    if was == 1:
        assert said == "For net use ort as it is (one class of 4 runs)."
    elif fewest >= was:
        assert "as nothing here leaves fewer" in said
        short = [e for e in rows[1:] if e.after and e.after.runs < 4 and e.after.classes < was]
        assert ("without losing runs" in said) == bool(short)
    else:
        assert named is not None
        chosen = next(each for each in whole if each.mitigation == named[1])
        assert chosen.after is not None
        assert chosen.after.classes == fewest
        assert ("in place of" in said) == bool(chosen.replaced_by)
        assert ("one class" in said) == (fewest == 1)
