"""Plots of classes over platforms and numbers of threads, as the paper's Figure 2."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xbackend.comparison.threads import ThreadCell, ThreadTable
from xbackend.store.cohort import number_format

from ..results.cores import cell_text, row_labels, sentences
from ..wording.fleet import OVERSUBSCRIBED_MARK, UNSAFE_MARK
from ..wording.formatting import printable, shorten
from .figure_file import open_figure

CELL = (0.62, 0.36)
"""Width and height of a cell in inches."""
LONGEST = 60
"""Characters of a platform's name that are shown."""
HUES = 20
"""Colours before they begin again; the number in the cell tells classes apart all the same."""


def draw_threads(tables: Sequence[ThreadTable], path: Path) -> None:
    """Draw one grid for each table into a file, whose suffix says in which format.

    Raises UsageError where matplotlib is not installed or the file cannot be written.
    """
    rows = [len(table.rows) for table in tables]
    between = 3 + max(_legend(table).count("\n") for table in tables)
    height = sum(rows) + between * len(tables)
    width = max(len(table.threads) for table in tables) * CELL[0]
    with open_figure(path, max(width, 3), height * CELL[1]) as figure:
        grids = figure.subplots(len(tables), 1, squeeze=False, height_ratios=rows)
        edge = between / 2 / height
        figure.subplots_adjust(bottom=edge, top=1 - edge, hspace=between * len(tables) / sum(rows))
        for axes, table in zip(grids[:, 0], tables, strict=True):
            _draw_table(axes, table)


def _draw_table(axes: Any, table: ThreadTable) -> None:
    axes.set_xlim(0, len(table.threads))
    axes.set_ylim(len(table.rows), 0)
    for y, row in enumerate(table.rows):
        for x, threads in enumerate(table.threads):
            _draw_cell(axes, x, y, row.cell(threads))
    axes.set_xticks([x + 0.5 for x in range(len(table.threads))], map(str, table.threads))
    shown = [shorten(printable(name), LONGEST) for name in row_labels(table.rows)]
    axes.set_yticks([y + 0.5 for y in range(len(table.rows))], shown)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("threads" + _legend(table))
    group = table.group
    count = len(table.classes)
    what = "" if table.tap is None else f", '{table.tap}'"
    title = f"{group['model']}, {number_format(group)}{what}: {count} classes"
    axes.set_title(shorten(printable(title), LONGEST), loc="left", fontsize=10)


def _legend(table: ThreadTable) -> str:
    marked = [
        sentence
        for sentence in sentences(table)
        if sentence.startswith((OVERSUBSCRIBED_MARK, UNSAFE_MARK))
    ]
    return "".join(f"\n{sentence.partition(':')[0]}" for sentence in marked)


def _draw_cell(axes: Any, x: int, y: int, cell: ThreadCell | None) -> None:
    from matplotlib.patches import Rectangle

    face, ink = _colours(cell)
    hatch = "//" if cell is not None and len(cell.classes) > 1 else None
    axes.add_patch(
        Rectangle((x, y), 1, 1, facecolor=face, edgecolor="white", linewidth=1.5, hatch=hatch)
    )
    size = 6 if cell is not None and cell.symptoms else 9
    axes.text(x + 0.5, y + 0.5, cell_text(cell), ha="center", va="center", color=ink, fontsize=size)


def _colours(cell: ThreadCell | None) -> tuple[Any, str]:
    """Return the colour of a cell and of its text, light on dark and dark on light."""
    from matplotlib import colormaps

    if cell is None or not cell.classes:
        return "#f0f0f0", "#606060"
    red, green, blue, _ = colormaps["tab20"]((cell.classes[0] - 1) % HUES)
    dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.55
    return (red, green, blue), "white" if dark else "black"
