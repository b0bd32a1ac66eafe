"""The river of classes: runs as threads over layers, together where they have the same bits.

Classes stand apart by a gap. Runs are put in an order in which few threads cross.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

Record = dict[str, Any]
Labels = Sequence[Sequence[int]]
"""For each layer, the class of each run from 1; 0 where the run recorded nothing."""
GAP = 1.0
"""Between two classes, in widths of a thread."""
MOST = 300
"""With more runs than these no order is sought that lets fewer threads cross."""


@dataclass(frozen=True)
class Thread:
    """A part of a run's way through the layers, in which it has one colour."""

    run: int
    colour: int
    x: tuple[int, ...]
    """Layers, from 0."""
    y: tuple[float, ...]
    """From the top, in widths of a thread."""


@dataclass(frozen=True)
class River:
    """All threads of one sample."""

    threads: tuple[Thread, ...]
    height: float

    def to_dict(self) -> Record:
        """Return columns, one value for each point, which charts turn into rows."""
        columns: dict[str, list[Any]] = {"x": [], "y": [], "run": [], "colour": [], "thread": []}
        for number, thread in enumerate(self.threads):
            count = len(thread.x)
            columns["x"] += thread.x
            columns["y"] += thread.y
            columns["run"] += [thread.run] * count
            columns["colour"] += [thread.colour] * count
            columns["thread"] += [number] * count
        return {**columns, "height": self.height}


def river(labels: Labels, homes: Sequence[int]) -> River:
    """Return the threads of runs through layers; `homes` are their classes at the end, from 0.

    A thread breaks where its run recorded nothing, but its place stays free: a gap is no class. Of
    points in a straight line only the ends are kept.

    >>> found = river([[1, 1], [1, 2], [1, 1]], [0, 0])
    >>> [(thread.run, thread.colour, thread.x, thread.y) for thread in found.threads]
    [(0, 0, (0, 2), (0, 0)), (1, 0, (0,), (1,)), (1, 2, (0, 1), (1, 2.0)), (1, 0, (1, 2), (2.0, 1))]
    """
    colours = [colours_of(row, homes) for row in labels]
    held = hold_places(labels)
    order = run_order(held)
    places = [_places(row, order) for row in held]
    threads = [
        thread
        for run in range(len(homes))
        for thread in _threads(run, [row[run] for row in colours], [row[run] for row in places])
    ]
    return River(tuple(threads), max((place for row in places for place in row), default=0) + 1)


def colours_of(row: Sequence[int], homes: Sequence[int]) -> list[int | None]:
    """Return the colour of each run at a layer; None where nothing is recorded.

    That of a class is the least of the classes in which its runs end. Where another class of the
    layer has that already, it is one beyond: the number of classes at the end, and its first run.

    >>> colours_of([1, 2, 0, 2], [0, 1, 1, 1]), colours_of([1, 2], [0, 0])
    ([0, 1, None, 1], [0, 2])
    """
    beyond = max(homes, default=0) + 1
    found: dict[int, int] = {}
    for run, label in enumerate(row):
        if label and label not in found:
            home = min(homes[at] for at, other in enumerate(row) if other == label)
            found[label] = home if home not in found.values() else beyond + run
    return [found.get(label) for label in row]


def hold_places(labels: Labels) -> list[list[int]]:
    """Return the classes with each gap filled, so that a run's place stays free where it has none.

    It stands with those of its class before the gap, or after it; alone if none of them is there.

    >>> hold_places([[1, 1, 2], [1, 0, 2], [1, 1, 2]])
    [[1, 1, 2], [1, 1, 2], [1, 1, 2]]
    """
    forth = _held(labels)
    back = _held(labels[::-1])[::-1]
    runs = range(len(labels[0]) if labels else 0)
    first = {
        run: next((at for at, row in enumerate(labels) if row[run]), len(labels)) for run in runs
    }
    return [
        [(back if at < first[run] else forth)[at][run] for run in runs] for at in range(len(labels))
    ]


def _held(labels: Labels) -> list[list[int]]:
    """Fill gaps from what was before; runs without a neighbour get a number below 0."""
    found: list[list[int]] = []
    for row in labels:
        now = list(row)
        before = found[-1] if found else [0] * len(row)
        for run, label in enumerate(row):
            if not label:
                mates = (at for at, other in enumerate(before) if other == before[run] and row[at])
                mate = next(mates, None) if before[run] else None
                now[run] = row[mate] if mate is not None else -1 - _group(before, run)
        found.append(now)
    return found


def _group(before: Sequence[int], run: int) -> int:
    """Return a number that runs share which were together before."""
    return before.index(before[run]) if before[run] else run


def run_order(labels: Labels) -> list[int]:
    """Return the runs in the order in which they stand from top to bottom.

    They are sorted by the classes that they go through, from the first layer on and from the last
    one back; what lets fewer threads cross is taken.

    >>> run_order([[1, 1, 1], [1, 2, 1]])
    [0, 2, 1]
    """
    runs = range(len(labels[0]) if labels else 0)
    ways = [[row.index(row[run]) for row in labels] for run in runs]
    forth = sorted(runs, key=lambda run: (ways[run], run))
    back = sorted(runs, key=lambda run: (ways[run][::-1], run))
    if len(runs) > MOST or forth == back:
        return forth
    return min(forth, back, key=lambda order: _crossings(labels, order))


def _crossings(labels: Labels, order: Sequence[int]) -> int:
    """Count the pairs of runs that change sides from one layer to the next."""
    places = [np.array(_places(row, order)) for row in labels]
    count = 0
    for one, other in pairwise(places):
        before = np.sign(one[:, None] - one[None, :])
        after = np.sign(other[:, None] - other[None, :])
        count += int(np.count_nonzero(before * after < 0))
    return count


def _places(row: Sequence[int], order: Sequence[int]) -> list[float]:
    """Return how far down each run stands at a layer."""
    found = [0.0] * len(row)
    down: float = 0
    for label in dict.fromkeys(row[run] for run in order):
        for run in order:
            if row[run] == label:
                found[run] = down
                down += 1
        down += GAP
    return found


def _threads(run: int, colours: Sequence[int | None], places: Sequence[float]) -> Iterator[Thread]:
    """Yield the parts of a run's way; each begins where the one before ends, but after a gap."""
    points: list[tuple[int, float]] = []
    colour: int | None = None
    for x, (here, y) in enumerate(zip(colours, places, strict=True)):
        if here is None:
            yield from _thread(run, colour, points)
            points, colour = [], None
            continue
        if here != colour and colour is not None:
            yield from _thread(run, colour, points)
            points = points[-1:]
        points.append((x, y))
        colour = here
    yield from _thread(run, colour, points)


def _thread(run: int, colour: int | None, points: Sequence[tuple[int, float]]) -> Iterator[Thread]:
    if colour is None or not points:
        return
    kept = [
        point
        for at, point in enumerate(points)
        if at in (0, len(points) - 1) or not points[at - 1][1] == point[1] == points[at + 1][1]
    ]
    yield Thread(run, colour, tuple(x for x, _ in kept), tuple(y for _, y in kept))
