"""Which layers an answer shows of hundreds, and what the others between them come to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from xbackend.comparison.findings import Certificate, Isolation
from xbackend.comparison.layers import TapSummary
from xbackend.comparison.summary import Summary

JUMPS = 3
"""How many of the layers that lose most bits at once are shown."""
SMALLEST_JUMP = 2
"""Bits below which a loss is not worth a row."""
MOST_SHOWN = 14
"""More rows than these are never shown; those that matter least are left out first."""
FEWEST_FOLDED = 2
"""Fewer layers in a row than these are shown, as a fold would take as much room."""
STAGE = 4
"""Layers that a part of a network must have to be told by its name."""
HEAD = re.compile(r"/?([A-Za-z]+\d*)")


class Reason(Enum):
    """Why a layer is shown, what matters most first."""

    FAULT = "beyond rounding"
    FIRST = "the first that differs"
    OUTPUT = "an output"
    OWN = "an error of its own"
    BORN = "bears classes"
    UNUSUAL = "unusual for rounding"
    JUMP = "loses most bits at once"


@dataclass(frozen=True)
class NotableLayer:
    """A layer that has a row."""

    tap: TapSummary
    reasons: tuple[Reason, ...]


@dataclass(frozen=True)
class Fold:
    """Layers one after the other that differ and have no row."""

    taps: tuple[TapSummary, ...]
    stage: str
    """What their names begin with; empty where they have nothing in common."""

    @property
    def fewest_classes(self) -> int:
        """The least that any of them has."""
        return min(tap.eqc_count for tap in self.taps)

    @property
    def most_classes(self) -> int:
        """The most that any of them has."""
        return max(tap.eqc_count for tap in self.taps)


def differing_layers(summary: Summary) -> list[TapSummary]:
    """Return the layers that differ, and outputs always."""
    return [tap for tap in summary.taps if tap.eqc_count > 1 or tap.is_output]


def notable_layers(
    summary: Summary,
    isolations: Sequence[Isolation] = (),
    certificates: Sequence[Certificate] = (),
) -> list[NotableLayer | Fold]:
    """Return the layers that differ in graph order: rows, and what is folded between them."""
    taps = differing_layers(summary)
    reasons = _reasons(summary, taps, isolations, certificates)
    ranked = sorted(reasons, key=lambda name: list(Reason).index(reasons[name][0]))
    shown = set(ranked[:MOST_SHOWN])
    found: list[NotableLayer | Fold] = []
    for is_shown, run in _runs(taps, shown):
        if is_shown or len(run) < FEWEST_FOLDED:
            found += [NotableLayer(tap, tuple(reasons.get(tap.tap, ()))) for tap in run]
        else:
            found += _folds(run)
    return found


def _runs(taps: Sequence[TapSummary], shown: set[str]) -> Iterator[tuple[bool, list[TapSummary]]]:
    """Yield layers one after the other that are shown, or are not."""
    mine: list[TapSummary] = []
    for tap in taps:
        if mine and (mine[-1].tap in shown) is not (tap.tap in shown):
            yield mine[-1].tap in shown, mine
            mine = []
        mine.append(tap)
    if mine:
        yield mine[-1].tap in shown, mine


def _reasons(
    summary: Summary,
    taps: Sequence[TapSummary],
    isolations: Sequence[Isolation],
    certificates: Sequence[Certificate],
) -> dict[str, list[Reason]]:
    """Return why layers are shown, the strongest reason of each first."""
    ids = {run.id for run in summary.cohort.runs}
    mine = [each for each in certificates if each.run.id in ids]
    names = {
        Reason.FAULT: (one.tap for each in mine for one in each.faults),
        Reason.FIRST: (tap.tap for tap in taps[:1] if tap.eqc_count > 1),
        Reason.OUTPUT: (tap.tap for tap in taps if tap.is_output),
        Reason.OWN: (one.tap for each in isolations if each.run.id in ids for one in each.own),
        Reason.BORN: (tap.tap for tap in taps if tap.origin.born),
        Reason.UNUSUAL: (one.tap for each in mine for one in each.unusual),
        Reason.JUMP: _jumps(taps),
    }
    known = {tap.tap for tap in taps}
    found: dict[str, list[Reason]] = {}
    for reason, several in names.items():
        for name in dict.fromkeys(several):
            if name in known:
                found.setdefault(name, []).append(reason)
    return found


def _jumps(taps: Iterable[TapSummary]) -> list[str]:
    """Return the layers that leave fewest bits of what the one before them left."""
    losses: list[tuple[int, str]] = []
    before: int | None = None
    for tap in taps:
        bits = tap.metrics.remaining_precision
        if before is not None and bits is not None and before - bits >= SMALLEST_JUMP:
            losses.append((before - bits, tap.tap))
        before = bits if tap.eqc_count > 1 else before
    losses.sort(key=lambda each: -each[0])
    return [name for _, name in losses[:JUMPS]]


def _folds(taps: Sequence[TapSummary]) -> list[Fold]:
    """Put layers together by the part of the network, where each part has several."""
    parts: list[tuple[str, list[TapSummary]]] = []
    for tap in taps:
        match = HEAD.match(tap.tap)
        name = match[1] if match else ""
        if parts and parts[-1][0] == name:
            parts[-1][1].append(tap)
        else:
            parts.append((name, [tap]))
    if all(len(part) >= STAGE for _, part in parts):
        return [Fold(tuple(part), name) for name, part in parts]
    return [Fold(tuple(taps), "")]
