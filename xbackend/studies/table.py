"""What a study shows as a table: laid out for a terminal, or as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xbackend.store.escaping import spreadsheet_cell


@dataclass(frozen=True)
class Table:
    """Cells that have only to be laid out."""

    title: str
    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text_columns: int = 1
    """How many columns, from the first, are names and not numbers."""

    def text(self) -> str:
        """Return the lines for a terminal."""
        from tabulate import tabulate

        align = [
            "left" if place < self.text_columns else "right" for place in range(len(self.headers))
        ]
        laid = tabulate(self.rows, self.headers, disable_numparse=True, colalign=align)
        return f"{self.title}\n\n{laid}" if self.rows else f"{self.title}: nothing was computed"


def csv_text(records: Sequence[Mapping[str, Any]]) -> str:
    r"""Return one line for each record; lists become words with spaces between, None is empty.

    >>> csv_text([{"backend": "ort", "classes": [1, 2]}, {"backend": "tf", "classes": None}])
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
