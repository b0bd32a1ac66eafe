"""What to use for a model, from what the mitigations did: values, which reports put into words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from xbackend.mitigation.results import ALL_BACKENDS, MitigationResult

STEP = 4.0
"""Bits of fidelity within which the time decides between two mitigations."""


class AdviceKind(Enum):
    """What is to be said of a backend, or of all together."""

    RAN_ONCE = "as it is, which ran once only"
    ONE_CLASS = "as it is, as all runs give the same bits"
    USE = "a mitigation, with which all runs give the same bits"
    FEWER = "a mitigation that leaves fewer classes"
    NOTHING = "as it is, as nothing leaves fewer classes"


@dataclass(frozen=True)
class Price:
    """What a mitigation costs."""

    one_run_left: bool
    """Whether one class is one run, so that nothing else could differ from it."""
    time: float | None
    """Seconds of an inference, as a ratio to those without it."""
    fidelity: tuple[float, float] | None
    """Bits with it and without; None where either is not known."""


@dataclass(frozen=True)
class Advice:
    """What to use of one backend, or of all together."""

    backend: str
    """Its word, or `ALL_BACKENDS`."""
    kind: AdviceKind
    runs: int
    """Runs as it is."""
    classes: int
    """Of the runs as it is."""
    left: int
    """Classes that are left with what is advised, or with what leaves fewest."""
    chosen: MitigationResult | None
    """The mitigation, or in vain the one that leaves fewest; None where it is used as it is."""
    price: Price | None
    """Where all runs give the same bits with what is chosen."""
    loses_runs: bool
    """Whether another one leaves fewer classes only because runs were lost."""


def advise(rows: Sequence[MitigationResult]) -> tuple[Advice, ...]:
    """Return what to use of each backend that ran, then of all together where there are several."""
    words = list(dict.fromkeys(row.backend for row in rows if row.backend != ALL_BACKENDS))
    found = (_advice(word, rows) for word in [*words, ALL_BACKENDS])
    return tuple(each for each in found if each is not None)


def _advice(word: str, every: Sequence[MitigationResult]) -> Advice | None:
    """Return what is to be said of a word's rows; None where it gave nothing."""
    rows = [row for row in every if row.backend == word]
    plain = next((row for row in rows if not row.mitigation), None)
    if plain is None or plain.after is None:
        return None
    before = plain.after
    kind, chosen = _choice(rows, plain)
    left = before.classes if chosen is None or chosen.after is None else chosen.after.classes
    threshold = 2 if word == ALL_BACKENDS else before.classes
    return Advice(
        backend=word,
        kind=kind,
        runs=before.runs,
        classes=before.classes,
        left=left,
        chosen=chosen,
        price=_price(chosen, plain) if kind is AdviceKind.USE and chosen else None,
        loses_runs=_loses_runs(rows, threshold),
    )


def _choice(
    rows: Sequence[MitigationResult], plain: MitigationResult
) -> tuple[AdviceKind, MitigationResult | None]:
    assert plain.after is not None
    if plain.backend != ALL_BACKENDS and plain.after.runs == 1:
        return AdviceKind.RAN_ONCE, None
    if plain.after.classes == 1:
        return AdviceKind.ONE_CLASS, None
    best = _best(rows, plain)
    if best is not None:
        return AdviceKind.USE, best
    if plain.backend == ALL_BACKENDS:
        fewest = min([plain, *_tried(rows)], key=_merit)
        return AdviceKind.NOTHING, fewest if fewest.mitigation else None
    fewest = min(_tried(rows), key=_merit, default=plain)
    if fewest.after is None or fewest.after.classes >= plain.after.classes:
        return AdviceKind.NOTHING, None
    return AdviceKind.FEWER, fewest


def _loses_runs(rows: Sequence[MitigationResult], classes: int) -> bool:
    """Tell whether a mitigation left fewer classes, but not of all runs."""
    found = (row.after for row in rows if row.mitigation and row.incomplete)
    return any(after.classes < classes for after in found if after is not None)


def _tried(rows: Sequence[MitigationResult]) -> list[MitigationResult]:
    """Return rows of mitigations that ran everywhere and changed something."""
    tried = (row for row in rows if row.mitigation and row.after is not None)
    return [row for row in tried if not row.unchanged and not row.incomplete]


def _best(rows: Sequence[MitigationResult], plain: MitigationResult) -> MitigationResult | None:
    """Return the cheapest row with one class: no flips, little fidelity lost, least time.

    What replaces the backend comes after all that keeps it.
    """
    working = [row for row in _tried(rows) if row.works]

    def cost(row: MitigationResult) -> tuple[bool, bool, int, float]:
        time = row.time if row.time else math.inf
        return (_flips(row) > 0, bool(row.replaced_by), _lost(row, plain), time)

    return min(working, key=cost, default=None)


def _flips(row: MitigationResult) -> int:
    return row.after.flips if row.after is not None else 0


def _lost(row: MitigationResult, plain: MitigationResult) -> int:
    """Return how much fidelity a mitigation costs, in steps of some bits."""
    if row.fidelity is None or plain.fidelity is None:
        return 0
    return max(0, math.floor((plain.fidelity - row.fidelity) / STEP))


def _merit(row: MitigationResult) -> tuple[int, int]:
    assert row.after is not None
    return (row.after.classes, -(row.after.bits or 0))


def _price(row: MitigationResult, plain: MitigationResult) -> Price:
    fidelity = None
    if row.fidelity is not None and plain.fidelity is not None:
        fidelity = (row.fidelity, plain.fidelity)
    return Price(row.after is not None and row.after.runs == 1, row.time, fidelity)
