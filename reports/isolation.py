"""Which layers have an error of their own and which inherit one, as tables and sentences."""

from __future__ import annotations

from collections.abc import Sequence

from xbackend.comparison.findings import INHERITED, Isolation, LayerVerdict
from xbackend.numerics.metrics import Metrics
from xbackend.store.records import Run

from .formatting import DAGGER, format_number, format_percent, pluralize, printable
from .tables import Table

MOST_NAMED = 3
"""Layers that a sentence names, of several."""


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
    sentences = [_first(found)]
    if found.unknown:
        sentences.append(_unknown(found))
    doubtful = [each for each in found.layers if each.has_own and each.by_emulation]
    if doubtful:
        sentences.append(
            f"{DAGGER} an emulator computes {_named(doubtful)} unlike a real processor: no finding."
        )
    return [*sentences, *(f"Note: {note}" for note in found.notes)]


def _first(found: Isolation) -> str:
    inheriting = sum(each.verdict == INHERITED for each in found.layers)
    rest = (
        f"{pluralize(inheriting, 'other')} only {'inherit' if inheriting != 1 else 'inherits'} one"
    )
    total = pluralize(len(found.layers), "layer")
    if found.own:
        first = found.own[0]
        if len(found.own) == 1:
            return f"Of {total}, {_place(first)} alone has an error of its own; {rest}."
        return (
            f"The first layer whose own arithmetic differs is {_place(first)}; {len(found.own)} of "
            f"{total} have an error of their own, {rest}."
        )
    if found.unknown:
        return f"Of {total}, none that can be isolated has an error of its own; {rest}."
    if inheriting:
        return f"Of {total}, none has an error of its own; {rest}, from the inputs."
    return f"No layer of {len(found.layers)} deviates: there is nothing to isolate."


def _place(layer: LayerVerdict) -> str:
    where = f"({printable(layer.operator)}, tap '{printable(layer.tap)}')"
    return f"layer {layer.layer} {where}"


def _named(layers: Sequence[LayerVerdict]) -> str:
    names = ", ".join(f"'{printable(each.tap)}'" for each in layers[:MOST_NAMED])
    more = len(layers) - MOST_NAMED
    return f"{names} and {more} more" if more > 0 else names


def _unknown(found: Isolation) -> str:
    layers = found.unknown
    reasons = ", or ".join(dict.fromkeys(each.reason for each in layers))
    count = pluralize(len(layers), "layer")
    what = f"{count} cannot be isolated, {_named(layers)}: {printable(reasons)}."
    return (
        f"{what} Cure: run both with {found.no_fusion_options}."
        if found.no_fusion_options
        else what
    )
