"""What a study draws: lines or grids, one beside the other. A report lays them out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Series:
    """A line through points."""

    name: str
    points: tuple[tuple[float, float], ...]
    hue: int = 0
    """Lines of one hue belong together."""
    dash: int = 0
    """Tells lines of one hue apart."""


@dataclass(frozen=True)
class LinePlot:
    """Some lines over one axis."""

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    log_x: bool = False
    """Whether the axis across counts powers of ten."""
    no_jitter: bool = False
    """Whether lines stand where they are; else each is moved a little, so that none hides one."""


@dataclass(frozen=True)
class Cell:
    """A cell of a grid."""

    text: str
    hue: int | None = None
    """Cells of one hue are alike; None where nothing was computed."""


@dataclass(frozen=True)
class Grid:
    """Cells by row and column."""

    title: str
    x_label: str
    columns: tuple[str, ...]
    rows: tuple[str, ...]
    cells: tuple[tuple[Cell, ...], ...]
    """One row of cells for each row."""


Panel = LinePlot | Grid
