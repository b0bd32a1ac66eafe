"""The report for spreadsheets: one row for each tensor of each sample."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from xbackend.comparison.activations import activations
from xbackend.comparison.comparison import Comparison
from xbackend.numerics.float64_error import ErrorMetrics
from xbackend.store.escaping import spreadsheet_cell

COLUMNS = (
    "model", "group", "inputs_digest", "input", "tap", "layer", "operator", "is_output", "dtype",
    "shape", "eqc_count", "remaining_precision", "max_ulp", "max_abs", "deviating_fraction",
    "not_finite", "runs_total", "eqcs", "missing", "taps_not_neutral", "emulation_unsafe", "kind",
    "reads", "classes_born", "classes_collapsed", "born_by_emulation", "born_through",
    "origin_apart", "origin_unknown",
)  # fmt: skip

ACTIVATIONS = (
    "model", "group", "inputs_digest", "input", "layer", "operator", "kind", "tap_before",
    "tap_after", "eqc_count_before", "eqc_count_after", "deviating_fraction_before",
    "deviating_fraction_after", "remaining_precision_before", "remaining_precision_after",
    "change", "max_ulp_before", "max_ulp_after", "runs", "left_out", "taps_not_neutral",
    "emulation_unsafe",
)  # fmt: skip

NAMES = (
    "missing", "taps_not_neutral", "emulation_unsafe", "reads", "born_through", "origin_unknown",
    "runs", "left_out",
)  # fmt: skip
"""Columns that hold names, parted by spaces."""

CELLS: dict[str, Callable[[Any], str]] = {
    "group": lambda group: json.dumps(group, separators=(",", ":")),
    "shape": lambda shape: "x".join(map(str, shape)),
    "eqcs": lambda eqcs: "|".join(" ".join(ids) for ids in eqcs),
    "is_output": lambda value: str(value).lower(),
    "origin_apart": lambda value: str(value).lower(),
    **dict.fromkeys(NAMES, lambda names: " ".join(names or ())),
}
"""How a column with more than one value is written; classes are parted by `|`."""


JUDGED = {
    "correct_bits": "correct_bits",
    "reference_ulp": "max_ulp",
    "reference_abs": "max_abs",
    "reference_relative": "relative",
}
"""Further columns where runs are judged by float64, and what they hold: one value for each class
of `eqcs`, parted by `|`."""


VERDICTS = ("reference", "run", "layer", "tap", "operator", "verdict", "reason", "by_emulation")
DISTANCES = ("remaining_precision", "max_ulp", "max_abs", "deviating_fraction")
"""Columns where layers are isolated: verdicts, and distances in total, of its own, inherited."""


def render(comparison: Comparison) -> str:
    """Write a header and one row for each entry of `comparisons`; null is an empty cell.

    Where layers were isolated, it is one row for each of these instead.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    if comparison.isolations:
        writer.writerows(_isolations(comparison))
        return stream.getvalue()
    judged = {id(each.cohort): each for each in comparison.reference_comparisons}
    writer.writerow([*COLUMNS, *(JUDGED if judged else ())])
    for tap in (tap for sample in comparison.samples for tap in sample.taps):
        row = tap.to_dict()
        cells = [_cell(key, row[key]) for key in COLUMNS]
        found = judged.get(id(tap.cohort))
        ratings = found.by_class.get((tap.input, tap.tap), ()) if found else ()
        writer.writerow([*cells, *(_ratings(ratings, key) for key in JUDGED.values() if judged)])
    return stream.getvalue()


def _isolations(comparison: Comparison) -> Iterator[Sequence[Any]]:
    kinds = ("total", "own", "inherited")
    yield [*VERDICTS, *(f"{kind}_{key}" for kind in kinds for key in DISTANCES)]
    for found in comparison.isolations:
        for each in found.layers:
            row = {"reference": found.reference.id, "run": found.run.id, **each.to_dict()}
            row["by_emulation"] = str(each.by_emulation).lower()
            metrics = [(row[kind] or {}).get(key) for kind in kinds for key in DISTANCES]
            yield [*(spreadsheet_cell(row[key]) for key in VERDICTS), *metrics]


def render_activations(comparison: Comparison) -> str:
    """Write a header and one row for each activation and pooling layer of each sample."""
    rows = [passage.to_dict() for passage in activations(comparison)]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(ACTIVATIONS)
    writer.writerows([_cell(key, row[key]) for key in ACTIVATIONS] for row in rows)
    return stream.getvalue()


def _ratings(ratings: Sequence[ErrorMetrics | None], key: str) -> str:
    values = [None if each is None else getattr(each, key) for each in ratings]
    return "|".join("" if value is None else str(value) for value in values)


def _cell(key: str, value: Any) -> Any:
    return spreadsheet_cell(CELLS[key](value) if key in CELLS else value)
