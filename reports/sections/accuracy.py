"""How near runs are to the model in float64, as tables and sentences for every format."""

from __future__ import annotations

from collections.abc import Sequence

from xbackend.comparison.comparison import Comparison
from xbackend.comparison.findings import ReferenceComparison, ReferenceComparisonRow
from xbackend.comparison.summary import Summary
from xbackend.facts.accuracy import accuracy_facts
from xbackend.numerics.float64_error import ErrorMetrics

from ..wording.formatting import format_number, format_percent, name_row, pluralize, printable
from ..wording.sentences import loss_sentences, nearest_sentence, strange_sentence
from .tables import LAST_LAYERS, Table

MOST_RUNS = 5
"""Runs that the table of layers has columns for: the nearest, and the farthest last."""
MEANING = (
    "Bits are leading mantissa bits that agree with it, rounded to the run's format; in brackets "
    "by norm, -log2 of the relative error; max abs, and relative in the mean square, are distances "
    "from it unrounded."
)


def find_reference_comparison(
    comparison: Comparison, summary: Summary
) -> ReferenceComparison | None:
    """Return what is known of a cohort's accuracy."""
    found = (each for each in comparison.reference_comparisons if each.cohort is summary.cohort)
    return next(found, None)


def accuracy_tables(
    summary: Summary, found: ReferenceComparison, most: int | None
) -> tuple[Table, Table]:
    """Return the runs, the nearest first, and the layers with the correct bits of each run."""
    return _runs(summary, found), _layers(found, most)


def _runs(summary: Summary, found: ReferenceComparison) -> Table:
    headers = ("", "nearest first", "bits", "max ulp", "max abs", "relative", "exact")
    rows = [
        (
            str(place),
            _name(summary, row),
            str(row.output.correct_bits),
            format_number(row.output.max_ulp),
            format_number(row.output.max_abs),
            format_number(row.output.relative),
            format_percent(row.output.exact_fraction),
        )
        for place, row in enumerate(found.rows, 1)
    ]
    return Table(headers, tuple(rows), (True, False, True, True, True, True, True))


def _name(summary: Summary, judged: ReferenceComparisonRow) -> str:
    """Return what the first of some runs is called, and how many have its bits in every layer."""
    row = next(row for row in summary.rows if judged.ids[0] in row.ids)
    others = len(set(judged.ids) - set(row.ids))
    return name_row(row) + (f" and {others} more" if others else "")


def _layers(found: ReferenceComparison, most: int | None) -> Table:
    places = [*range(len(found.rows))]
    if len(places) > MOST_RUNS:
        places = [*places[: MOST_RUNS - 1], places[-1]]
    headers = ("layer", "tap", "operator", *(f"run {place + 1}" for place in places))
    rows = [
        (
            str(layer["layer"]),
            printable(layer["tap"]),
            printable(layer["operator"]),
            *(_cell(found.rows[place], str(layer["tap"])) for place in places),
        )
        for layer in found.layers
    ]
    if most is not None and len(rows) > most:
        gap = ("…", f"and {pluralize(len(rows) - most, 'layer')} more", *[""] * (len(headers) - 2))
        rows = [*rows[: most - LAST_LAYERS], gap, *rows[-LAST_LAYERS:]]
    numeric = (True, False, False, *(True for _ in places))
    return Table(headers, tuple(rows), numeric)


def _cell(row: ReferenceComparisonRow, tap: str) -> str:
    """Return the correct bits of a run's tensor, and in brackets its bits by norm."""
    one = row.taps.get(tap)
    return "–" if one is None else f"{one.correct_bits} ({_norm(row, one)})"


def _norm(row: ReferenceComparisonRow, one: ErrorMetrics) -> str:
    bits = one.normwise_bits(str(row.first.row["precision"]))
    return "–" if bits is None else f"{bits:.1f}"


def accuracy_sentences(summary: Summary, found: ReferenceComparison) -> Sequence[str]:
    """Return who is nearest, where accuracy is lost, and what the numbers are."""
    reference = found.reference.row
    by = f"{reference['backend']} {reference['backend_version']}"
    rows = accuracy_facts(found)

    def name(row: ReferenceComparisonRow) -> str:
        return _name(summary, row)

    return [
        " ".join([nearest_sentence(rows, name), *loss_sentences(rows, name)]),
        *(strange_sentence(each.row, name) for each in rows if each.row.strange),
        f"Judged by float64 of {printable(by)}. {MEANING}",
    ]
