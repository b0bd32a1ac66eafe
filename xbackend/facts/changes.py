"""At which layers classes are born and collapse, and what that way of counting cannot see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xbackend.comparison.findings import Isolation
from xbackend.comparison.summary import Summary
from xbackend.facts.outcome import Outcome, outcome_of


@dataclass(frozen=True)
class LayerCount:
    """A layer and how many classes it adds, or joins."""

    tap: str
    operator: str | None
    count: int


@dataclass(frozen=True)
class ChangeFacts:
    """What layers do to the classes of one cohort."""

    outcome: Outcome
    born: tuple[LayerCount, ...]
    """Layers that get the same bits in two runs and give others: the only ones that can be seen."""
    joined: tuple[LayerCount, ...]
    unknown: int
    """Layers of which it is not known, as runs lack them, what they read, or edges."""
    own_elsewhere: tuple[str, ...]
    """Layers in which isolation finds an error of their own and that bear no class."""


def change_facts(summary: Summary, isolations: Sequence[Isolation] = ()) -> ChangeFacts:
    """Return what is known of the layers of a cohort, and what isolation found beside it."""
    born = tuple(
        LayerCount(tap.tap, tap.operator, tap.origin.born)
        for tap in summary.taps
        if tap.origin.born
    )
    joined = tuple(
        LayerCount(tap.tap, tap.operator, tap.origin.collapsed)
        for tap in summary.taps
        if tap.origin.collapsed
    )
    known = {each.tap for each in born}
    ids = {run.id for run in summary.cohort.runs}
    own = [layer.tap for found in isolations if {found.run.id} <= ids for layer in found.own]
    return ChangeFacts(
        outcome=outcome_of(summary.run_count, summary.samples, len(summary.eqcs)),
        born=born,
        joined=joined,
        unknown=sum(tap.origin.born is None for tap in summary.taps),
        own_elsewhere=tuple(name for name in dict.fromkeys(own) if name not in known),
    )
