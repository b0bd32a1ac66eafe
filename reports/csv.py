"""The report for spreadsheets: one row for each tensor of each sample."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from typing import Any

from xbackend.comparison import Comparison

COLUMNS = (
    "model", "group", "inputs_digest", "input", "tap", "layer", "operator", "is_output", "dtype",
    "shape", "eqc_count", "remaining_precision", "max_ulp", "max_abs", "deviating_fraction",
    "not_finite", "runs_total", "eqcs", "missing", "taps_not_neutral", "emulation_unsafe",
)  # fmt: skip

CELLS: dict[str, Callable[[Any], str]] = {
    "group": lambda group: json.dumps(group, separators=(",", ":")),
    "shape": lambda shape: "x".join(map(str, shape)),
    "eqcs": lambda eqcs: "|".join(" ".join(ids) for ids in eqcs),
    "missing": " ".join,
    "taps_not_neutral": " ".join,
    "emulation_unsafe": " ".join,
    "is_output": lambda value: str(value).lower(),
}
"""How a column with more than one value is written; classes are parted by `|`."""


def render(comparison: Comparison) -> str:
    """Write a header and one row for each entry of `comparisons`; null is an empty cell."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in comparison.document()["comparisons"]:
        writer.writerow([_cell(key, row[key]) for key in COLUMNS])
    return stream.getvalue()


def _cell(key: str, value: Any) -> Any:
    return CELLS[key](value) if key in CELLS else value
