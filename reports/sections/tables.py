"""The tables that every report shows: who agrees with whom, where layers part, what stopped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xbackend.comparison.layers import TapSummary
from xbackend.comparison.summary import RunGroup, Summary
from xbackend.store.records import Run

from ..wording.formatting import (
    DAGGER,
    RECORDING,
    emulation_note,
    failure_cells,
    format_number,
    format_percent,
    name_row,
    name_run,
    printable,
)

STAR = f"* {RECORDING}"
MOST_INPUTS = 6
"""With more samples than these, one column holds the class over all of them."""
MOST_ROWS = 100
"""With more rows of runs than these, there is one row for each class instead."""
MOST_CLASSES = 40
"""How many of these are shown."""
MOST_LAYERS = 16
"""Beyond these, the middle of the layers that differ is left out."""
LAST_LAYERS = 4
"""How many are then shown from the end, the outputs among them."""


@dataclass(frozen=True)
class Table:
    """Cells that a format has only to lay out."""

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[bool, ...]
    """Whether a column is aligned to the right."""


def run_group_table(summary: Summary, by_input: bool = True) -> Table:
    """Return one row for runs that are alike: classes by input, bits shared with class 1."""
    by_input = by_input and len(summary.inputs) <= MOST_INPUTS
    inputs = list(map(_name_input, summary.inputs)) if by_input else ["class"]
    headers = ("run", *inputs, "bits", "taps")
    joint = {
        name: _class(place, place in summary.emulation_doubt.classes)
        for place, ids in enumerate(summary.eqcs, 1)
        for name in ids
    }
    rows = []
    for row in summary.rows:
        classes = map(_class, row.classes, row.by_emulation) if by_input else [joint[row.ids[0]]]
        rows.append((name_row(row), *classes, format_number(row.bits), _taps(row)))
    return Table(headers, tuple(rows), (False, *(True for _ in inputs), True, False))


def has_too_many_rows(summary: Summary) -> bool:
    """Tell whether there are too many runs to show a row for each."""
    return len(summary.rows) > MOST_ROWS


def hidden_rows_note(summary: Summary) -> list[str]:
    """Return what a reader must know of a table that has not a row for each run."""
    if not has_too_many_rows(summary):
        return []
    hidden = len(summary.eqcs) - MOST_CLASSES
    more = f"{hidden} more classes are not shown. " if hidden > 0 else ""
    why = f"One row for each class, as {len(summary.rows)} rows of runs are too many"
    return [f"{more}{why}: 'xbackend compare --format html --output runs.html' shows them all."]


def runs_table(summary: Summary, by_input: bool = True) -> Table:
    """Return one row for runs that are alike, or for each class where these are too many."""
    return (
        _class_table(summary) if has_too_many_rows(summary) else run_group_table(summary, by_input)
    )


def _class_table(summary: Summary) -> Table:
    """Return one row for each class over all samples: the first of its runs and their number."""
    of = {row.ids[0]: row for row in summary.rows}
    rows = []
    for place, ids in enumerate(summary.eqcs[:MOST_CLASSES], 1):
        mine = [of[name] for name in ids if name in of]
        bits = None if any(row.bits is None for row in mine) else min(row.bits or 0 for row in mine)
        number_of = _class(place, place in summary.emulation_doubt.classes)
        rows.append(
            (
                name_row(mine[0]),
                number_of,
                format_number(len(ids)),
                format_number(bits),
                _taps_of(mine),
            )
        )
    headers = ("first run of each class", "class", "runs", "bits", "taps")
    return Table(headers, tuple(rows), (False, True, True, True, False))


def _taps_of(rows: Sequence[RunGroup]) -> str:
    """Return what is to be said of the taps of the runs of a class: the worst."""
    return next((_taps(row) for row in rows if row.taps_neutral is False), _taps(rows[0]))


def _class(place: int | None, by_emulation: bool) -> str:
    return format_number(place) + (DAGGER if by_emulation else "")


def _name_input(name: str) -> str:
    return f"input {name}" if name.isdigit() else printable(name)


def _taps(row: RunGroup) -> str:
    return {True: "neutral", False: "CHANGED BITS", None: "–"}[row.taps_neutral]


def layer_table(summary: Summary, most: int | None = MOST_LAYERS) -> tuple[Table, int]:
    """Return the layers that differ, outputs always, and how many of these are left out."""
    differing = _shown(summary)
    hidden = 0
    if most is not None and len(differing) > most:
        hidden = len(differing) - most
        differing = differing[: most - LAST_LAYERS] + differing[-LAST_LAYERS:]
    return taps_table(differing, summary), hidden


def taps_table(taps: Sequence[TapSummary], summary: Summary | None = None) -> Table:
    """Return a row for each tensor: its layer, classes, and how far apart they are.

    With who recorded it, where a summary is given by which that is told.
    """
    headers = ("layer", "tap", "operator", "classes", "bits", "max ulp", "deviating")
    numeric = (True, False, False, True, True, True, True)
    table = Table(headers, tuple(map(_layer_row, taps)), numeric)
    return table if summary is None else with_recorded(table, taps, summary)


def with_recorded(table: Table, taps: Sequence[TapSummary], summary: Summary) -> Table:
    """Add a column that says how many runs recorded each layer, where that is not all of them.

    Classes are those of the runs that have a layer, so they rise and fall with who has it.
    """
    if not any(tap.missing for tap in summary.taps):
        return table
    place = table.headers.index("classes")
    cells = [f"{summary.run_count - len(tap.missing)}/{summary.run_count}" for tap in taps]
    rows = ((*row[:place], cell, *row[place:]) for row, cell in zip(table.rows, cells, strict=True))
    return Table(
        (*table.headers[:place], "runs", *table.headers[place:]),
        tuple(rows),
        (*table.numeric[:place], True, *table.numeric[place:]),
    )


def _shown(summary: Summary) -> list[TapSummary]:
    return [tap for tap in summary.taps if tap.eqc_count > 1 or tap.is_output]


def _layer_row(tap: TapSummary) -> tuple[str, ...]:
    return (
        format_number(tap.layer),
        printable(tap.tap) + (" (output)" if tap.is_output else ""),
        printable(tap.operator or "–"),
        f"{tap.eqc_count}{_signs(tap)}",
        format_number(tap.metrics.remaining_precision),
        format_number(tap.metrics.max_ulp),
        format_percent(tap.metrics.deviating_fraction),
    )


def _signs(tap: TapSummary) -> str:
    return ("*" if tap.taps_not_neutral else "") + (DAGGER if tap.emulation_unsafe else "")


def emulation_notes(summary: Summary) -> list[str]:
    """Return what a dagger in the tables means, if there is one."""
    emulation_doubt = summary.emulation_doubt
    marked = shows_layers(summary) and any(tap.emulation_unsafe for tap in _shown(summary))
    if not emulation_doubt.operators or not (emulation_doubt.classes or marked):
        return []
    return [emulation_note(emulation_doubt.operators)]


def has_starred_layers(summary: Summary) -> bool:
    """Tell whether a row of the layers has a star, which must then be explained."""
    return any(tap.taps_not_neutral for tap in summary.taps)


def shows_layers(summary: Summary) -> bool:
    """Tell whether the layers say more than the table of runs does."""
    return summary.run_count > 1 and any(tap.eqc_count > 1 for tap in summary.taps)


def unsuccessful_table(runs: Sequence[Run]) -> Table:
    """Return the runs that failed or were skipped, and why; repeats of one another once."""
    found: dict[tuple[str, ...], int] = {}
    for run in runs:
        row = (name_run(run), str(run.row["status"]), *failure_cells(run))
        found[row] = found.get(row, 0) + 1
    rows = [
        (f"{name} ×{times}" if times > 1 else name, *rest) for (name, *rest), times in found.items()
    ]
    return Table(("run", "status", "stage", "symptom", "message"), tuple(rows), (False,) * 5)
