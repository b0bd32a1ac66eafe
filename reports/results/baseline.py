"""Lays out what a baseline's file holds, what came into it, and what it says of runs."""

from __future__ import annotations

from collections.abc import Iterable

from xbackend.facts.baseline.entries import Baseline, BaselineChange
from xbackend.facts.baseline.verdicts import BaselineJudgement

from ..wording.baseline import judgement_sentences
from ..wording.formatting import pluralize, printable
from .store import bytes_text


def render_judgement(judgement: BaselineJudgement) -> str:
    """Return a line for each sentence; the answer comes first."""
    return "\n".join(judgement_sentences(judgement))


def render_change(change: BaselineChange) -> str:
    """Return what a file holds now, and what of it is new."""
    path = printable(change.path)
    if change.before is None:
        return f"{path}: {_contents(change.after)}, {bytes_text(change.size)}."
    added = _counts(_added(change.before, change.after))
    lines = [f"{path}: {'added ' + added if added else 'nothing to add'}."]
    if change.refused:
        lines.append(
            f"Not added: {pluralize(len(change.refused), 'run')} that did not pass "
            f"({', '.join(map(printable, change.refused[:3]))}"
            f"{', …' if len(change.refused) > 3 else ''}). After a review: --baseline-update all."
        )
    return "\n".join(lines)


def _added(before: Baseline, after: Baseline) -> Iterable[tuple[int, str]]:
    return (
        (len(after.classes) - len(before.classes), "class"),
        (len(after.kinds) - len(before.kinds), "kind of machine"),
        (len(after.sightings) - len(before.sightings), "sighting"),
    )


def _counts(counts: Iterable[tuple[int, str]]) -> str:
    return ", ".join(_count(number, noun) for number, noun in counts if number)


def _count(number: int, noun: str) -> str:
    if noun == "kind of machine":
        return f"{number} kind{'s' if number != 1 else ''} of machines"
    return pluralize(number, noun)


def _contents(baseline: Baseline) -> str:
    tensors = {each.place for each in baseline.classes.values()}
    emulated = {each.kind for each in baseline.sightings if each.emulated}
    kinds = _count(len(baseline.kinds), "kind of machine")
    told = f" ({len(emulated)} emulated)" if emulated else ""
    models = {section.model_digest for section in baseline.sections.values()}
    return (
        f"{pluralize(len(baseline.classes), 'class')} of {pluralize(len(tensors), 'tensor')} of "
        f"{pluralize(len(models), 'model')}, from {kinds}{told}"
    )
