"""Lays out what a study found: its tables, notes, criterion, and the sentence last; or CSV."""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from xbackend.comparison.threads import ThreadTable
from xbackend.store.escaping import spreadsheet_cell
from xbackend.studies.perform import StudyReport
from xbackend.studies.study import Study
from xbackend.studies.table import Table

from . import cores


def render(report: StudyReport) -> str:
    """Return what a terminal shows."""
    study, result = report.study, report.result
    said = [*(f"Note: {note}" for note in result.notes), study.criterion, report.sentence]
    folded = [
        textwrap.fill(each, 100, subsequent_indent="  ", break_on_hyphens=False) for each in said
    ]
    return "\n\n".join([*map(_table_text, result.tables), "\n".join(folded)])


def render_list(studies: Sequence[Study]) -> str:
    """Return a line for each study."""
    return "\n".join(f"{each.name:16}{each.text} ({each.source})" for each in studies)


def _table_text(table: Table | ThreadTable) -> str:
    from tabulate import tabulate

    if isinstance(table, ThreadTable):
        return cores.table_text(table)
    align = [
        "left" if place < table.text_columns else "right" for place in range(len(table.headers))
    ]
    laid = tabulate(table.rows, table.headers, disable_numparse=True, colalign=align)
    return f"{table.title}\n\n{laid}" if table.rows else f"{table.title}: nothing was computed"


def render_csv(records: Sequence[Mapping[str, Any]]) -> str:
    r"""Return one line for each record; lists become words with spaces between, None is empty.

    >>> render_csv([{"backend": "ort", "classes": [1, 2]}, {"backend": "tf", "classes": None}])
    'backend,classes\nort,1 2\ntf,\n'
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    headers = list(dict.fromkeys(key for record in records for key in record))
    writer.writerow(headers)
    writer.writerows(
        [spreadsheet_cell(_cell(record.get(key))) for key in headers] for record in records
    )
    return stream.getvalue()


def _cell(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return " ".join(map(str, value))
    return "" if value is None else str(value)
