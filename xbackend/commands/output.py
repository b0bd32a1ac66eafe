"""Where a command's result goes: standard output, a file, or a file that is drawn."""

from __future__ import annotations

import sys

from xbackend.errors import UsageError, XbackendError

TYPE_CHECKING = False  # as `typing` has it, which takes longer to import than all of this
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

MAX_LEFT_OUT = 10
"""How many records that are not sound are named one by one."""


def write_result(output: str | None, text: str) -> None:
    """Write a text to a file, or to standard output. Raises UsageError."""
    from xbackend.api.report_files import write_text

    if output is None:
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
    else:
        write_text(output, text)


def comparison_writer(name: str, output: str | None, **how: Any) -> Callable[[Any], None]:
    """Return what writes a report of a comparison. Raises UsageError for one that cannot be.

    `how` are keyword arguments of the report, such as `complete`.
    """
    from xbackend.api.report_files import report_writer
    from xbackend.plugins import registry

    if output is not None:
        return report_writer(name, output, **how)
    render = registry.report(name)
    return lambda result: write_result(None, render(result, **how))


def plot_writer(name: str, output: str | None) -> Callable[[Any], None]:
    """Return what draws into a file, or does nothing without one.

    Raises UsageError, before anything is computed, for a file that cannot be drawn.
    """
    if output is None:
        return lambda found: None
    from pathlib import Path

    from xbackend.api.report_files import PLOT_SUFFIXES, is_plot
    from xbackend.plugins import registry

    if not is_plot(output):
        known = f"{', '.join(PLOT_SUFFIXES[:-1])} or {PLOT_SUFFIXES[-1]}"
        raise UsageError(f"'--output {output}' must end in {known}.")
    draw, path = registry.plot(name), Path(output)
    return lambda found: draw(found, path)


def tell_left_out(sentences: Sequence[str]) -> int:
    """Say which records were left out, as they are not sound, and return the exit status."""
    shown, more = list(sentences[:MAX_LEFT_OUT]), len(sentences) - MAX_LEFT_OUT
    if more > 0:
        shown.append(
            f"{more} more records are not sound either: 'xbackend store check' names them."
        )
    for sentence in shown:
        print(f"xbackend: {sentence}", file=sys.stderr)
    return XbackendError.exit_status if shown else 0
