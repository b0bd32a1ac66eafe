"""What tables of machines and of threads come to: counted, not yet in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from xbackend.comparison.machines import CumulativeCurve, MachineCell, MachineTable
from xbackend.comparison.threads import ThreadRow, ThreadTable


@dataclass(frozen=True)
class CurveFacts:
    """How many classes how many machines fall into, on the samples of a curve."""

    classes: int
    machines: int
    """Those that ran the samples."""
    emulated: int
    """Classes in which no machine has bits that do not rest on emulation alone."""
    operators: tuple[str, ...]
    """What an emulator computes unlike a real processor there."""
    unsteady: int
    """Machines whose repeats gave other bits: only the first run of each is counted."""


@dataclass(frozen=True)
class ThreadFacts:
    """What the number of threads does in a table."""

    rows: int
    compared: int
    """Rows in which two numbers of threads or more gave bits."""
    varying: int
    """Of these: rows in which two numbers of threads have no class in common."""
    unsteady: int
    """Rows with a cell in several classes, as repeats gave other bits."""
    oversubscribed: bool
    """Whether any cell has more threads than cores."""
    unsafe: bool
    """Whether any cell rests on what an emulator may compute unlike a real processor."""


def curve_facts(table: MachineTable, curve: CumulativeCurve) -> CurveFacts:
    """Return what a curve comes to; of samples that differ in it the most."""
    places = [table.columns.index(column) for column in curve.columns]
    columns = [[cell for cell in table.cells(place) if cell is not None] for place in places]
    doubts = [column.sample.emulation_doubt for column in curve.columns]
    known = [count for count in curve.counts if count is not None]
    return CurveFacts(
        classes=max(known, default=0),
        machines=len(known),
        emulated=max(map(_emulated, columns), default=0),
        operators=tuple(dict.fromkeys(name for each in doubts for name in each.operators)),
        unsteady=max((sum(not cell.deterministic for cell in of) for of in columns), default=0),
    )


def _emulated(cells: Sequence[MachineCell]) -> int:
    """Return how many classes have cells that rest on emulation only."""
    real = {cell.number for cell in cells if not cell.by_emulation}
    return len({cell.number for cell in cells} - real)


def thread_facts(table: ThreadTable) -> ThreadFacts:
    """Return what a table of threads comes to."""
    cells = [cell for row in table.rows for cell in row.cells]
    compared = [row for row in table.rows if sum(bool(cell.classes) for cell in row.cells) > 1]
    return ThreadFacts(
        rows=len(table.rows),
        compared=len(compared),
        varying=sum(map(_varies, compared)),
        unsteady=sum(any(len(cell.classes) > 1 for cell in row.cells) for row in table.rows),
        oversubscribed=any(cell.oversubscribed for cell in cells),
        unsafe=any(cell.unsafe for cell in cells),
    )


def _varies(row: ThreadRow) -> bool:
    """Tell whether two numbers of threads have no class in common.

    A cell in several classes, as repeats gave other bits, proves nothing of a class that it shares.
    """
    known = [set(cell.classes) for cell in row.cells if cell.classes]
    return any(one.isdisjoint(other) for one, other in combinations(known, 2))
