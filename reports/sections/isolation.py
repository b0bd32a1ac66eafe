"""Which layers have an error of their own and which inherit one, as tables and sentences."""

from __future__ import annotations

from collections.abc import Sequence

from xbackend.comparison.findings import INHERITED, Isolation, LayerVerdict
from xbackend.facts.isolated import isolation_facts
from xbackend.numerics.metrics import Metrics
from xbackend.store.records import Run

from ..wording.formatting import DAGGER, format_number, format_percent, printable
from ..wording.sentences import isolation_verdict
from .tables import Table


def isolation_heading(found: Isolation) -> str:
    """Return which run is isolated against which."""
    return f"Inherited or own: {name(found.run)}, against {name(found.reference)}"


def name(run: Run) -> str:
    """Return what a run is called: backend, version, platform, precision and the end of its id."""
    row = run.row
    words = [f"{row['backend']} {row['backend_version']}", str(row["platform"])]
    threads = row["settings"].get("threads", 1)
    words += [f"threads={threads}"] if threads != 1 else []
    return printable(f"{row['model']} by {', '.join(words)} ({'-'.join(run.id.split('-')[-3:])})")


def isolation_table(found: Isolation, most: int | None) -> tuple[Table, int]:
    """Return the layers that deviate or cannot be isolated, and how many of these are left out.

    Where there are too many, those that only inherit are left out first.
    """
    rows = [each for each in found.layers if each.verdict != "none"]
    shown = rows
    if most is not None and len(rows) > most:
        shown = [each for each in rows if each.verdict != INHERITED][:most]
    headers = ("layer", "tap", "operator", "inherited", "ulp", "own", "ulp", "verdict")
    numeric = (True, False, False, True, True, True, True, False)
    return Table(headers, tuple(map(_row, shown)), numeric), len(rows) - len(shown)


def _row(layer: LayerVerdict) -> tuple[str, ...]:
    return (
        str(layer.layer),
        printable(layer.tap),
        printable(layer.operator),
        *_cells(layer.inherited),
        *_cells(layer.own),
        layer.verdict + (DAGGER if layer.by_emulation else ""),
    )


def _cells(metrics: Metrics | None) -> tuple[str, str]:
    """Return the share of elements that deviate and the largest distance; nothing for none."""
    if metrics is None:
        return ("–", "–")
    if metrics.deviating_fraction == 0:
        return ("", "")
    return format_percent(metrics.deviating_fraction), format_number(metrics.max_ulp)


def isolation_sentences(found: Isolation) -> Sequence[str]:
    """Return which layer is the first with an error of its own, and what is not known."""
    said = isolation_verdict(isolation_facts(found), found.no_fusion_options)
    return [*said, *(f"Note: {note}" for note in found.notes)]
