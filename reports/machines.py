"""The report of machines in rows and samples in columns, as the paper's SUP-1 and SUP-2."""

from __future__ import annotations

import json
import re
import string
from collections.abc import Sequence

from tabulate import tabulate

from xbackend.comparison.comparison import Comparison
from xbackend.comparison.machines import (
    MachineCell,
    MachineRow,
    MachineTable,
    SampleColumn,
    machine_table,
)

from .wording.formatting import DAGGER, emulation_note, pluralize, printable, shorten

LONGEST = 40
"""Characters of a device's or platform's name that are shown."""
INPUT = 12
"""Characters of an input's name that are shown above its column."""
MARK = "*"
LEGEND = (
    "The numbers are classes: in one column, the same number is the same bits.\n"
    "They are numbered from the top."
)
STARRED = f"{MARK} not deterministic: a repeat on the same machine gave other bits"
HEADERS = ("vendor", "architecture", "cores", "GiB", "device", "platform")
NUMERIC = ("cores", "GiB")


def render(comparison: Comparison) -> str:
    """Lay out one table: vendor, architecture, cores and more, then a class for each sample."""
    table = machine_table(comparison)
    if not table.rows:
        return "No run gave outputs, so there is no machine to show.\n"
    models = section_letters(table.columns)
    means = backend_labels(table.rows)
    headers = [*HEADERS, *(["by"] if any(means) else [])]
    align = ["right" if name in NUMERIC else "left" for name in headers]
    rows = [
        [*_describe(row), *([by] if any(means) else []), *map(cell_text, row.cells)]
        for row, by in zip(table.rows, means, strict=True)
    ]
    headers += headings(table.columns)
    align += ["left"] * len(table.columns)
    kept, shared = _varying(headers, rows)
    text = tabulate(
        [[row[place] for place in kept] for row in rows],
        [headers[place] for place in kept],
        disable_numparse=True,
        colalign=[align[place] for place in kept],
    )
    return "\n\n".join([*shared, text, *_sentences(table, models)]) + "\n"


def _varying(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[list[int], list[str]]:
    """Return the places of columns that differ, and a line of what all machines have in common.

    The columns of samples are kept, and all of a table with one row.
    """
    about = range(len(HEADERS))
    alike = [place for place in about if len(rows) > 1 and len({row[place] for row in rows}) == 1]
    told = [f"{headers[place]} {rows[0][place]}" for place in alike if rows[0][place] != "–"]
    kept = [place for place in range(len(headers)) if place not in alike]
    return kept, [f"All on: {', '.join(told)}"] if told else []


def _sentences(table: MachineTable, models: Sequence[str]) -> list[str]:
    lines = []
    for letter in dict.fromkeys(models):
        mine = [at for at, name in enumerate(models) if name == letter]
        counts = ", ".join(str(table.class_count(at)) for at in mine)
        inputs = pluralize(len(mine), "input")
        lines.append(
            f"{letter}  {column_title(table.columns[mine[0]])}, {inputs}; classes: {counts}"
        )
    cells = [cell for row in table.rows for cell in row.cells if cell is not None]
    marked = [] if all(cell.deterministic for cell in cells) else [STARRED]
    if any(cell.by_emulation for cell in cells):
        samples = [column.sample for column in table.columns]
        names = dict.fromkeys(name for each in samples for name in each.emulation_doubt.operators)
        marked.append(emulation_note(list(names)))
    return ["\n".join(lines), "\n".join([LEGEND, *marked])]


def section_letters(columns: Sequence[SampleColumn]) -> list[str]:
    """Return a letter for each column, the same for all samples of one cohort."""
    names: dict[str, str] = {}
    for column in columns:
        names.setdefault(column.cohort, section_letter(len(names)))
    return [names[column.cohort] for column in columns]


def section_letter(number: int) -> str:
    """Return the letters of a number: A to Z, then AA, AB and so on.

    >>> section_letter(0), section_letter(25), section_letter(26)
    ('A', 'Z', 'AA')
    """
    high, low = divmod(number, 26)
    return (section_letter(high - 1) if high else "") + string.ascii_uppercase[low]


def headings(columns: Sequence[SampleColumn]) -> list[str]:
    """Return what stands above each column: the letter of its cohort, and its input."""
    pairs = zip(section_letters(columns), columns, strict=True)
    return [f"{letter} {shorten(printable(each.input), INPUT)}" for letter, each in pairs]


def column_title(column: SampleColumn) -> str:
    """Return what a column is about: `cifar10_small, float16`."""
    keys = [f"{key}={value}" for key, value in column.keys.items()]
    return printable(", ".join([column.model, column.precision, *keys]))


def cell_text(cell: MachineCell | None) -> str:
    """Return a class, with a star if it is not deterministic, a dagger if emulation made it.

    >>> (
    ...     cell_text(MachineCell(3, False, True)),
    ...     cell_text(MachineCell(2, True, True, True)),
    ...     cell_text(None),
    ... )
    ('3*', '2†', '–')
    """
    if cell is None:
        return "–"
    signs = ("" if cell.deterministic else MARK) + (DAGGER if cell.by_emulation else "")
    return f"{cell.number}{signs}"


def _describe(row: MachineRow) -> list[str]:
    """Return the cells under HEADERS."""
    hardware = row.run.row["hardware"]
    memory = hardware["memory_bytes"]
    return [
        _text(hardware["vendor"]),
        _text(hardware["microarchitecture"]),
        _text(hardware["cores"]),
        f"{memory / 2**30:.1f}" if memory else "–",
        _text(name_device(hardware["device"])),
        _text(row.run.row["platform"]),
    ]


def name_device(device: str | None) -> str | None:
    """Return a processor's name without what all of them have.

    >>> name_device("Intel(R) Xeon(R) CPU E5-2676 v3 @ 2.40GHz")
    'Intel Xeon E5-2676 v3 @ 2.40GHz'
    """
    if device is None:
        return None
    return " ".join(re.sub(r"\((?:R|TM)\)|\bCPU\b", " ", device).split())


def _text(value: object) -> str:
    return "–" if value is None else shorten(printable(value), LONGEST)


def backend_labels(rows: Sequence[MachineRow]) -> list[str]:
    """Return for each row what it ran with, empty texts where all ran with the same.

    That is the backend and the settings in which rows of one backend differ.
    """
    varying: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        for key, value in row.run.row["settings"].items():
            varying.setdefault((row.run.row["backend"], key), set()).add(json.dumps(value))
    names = [_backend_label(row, varying) for row in rows]
    return names if len(set(names)) > 1 else ["" for _ in names]


def _backend_label(row: MachineRow, varying: dict[tuple[str, str], set[str]]) -> str:
    run = row.run.row
    settings = [
        f"{key}={value}"
        for key, value in run["settings"].items()
        if len(varying[run["backend"], key]) > 1
    ]
    return printable(", ".join([f"{run['backend']} {run['backend_version'] or '?'}", *settings]))
