"""Lays out what mitigations did: as a table, Markdown, CSV or JSON, with a sentence at the end."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence

from xbackend.execution.request import RunRequest
from xbackend.mitigation.consistency import Consistency
from xbackend.mitigation.evaluate import MitigationReport
from xbackend.mitigation.results import MitigationResult
from xbackend.mitigation.search import SearchResult
from xbackend.platforms.emulation_doubt import join_names as enumerated
from xbackend.plugins.mitigation import Mitigation
from xbackend.store.escaping import spreadsheet_cell

from ..sections.tables import Table
from ..terminal import (
    other_columns_width,
    render_table,
    terminal_width,
    without_columns,
    wrap,
)
from ..wording.mitigations import recommendation, set_text

HEADERS = (
    "backend", "mitigation", "classes", "bits", "flips", "fidelity", "error", "accuracy",
    "time", "note",
)  # fmt: skip
LONGEST = 110
"""Characters of a note that a table shows; JSON and CSV have all."""
DAGGER = "†"
NOTHING = "changes no bit"
OPTIONAL = ("flips", "fidelity", "error", "accuracy", "time")
"""Columns that are left out where they tell nothing."""
NOTHING_TOLD = frozenset({"", "0", "–"})
NARROW_NAME = 12
"""Columns that a mitigation's name needs at least."""
ALIGNED = ("left", "left", "right", "right", "right", "right", "right", "right", "right")
LEGEND = (
    "Classes: before → after, or as before. Bits: mantissa bits that classes share at the worst",
    "element. Flips: runs of which a label is not that of the first. Fidelity, error: how far the",
    "worst run is from the model in float64, in bits (root mean square over an output) and",
    "absolute (its worst element).",
)


FORMATS = ("table", "markdown", "csv", "json")


def render(report: MitigationReport, format: str = "table") -> str:
    """Return the report in one of `FORMATS`."""
    if format == "json":
        return json.dumps(report.to_dict())
    if format == "csv":
        return _csv(report.rows)
    return _table(format, report.request, report.rows, report.sets)


def render_list(mitigations: Sequence[Mitigation], backends: Sequence[str]) -> str:
    """Return one line for each mitigation; those of a family that differ in a number together."""
    from tabulate import tabulate

    table = [
        [each.name, each.family, ", ".join(w for w in each.changes if w in backends), each.what]
        for each in mitigations
        if each.default
    ]
    rest = sum(not each.default for each in mitigations)
    lines = tabulate(table, ["name", "family", "backends", "what"], disable_numparse=True)
    return f"{lines}\nand {rest} more, with other numbers of bits, such as cut-weights-5"


def _csv(rows: Sequence[MitigationResult]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(HEADERS)
    writer.writerows(map(spreadsheet_cell, _cells(row, None)) for row in rows)
    return stream.getvalue()


def _table(
    kind: str, request: RunRequest, rows: Sequence[MitigationResult], sets: Sequence[SearchResult]
) -> str:
    ruled = kind == "table"
    table, below = _terminal(rows) if ruled else (_github(rows), [])
    searched = [text for found in sets for text in (set_text(found, request.model), "")]
    legend = [*_legend(request, rows), ""]
    if ruled:
        legend = [wrap(" ".join(" ".join(legend).split()), terminal_width()), ""]
    last = recommendation(rows, request.model)
    last = wrap(last, terminal_width()) if ruled else last
    return "\n".join([_title(request), "", table, "", *below, *legend, *searched, last])


def _github(rows: Sequence[MitigationResult]) -> str:
    from tabulate import tabulate

    lines = [_cells(row, LONGEST) for row in rows]
    return tabulate(lines, HEADERS, tablefmt="github", disable_numparse=True, colalign=ALIGNED)


def _terminal(rows: Sequence[MitigationResult]) -> tuple[str, list[str]]:
    """Return a table without columns that say nothing, and the notes of rows below it."""
    cells = [tuple(map(_unchanged, _cells(row, None))) for row in rows]
    numeric = tuple(name not in ("backend", "mitigation", "note") for name in HEADERS)
    whole = Table(HEADERS, tuple(cells), numeric)
    silent = [
        name
        for place, name in enumerate(HEADERS)
        if name == "note" or (name in OPTIONAL and {row[place] for row in cells} <= NOTHING_TOLD)
    ]
    table = without_columns(whole, silent)
    room = terminal_width() - other_columns_width(table, 1)
    text = render_table(table, [None, max(NARROW_NAME, room)])  # no name is cut: it is typed again
    notes: dict[str, list[str]] = {}
    for row in cells:
        if row[-1]:
            notes.setdefault(row[-1], []).append(f"{row[0]} {row[1]}")
    lines = [wrap(f"{', '.join(names)}: {note}", terminal_width()) for note, names in notes.items()]
    return text, [*lines, *([""] if lines else [])]


def _unchanged(cell: str) -> str:
    """Return a change as one value where it is none.

    >>> _unchanged("2 → 1"), _unchanged("all → all")
    ('2 → 1', 'all')
    """
    before, arrow, after = cell.partition(" → ")
    return before if arrow and before == after else cell


def _title(request: RunRequest) -> str:
    threads = ",".join(map(str, request.threads))
    return f"{request.model} on {', '.join(request.platforms)}; threads {threads}"


def _cells(row: MitigationResult, longest: int | None) -> tuple[str, ...]:
    note = "; ".join(row.notes)
    if longest is not None and len(note) > longest:
        note = note[: longest - 1] + "…"
    name = row.mitigation or "as it is"
    if row.after is None:
        return (row.backend, name, *("–" for _ in HEADERS[2:-1]), note)
    error = row.correctness
    notes = ([NOTHING] if row.unchanged else []) + ([note] if note else [])
    return (
        row.backend,
        name,
        _change(row.before, row.after, row.mitigation),
        _bits(row.before, row.after, row.mitigation),
        _flips(row.before, row.after, row.mitigation),
        "" if row.fidelity is None else f"{row.fidelity:.1f}",
        "" if error is None or error.max_abs is None else f"{error.max_abs:.1e}",
        "" if row.accuracy is None else _percent(row.accuracy),
        "" if row.time is None else f"{row.time:.2g}",
        "; ".join(notes),
    )


def _change(before: Consistency | None, after: Consistency, mitigation: str) -> str:
    mark = DAGGER if after.without else ""
    if not mitigation:
        return f"{after.classes}{mark}"
    was = "–" if before is None else f"{before.classes}{DAGGER if before.without else ''}"
    return f"{was} → {after.classes}{mark}"


def _bits(before: Consistency | None, after: Consistency, mitigation: str) -> str:
    now = _shared(after)
    return f"{'–' if before is None else _shared(before)} → {now}" if mitigation else now


def _shared(consistency: Consistency) -> str:
    if consistency.classes == 1:
        return "all"
    return "–" if consistency.bits is None else str(consistency.bits)


def _flips(before: Consistency | None, after: Consistency, mitigation: str) -> str:
    if not mitigation:
        return str(after.flips)
    return f"{'–' if before is None else before.flips} → {after.flips}"


def _percent(accuracy: tuple[float, float]) -> str:
    low, high = (f"{share:.1%}" for share in accuracy)
    return low if low == high else f"{low}–{high}"


def _legend(request: RunRequest, rows: Sequence[MitigationResult]) -> Iterator[str]:
    """Yield what the columns mean, as far as this table needs it."""
    yield from LEGEND
    if any(row.accuracy is not None for row in rows):
        yield "Accuracy: right labels of the labelled samples, over the runs."
    once = " of one run each on a machine that may be busy" if request.repeats == 1 else ""
    yield f"Time: an inference, as a ratio to the model as it is: a rough one{once}."
    operators = [n for row in rows if row.after is not None for n in row.after.without]
    if operators:
        yield (
            f"{DAGGER} Emulated {enumerated(list(dict.fromkeys(operators)))} may give bits of no "
            "real processor, so runs are told\napart by the last tensors before."
        )
