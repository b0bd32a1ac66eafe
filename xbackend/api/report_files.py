"""Files that reports are written to, or drawn into where the suffix is a plot's."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from xbackend.api.arguments import PathLike
from xbackend.errors import UsageError
from xbackend.plugins import registry

PLOT_SUFFIXES = (".png", ".svg", ".pdf")
"""Of files that a plot can be written to."""
PICTURES = (".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".eps", ".ps")
"""Of files that hold pictures, too, but of a kind that nothing is drawn into."""


def is_plot(output: PathLike | None) -> bool:
    """Tell whether a file is one that a plot is written to."""
    return output is not None and os.fspath(output).lower().endswith(PLOT_SUFFIXES)


def report_writer(name: str, output: PathLike, **how: Any) -> Callable[[Any], None]:
    """Return what writes a report of a comparison, or draws it. Raises UsageError if it cannot be.

    So what cannot be shown is refused before anything is computed.
    """
    render, path = registry.report(name), Path(output)
    check_text(output)
    if not is_plot(output):
        return lambda result: write_text(path, render(result, **how))
    drawn = sorted(set(registry.report_formats()) & set(registry.plots()))
    if name not in drawn:
        raise UsageError(
            f"The report '{name}' cannot be drawn into {output}. Reports that can: "
            f"{', '.join(drawn)}."
        )
    draw = registry.plot(name)
    return lambda result: draw(result, path)


def check_text(output: PathLike | None) -> None:
    """Raise UsageError for a file that should hold a picture of a kind that is not drawn."""
    if output is not None and os.fspath(output).lower().endswith(PICTURES):
        known = f"{', '.join(PLOT_SUFFIXES[:-1])} or {PLOT_SUFFIXES[-1]}"
        raise UsageError(
            f"Nothing is drawn into {output}. Name a file that ends in {known} for a picture, or "
            "in another suffix for a text."
        )


def write_text(output: PathLike, text: str) -> None:
    """Write a text to a file. Raises UsageError where that is not allowed."""
    whole = text if text.endswith("\n") else text + "\n"
    try:
        Path(output).write_text(whole, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UsageError(f"Cannot write {output}: {error.strerror or error}.") from error
