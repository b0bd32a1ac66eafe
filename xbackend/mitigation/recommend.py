"""The sentence that says what to use for a model, from what the mitigations did."""

from __future__ import annotations

import math
from collections.abc import Sequence

from xbackend.mitigation.results import ALL_BACKENDS, MitigationResult

STEP = 4.0
"""Bits of fidelity within which the time decides between two mitigations."""


def recommend(rows: Sequence[MitigationResult], model: str) -> str:
    """Return what to use for a model: one sentence over each backend and all together.

    It ends with what unites the backends, if there are several.
    """
    own = [row for row in rows if row.backend != ALL_BACKENDS]
    words = list(dict.fromkeys(row.backend for row in own))
    parts = [_within([row for row in own if row.backend == word]) for word in words]
    parts.append(_across([row for row in rows if row.backend == ALL_BACKENDS]))
    said = [part for part in parts if part]
    return f"For {model} use {'; '.join(said)}." if said else f"Nothing ran {model}."


def _within(rows: Sequence[MitigationResult]) -> str:
    """Return what is to be said of one backend; empty where it gave nothing."""
    plain = next((row for row in rows if not row.mitigation), None)
    word = rows[0].backend
    if plain is None or plain.after is None:
        return ""
    if plain.after.runs == 1:
        return f"{word} as it is, which ran once only"
    if plain.after.classes == 1:
        return f"{word} as it is (one class of {plain.after.runs} runs)"
    best = _best(rows, plain)
    if best is not None:
        return f"{_with(word, best)} ({_price(best, plain)})"
    fewest = min(_tried(rows), key=_merit, default=plain)
    left = plain.after.classes if fewest.after is None else fewest.after.classes
    if left >= plain.after.classes:
        count = plain.after.classes
        lost = _without_loss(rows, count)
        return f"{word} as it is, as nothing here leaves fewer than its {count} classes{lost}"
    return f"{_with(word, fewest)}, which leaves {left} of {plain.after.classes} classes"


def _with(word: str, row: MitigationResult) -> str:
    """Return a backend with a mitigation; one that replaces it is called a replacement."""
    if row.replaced_by:
        return f"{row.replaced_by} in place of {word}, by {row.mitigation}"
    return f"{word} with {row.mitigation}"


def _across(rows: Sequence[MitigationResult]) -> str:
    """Return what is to be said of all backends together; empty for one alone."""
    plain = next((row for row in rows if not row.mitigation), None)
    if plain is None or plain.after is None:
        return ""
    if plain.after.classes == 1:
        return "all backends give the same bits as they are"
    best = _best(rows, plain)
    if best is not None and best.replaced_by:
        return (
            "nothing here gives all backends the same bits but a replacement: "
            f"{best.replaced_by} in place of others, by {best.mitigation} ({_price(best, plain)})"
        )
    if best is not None:
        return f"for the same bits in all backends {best.mitigation} ({_price(best, plain)})"
    fewest = min([plain, *_tried(rows)], key=_merit)
    name = f", {fewest.after.classes} with {fewest.mitigation}" if fewest.after else ""
    return (
        f"nothing here gives all backends the same bits{_without_loss(rows, 2)} "
        f"({plain.after.classes} classes as they are{name if fewest.mitigation else ''})"
    )


def _without_loss(rows: Sequence[MitigationResult], classes: int) -> str:
    """Return what is to be added where a mitigation left fewer classes, but not of all runs."""
    found = (row for row in rows if row.mitigation and row.incomplete and row.after is not None)
    fewer = any(row.after.classes < classes for row in found if row.after is not None)
    return " without losing runs" if fewer else ""


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


def _price(row: MitigationResult, plain: MitigationResult) -> str:
    """Say what a mitigation costs."""
    alone = row.after is not None and row.after.runs == 1
    parts = ["one run is left" if alone else "one class"]
    if row.time is not None:
        parts.append(f"about {row.time:.2g} times the time")
    if row.fidelity is not None and plain.fidelity is not None:
        parts.append(f"{row.fidelity:.0f} bits of fidelity instead of {plain.fidelity:.0f}")
    return ", ".join(parts)
