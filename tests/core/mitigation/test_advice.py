"""The sentence that says what to use, and the order of the table, from rows made by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from xbackend.mitigation.consistency import Consistency
from xbackend.mitigation.recommend import recommend
from xbackend.mitigation.results import ALL_BACKENDS, MitigationResult


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
    assert recommend(rows, "net") == f"For net use {said}."


def test_a_mitigation_that_lost_a_run_or_changed_nothing_is_no_advice() -> None:
    lost = row("ort", "lost", 3, 1)
    lost = replace(lost, after=Consistency(2, 1, None, 0))
    idle = replace(row("ort", "idle", 3, 1), unchanged=True)
    assert "nothing here leaves fewer" in recommend([PLAIN, lost, idle], "net")


def test_a_flipped_label_is_worse_than_any_time() -> None:
    flipping = row("ort", "flipping", 3, 1, 0.5)
    flipping = replace(flipping, after=Consistency(4, 1, None, 1))
    assert "with safe" in recommend([PLAIN, flipping, row("ort", "safe", 3, 1, 30.0)], "net")


def test_all_backends_together_come_last() -> None:
    together = [row(ALL_BACKENDS, "", 5, 5), row(ALL_BACKENDS, "half", 5, 4)]
    said = recommend([PLAIN, *together], "net")
    assert said.endswith(
        "; nothing here gives all backends the same bits (5 classes as they are, 4 with half)."
    )
    said = recommend([PLAIN, *together, row(ALL_BACKENDS, "all", 5, 1, 3.0)], "net")
    assert "; for the same bits in all backends all (one class, about 3 times" in said
