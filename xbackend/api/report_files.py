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


def is_plot(output: PathLike | None) -> bool:
    """Tell whether a file is one that a plot is written to."""
    return output is not None and os.fspath(output).lower().endswith(PLOT_SUFFIXES)


def report_writer(name: str, output: PathLike) -> Callable[[Any], None]:
    """Return what writes a report of a comparison, or draws it. Raises UsageError if it cannot be.

    So what cannot be shown is refused before anything is computed.
    """
    render, path = registry.report(name), Path(output)
    if not is_plot(output):
        return lambda result: write_text(path, render(result))
    drawn = sorted(set(registry.report_formats()) & set(registry.plots()))
    if name not in drawn:
        raise UsageError(
            f"The report '{name}' cannot be drawn into {output}. Reports that can: "
            f"{', '.join(drawn)}."
        )
    draw = registry.plot(name)
    return lambda result: draw(result, path)


def write_text(output: PathLike, text: str) -> None:
    """Write a text to a file. Raises UsageError where that is not allowed."""
    whole = text if text.endswith("\n") else text + "\n"
    try:
        Path(output).write_text(whole, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UsageError(f"Cannot write {output}: {error.strerror or error}.") from error
