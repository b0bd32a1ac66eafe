"""Lays out classes over platforms and numbers of threads: a table for each model and precision."""

from __future__ import annotations

from collections.abc import Sequence

from xbackend.comparison.threads import ThreadCell, ThreadRow, ThreadTable
from xbackend.facts.fleet import thread_facts
from xbackend.store.cohort import number_format

from ..wording.fleet import OVERSUBSCRIBED_MARK, UNSAFE_MARK, thread_sentences
from ..wording.formatting import pluralize


def render(tables: Sequence[ThreadTable]) -> str:
    """Return the tables, one below the other."""
    return "\n\n".join(map(table_text, tables))


def table_text(table: ThreadTable) -> str:
    """Return a table: a row for each platform, a column for each number of threads."""
    from tabulate import tabulate

    group = table.group
    what = "the outputs" if table.tap is None else f"'{table.tap}'"
    runs = pluralize(sum(map(len, table.classes)), "run")
    counts = f"{runs} in {pluralize(len(table.classes), 'class')}"
    title = f"{group['model']}, {number_format(group)}: classes of {what}, {counts}"
    crowded = _crowded(table.rows)
    rows = [
        [_backend(row), _platform(row, crowded), _number(row.cores)]
        + [cell_text(row.cell(threads)) for threads in table.threads]
        for row in table.rows
    ]
    headers = ["backend", "platform", "cores", *map(str, table.threads)]
    align = ["left", "left", *["right"] * (len(table.threads) + 1)]
    text = tabulate(rows, headers, disable_numparse=True, colalign=align)
    return "\n".join([title, "", text, "", *sentences(table)])


def sentences(table: ThreadTable) -> list[str]:
    """Return what the numbers are and what they say."""
    return thread_sentences(thread_facts(table), several=len(table.threads) > 1)


def cell_text(cell: ThreadCell | None) -> str:
    """Return the class in a cell, what went wrong instead, or a dash where nothing was run.

    >>> cell_text(ThreadCell(4, (2,), ("run",), (), True))
    '2*'
    """
    if cell is None:
        return "–"
    shown = ", ".join([*map(str, cell.classes), *cell.symptoms]) or "–"
    if not cell.classes:
        return shown
    return shown + UNSAFE_MARK * cell.unsafe + OVERSUBSCRIBED_MARK * cell.oversubscribed


def _backend(row: ThreadRow) -> str:
    settings = [f"{key}={value}" for key, value in row.settings.items()]
    return ", ".join([f"{row.backend} {row.version or ''}".rstrip(), *settings])


def _crowded(rows: Sequence[ThreadRow]) -> bool:
    """Tell whether two rows differ in nothing but the machine, which must then be named."""
    return len({(_backend(row), row.platform) for row in rows}) < len(rows)


def _platform(row: ThreadRow, crowded: bool) -> str:
    return f"{row.platform} ({row.device})" if crowded and row.device else row.platform


def _number(cores: int | None) -> str:
    return "–" if cores is None else str(cores)


def row_labels(rows: Sequence[ThreadRow]) -> list[str]:
    """Return a short name for each row, with what all rows share left out."""
    backends = {_backend(row) for row in rows}
    crowded = _crowded(rows)
    return [
        _platform(row, crowded) if len(backends) == 1 else f"{_backend(row)}, {row.platform}"
        for row in rows
    ]
