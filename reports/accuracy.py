"""How near runs are to the model in float64, as tables and sentences for every format."""

from __future__ import annotations

from collections.abc import Sequence

from xbackend.comparison.comparison import Comparison
from xbackend.comparison.findings import ReferenceComparison, ReferenceComparisonRow
from xbackend.comparison.summary import Summary
from xbackend.numerics.float64_error import ErrorMetrics

from .formatting import format_number, format_percent, name_row, pluralize, printable
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
    return [
        f"{_nearest(summary, found.rows)} {_lost(summary, found)}",
        *(_strange(summary, row) for row in found.rows if row.strange),
        f"Judged by float64 of {printable(by)}. {MEANING}",
    ]


def _nearest(summary: Summary, rows: Sequence[ReferenceComparisonRow]) -> str:
    first, last = rows[0], rows[-1]
    where = "to float64 at the outputs"
    if len(rows) == 1:
        return f"{_name(summary, first)}, compared with float64 at the outputs: {_distance(first)}."
    if first.output.relative == last.output.relative:
        return (
            f"All are equally near {where}: relative error {format_number(first.output.relative)}."
        )
    return (
        f"Nearest {where} is {_name(summary, first)} ({_distance(first)}), farthest "
        f"{_name(summary, last)} ({_distance(last)})."
    )


def _strange(summary: Summary, row: ReferenceComparisonRow) -> str:
    names = ", ".join(f"'{printable(name)}'" for name in row.strange[:3])
    more = f" and {len(row.strange) - 3} more" if len(row.strange) > 3 else ""
    return (
        f"Note: {_name(summary, row)}: {names}{more} hold other numbers than the reference "
        "altogether, which is no loss of accuracy but another tensor."
    )


def _distance(row: ReferenceComparisonRow) -> str:
    relative = format_number(row.output.relative)
    return f"relative error {relative}, {row.output.correct_bits} correct bits"


def _lost(summary: Summary, found: ReferenceComparison) -> str:
    """Return at which layer the nearest run loses most, and the farthest where that differs."""
    rows = [found.rows[0], *found.rows[1:][-1:]]
    parts = dict.fromkeys(_lost_at(summary, found, row) for row in rows if row.lost)
    return f"Most accuracy is lost {'; '.join(parts)}." if parts else ""


def _lost_at(summary: Summary, found: ReferenceComparison, row: ReferenceComparisonRow) -> str:
    tap, bits = row.lost[0]
    layer = next(layer for layer in row.first.layers if layer["tap"] == tap)
    where = f"layer {layer['layer']} ({printable(layer['operator'])}, tap '{printable(tap)}')"
    return f"by {_name(summary, row)} at {where}: {bits:.1f} bits"
