"""An empty figure, and the file that it is written to: what all plots share."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from xbackend.errors import UsageError

PALETTE = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#8C6BB1", "#7F7F7F",
)  # fmt: skip
"""Colours that are told apart by who cannot see all of them (Okabe and Ito), and two more."""
DASHES = ("-", "--", ":", "-.")
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
SMALL = 9
"""Size of the letters, in points."""


def power_of_ten(value: float, _: object) -> str:
    """Return the label of a power of ten: formulas are switched off, see `open_figure`.

    >>> power_of_ten(100000.0, None)
    '10⁵'
    """
    return "10" + str(round(math.log10(value))).translate(RAISED)


@contextmanager
def open_figure(path: Path, width: float, height: float) -> Iterator[Any]:
    """Give an empty figure of so many inches, and write what was drawn on it to a file.

    The suffix says in which format. The same drawing gives the same bytes, whenever it is drawn.
    Texts stand for themselves: names come from models, and a `$` in one is no formula.
    Raises UsageError where matplotlib is not installed or the file cannot be written.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UsageError(
            "A plot needs matplotlib. Install it with: pip install 'xbackend[plot]'"
        ) from error
    plain = {"svg.hashsalt": "xbackend", "font.size": SMALL, "text.parse_math": False}
    with matplotlib.rc_context(plain):
        figure = Figure(figsize=(width, height))
        yield figure
        _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    dated = {} if path.suffix.lower() == ".png" else {"metadata": _undated(path)}
    try:
        figure.savefig(path, bbox_inches="tight", dpi=200, **dated)
    except OSError as error:
        raise UsageError(f"Cannot write {path}: {error.strerror or error}.") from error


def _undated(path: Path) -> dict[str, None]:
    """Leave the clock out of the file: the same store gives the same plot."""
    return {"Date": None} if path.suffix.lower() == ".svg" else {"CreationDate": None}
