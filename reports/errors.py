"""The report of errors against float64, layer by layer: a column for each run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tabulate import tabulate

from xbackend.comparison.comparison import Comparison
from xbackend.comparison.findings import ROUNDING
from xbackend.comparison.summary import summaries
from xbackend.numerics.floats import FORMATS
from xbackend.store.records import Record

from .sections.accuracy import find_reference_comparison
from .wording.formatting import format_number, heading, name_row, printable, shorten

LONGEST = 28
"""Characters of a layer's name that are shown."""
NOTHING = (
    "No run was held against float64, so there is no error to show: 'xbackend compare --reference "
    "float64 --format errors'.\n"
)
LEGEND = (
    "Norm of the error over that of the tensor, inherited and own error together.\n"
    "To draw it: --output figure.svg, .png or .pdf; with --certify with what rounding allows."
)


@dataclass(frozen=True)
class ErrorCurve:
    """One run's errors, or those of runs with the same bits."""

    name: str
    relative: tuple[float | None, ...]
    """For each layer; None where it was not recorded or is not finite."""


@dataclass(frozen=True)
class ErrorCurves:
    """The errors of the runs of a cohort."""

    title: str
    layers: tuple[Record, ...]
    """Keys `tap`, `layer`, `operator`."""
    curves: tuple[ErrorCurve, ...]
    bounds: tuple[float | None, ...]
    """What rounding in each layer's own arithmetic can make at most, relative to its scale; None
    where no certificate tells."""


def error_curves(comparison: Comparison) -> list[ErrorCurves]:
    """Return the errors of each cohort that was held against float64."""
    found = []
    for summary in summaries(comparison):
        judged = find_reference_comparison(comparison, summary)
        if judged is None:
            continue
        names = {name: name_row(row) for row in summary.rows for name in row.ids}
        taps = [str(layer["tap"]) for layer in judged.layers]
        curves = tuple(
            ErrorCurve(
                names[row.ids[0]],
                tuple(row.taps[tap].relative if tap in row.taps else None for tap in taps),
            )
            for row in judged.rows
        )
        ids = {run.id for run in summary.cohort.runs}
        bounds = tuple(_bound(comparison, ids, tap) for tap in taps)
        found.append(ErrorCurves(heading(summary), judged.layers, curves, bounds))
    return found


def _bound(comparison: Comparison, ids: set[str], tap: str) -> float | None:
    """Return the largest bound of a layer's rounding over some runs."""
    limits = [
        layer.judgement.limit * 2.0 ** -(FORMATS[precision].mantissa_bits + 1)
        for each in comparison.certificates
        for precision in [str(each.run.row["precision"])]
        if each.run.id in ids and precision in FORMATS
        for layer in each.layers
        if layer.tap == tap and layer.judgement is not None and layer.verdict == ROUNDING
    ]
    return max(limits, default=None)


def render(comparison: Comparison) -> str:
    """Lay out a table for each cohort: a row for each layer, a column for each run."""
    found = error_curves(comparison)
    return "\n\n".join([*map(_table, found), LEGEND]) + "\n" if found else NOTHING


def _table(found: ErrorCurves) -> str:
    rows = [
        [
            layer["layer"],
            shorten(printable(layer["tap"]), LONGEST),
            *(format_number(curve.relative[at]) for curve in found.curves),
            format_number(found.bounds[at]),
        ]
        for at, layer in enumerate(found.layers)
    ]
    numbers = [str(number) for number in range(1, len(found.curves) + 1)]
    headers = ["layer", "tap", *numbers, "rounding"]
    text = tabulate(
        rows,
        headers,
        disable_numparse=True,
        colalign=["right", "left", *(["right"] * (len(headers) - 2))],
    )
    return "\n".join([found.title, "", text, "", *_names(found.curves)])


def _names(curves: Sequence[ErrorCurve]) -> list[str]:
    return [f"  {number}  {curve.name}" for number, curve in enumerate(curves, 1)]
