"""Plots of the studies: lines over one axis, and grids of classes, one below the other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xbackend.studies.figure import Cell, Grid, LinePlot, Panel, Series

from ..wording.formatting import printable, shorten
from .figure_file import DASHES, PALETTE, open_figure, power_of_ten

LINES = (6.5, 3.6)
"""Width and height of a panel of lines, in inches."""
CELL = (0.9, 0.34)
"""Width and height of a cell of a grid, in inches."""
LONGEST = 40
"""Characters of a name that are shown."""
SPREAD = 0.4
"""How far apart lines are moved at most that would lie upon each other."""
APART = 0.05
"""How far apart two such lines are moved."""


def draw_study(panels: Sequence[Panel], path: Path) -> None:
    """Draw the panels of a study into a file, whose suffix says in which format.

    Raises UsageError where matplotlib is not installed or the file cannot be written.
    """
    sizes = [_size(panel) for panel in panels]
    heights = [height for _, height in sizes]
    with open_figure(path, max(width for width, _ in sizes), sum(heights)) as figure:
        figure.set_layout_engine("constrained")
        grids = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)
        for axes, panel in zip(grids[:, 0], panels, strict=True):
            axes.set_title(shorten(printable(panel.title), 2 * LONGEST), loc="left", fontsize=10)
            axes.set_xlabel(panel.x_label)
            if isinstance(panel, LinePlot):
                _draw_lines(axes, panel)
            else:
                _draw_grid(axes, panel)


def _size(panel: Panel) -> tuple[float, float]:
    if isinstance(panel, LinePlot):
        return LINES
    return max(4.0, CELL[0] * len(panel.columns) + 2.5), CELL[1] * (len(panel.rows) + 4)


def _draw_lines(axes: Any, panel: LinePlot) -> None:
    """Draw lines, moved a little unless they are steady."""
    highest = max((y for series in panel.series for _, y in series.points), default=1)
    step = 0.0 if panel.no_jitter else min(APART, SPREAD / max(len(panel.series), 1))
    for place, series in enumerate(panel.series):
        _draw_series(axes, series, (place - (len(panel.series) - 1) / 2) * step)
    if panel.log_x:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(power_of_ten)
    axes.set_ylabel(panel.y_label)
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.set_ylim(min(0, axes.get_ylim()[0]), axes.get_ylim()[1] + 0.1 * max(highest, 1))
    axes.grid(axis="y", linewidth=0.4, alpha=0.5)
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)


def _draw_series(axes: Any, series: Series, lift: float) -> None:
    across = [x for x, _ in series.points]
    up = [y + lift for _, y in series.points]
    axes.plot(
        across,
        up,
        marker="o",
        markersize=3,
        linewidth=1.2,
        linestyle=DASHES[series.dash % len(DASHES)],
        color=PALETTE[series.hue % len(PALETTE)],
        label=shorten(printable(series.name), LONGEST),
    )


def _draw_grid(axes: Any, panel: Grid) -> None:
    axes.set_xlim(0, len(panel.columns))
    axes.set_ylim(len(panel.rows), 0)
    for y, row in enumerate(panel.cells):
        for x, mark in enumerate(row):
            _draw_mark(axes, x, y, mark)
    columns = [shorten(printable(name), LONGEST) for name in panel.columns]
    slanted = {"rotation": 30, "ha": "right"} if max(map(len, columns)) > 8 else {}
    axes.set_xticks([x + 0.5 for x in range(len(columns))], columns, **slanted)
    rows = [shorten(printable(name), LONGEST) for name in panel.rows]
    axes.set_yticks([y + 0.5 for y in range(len(rows))], rows)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _draw_mark(axes: Any, x: int, y: int, mark: Cell) -> None:
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Rectangle

    face: Any = "#f0f0f0" if mark.hue is None else to_rgb(PALETTE[mark.hue % len(PALETTE)])
    axes.add_patch(Rectangle((x, y), 1, 1, facecolor=face, edgecolor="white", linewidth=1.5))
    dark = mark.hue is not None and 0.299 * face[0] + 0.587 * face[1] + 0.114 * face[2] < 0.55
    ink = "white" if dark else "#303030"
    axes.text(x + 0.5, y + 0.5, mark.text, ha="center", va="center", color=ink, fontsize=8)
