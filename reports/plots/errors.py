"""The plot of errors against float64 over the layers, with what rounding allows as a band."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xbackend.comparison.comparison import Comparison
from xbackend.errors import UsageError

from ..errors import ErrorCurves, error_curves
from ..wording.formatting import printable, shorten
from .figure_file import DASHES, PALETTE, open_figure, power_of_ten

HEIGHT = 3.6
"""Inches for a cohort."""
WIDEST = 24.0
STEP = 0.2
"""Inches for a layer."""
LEGIBLE = 110
"""With more layers than these, every second name and so on is left out."""
LONGEST = 28
NOTHING = (
    "No run was held against float64, so there is nothing to draw. Add --reference float64, and "
    "--certify for what rounding allows."
)


def draw_errors(comparison: Comparison, path: Path) -> None:
    """Draw each run's relative error over the layers, on a logarithmic scale: see `open_figure`."""
    found = [each for each in error_curves(comparison) if _has_errors(each)]
    if not found:
        raise UsageError(NOTHING)
    width = min(WIDEST, max(7.0, 1.5 + STEP * max(len(each.layers) for each in found)))
    with open_figure(path, width, HEIGHT * len(found)) as figure:
        figure.set_layout_engine("constrained")
        grids = figure.subplots(len(found), 1, squeeze=False)
        for axes, each in zip(grids[:, 0], found, strict=True):
            _draw(axes, each)


def _has_errors(found: ErrorCurves) -> bool:
    return any(error for curve in found.curves for error in curve.relative)


def _draw(axes: Any, found: ErrorCurves) -> None:
    axes.set_yscale("log")
    least = min(error for curve in found.curves for error in curve.relative if error) / 2
    bounded = [(at, bound) for at, bound in enumerate(found.bounds) if bound]
    for at, bound in bounded:
        axes.fill_between(
            [at - 0.5, at + 0.5], least, bound, color=PALETTE[4], alpha=0.25, linewidth=0,
            label="what rounding of the layer allows" if at == bounded[0][0] else None,
        )  # fmt: skip
    for place, curve in enumerate(found.curves):
        errors = [error or float("nan") for error in curve.relative]
        axes.plot(
            range(len(errors)), errors, marker=".", linewidth=1.2, color=PALETTE[place % 8],
            linestyle=DASHES[place // 8 % 4], label=shorten(curve.name, 60),
        )  # fmt: skip
    title = f"{shorten(found.title, 90)}:\nerror of each run against float64 over the layers"
    axes.set_title(title, loc="left", fontsize=10)
    axes.yaxis.set_major_formatter(power_of_ten)
    axes.set_ylabel("relative error (norm)")
    axes.set_xlabel("layer, in the order of the graph")
    axes.set_xlim(-0.6, len(found.layers) - 0.4)
    _name(axes, [printable(layer["tap"]) for layer in found.layers])
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)


def _name(axes: Any, names: Sequence[str]) -> None:
    every = 1 + (len(names) - 1) // LEGIBLE
    places = range(0, len(names), every)
    shown = [shorten(names[place], LONGEST) for place in places]
    axes.set_xticks(places, shown, rotation=90, fontsize=6)
