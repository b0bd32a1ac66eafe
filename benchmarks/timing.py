"""Contestants that take turns, so that a noisy machine is noisy for all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Ratio:
    """One line of the table: this project against a peer."""

    what: str
    ours: float
    """Median seconds."""
    peer: str
    """What the peer is."""
    theirs: float
    """Median seconds."""
    ratio: float
    """Median of the rounds' own ratios, ours to theirs."""
    limit: float | None = None
    """The most that the ratio may be; None where it is only told."""

    @property
    def ok(self) -> bool:
        """Whether the ratio is within its limit."""
        return self.limit is None or self.ratio <= self.limit


def time_interleaved(
    contestants: Mapping[str, Callable[[], object]],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Return each contestant's seconds in each round, by the wall's clock or the processor's.

    Every other round goes backwards. One round before the first is not counted: it fills caches.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    order = list(contestants)
    for number in range(rounds + 1):
        for name in order:
            started = clock()
            contestants[name]()
            if number:
                seconds[name].append(clock() - started)
        order.reverse()
    return seconds


def ratio(
    what: str,
    peer: str,
    ours: list[float],
    theirs: list[float],
    limit: float | None = None,
) -> Ratio:
    """Compare the rounds of two contestants.

    >>> ratio("a", "b", [2.0, 2.0, 9.0], [1.0, 1.0, 3.0]).ratio
    2.0
    """
    each = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    return Ratio(
        what,
        statistics.median(ours),
        peer,
        statistics.median(theirs),
        statistics.median(each),
        limit,
    )


def table(ratios: list[Ratio]) -> str:
    """Lay out ratios as a Markdown table."""
    head = ["what", "ours", "peer", "theirs", "ratio", "at most", ""]
    rows = [head, ["---", "---:", "---", "---:", "---:", "---:", "---"]]
    for each in ratios:
        limit = "–" if each.limit is None else _short(each.limit)
        verdict = "" if each.limit is None else ("yes" if each.ok else "**no**")
        cells = [each.what, _seconds(each.ours), each.peer, _seconds(each.theirs)]
        rows.append([*cells, _short(each.ratio), limit, verdict])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _short(number: float) -> str:
    return f"{number:.2f}" if number >= 0.1 else f"1/{1 / number:.0f}"


def _seconds(seconds: float) -> str:
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"
