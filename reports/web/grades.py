"""How the page shows how sure a statement is: a word, a sign and a shape, never colour alone."""

from __future__ import annotations

from collections.abc import Mapping

from xbackend.facts.explanation import Grade

MEANS: Mapping[Grade, tuple[str, str]] = {
    Grade.RECORDED: ("●", "The bits of both runs are in the store."),
    Grade.REPLAYED: ("▶", "A layer was run again on the other run's inputs."),
    Grade.SWITCHED: ("⇄", "Two runs that differ in nothing else that is known give other bits."),
    Grade.CERTIFIED: ("✓", "Layers were held against the bound of their rounding."),
    Grade.GOES_WITH: ("∼", "It comes together with the difference, and other things do, too."),
    Grade.EMULATED: ("†", "It rests on what an emulator computes unlike a real processor."),
    Grade.NOT_JUDGED: ("?", "Nothing that was run tells."),
}
"""A grade to its sign and what it means."""


def kind(grade: Grade) -> str:
    """Return the last part of the grade's class in the style sheet.

    >>> kind(Grade.GOES_WITH)
    'goes'
    """
    return grade.value.split()[0]


def shown(grade: Grade) -> dict[str, str]:
    """Return what the templates lay out."""
    sign, means = MEANS[grade]
    return {"name": grade.value, "kind": kind(grade), "sign": sign, "means": means}
