"""Lays out which layers stay in float32, and what that gave on each backend."""

from __future__ import annotations

from xbackend.mitigation.mixed_precision import OVERFLOWS, MixedPrecision, PrecisionTrial
from xbackend.numerics.float64_error import ErrorMetrics

from ..sections.tables import Table
from ..terminal import render_table, terminal_width, wrap
from ..wording.formatting import format_number, pluralize, printable

MOST_LAYERS = 20
"""So many layers are listed; the option holds all."""


def render(found: MixedPrecision) -> str:
    """Return the layers, the trials, and the commands that use the list."""
    width = terminal_width()
    parts = [wrap(_sentence(found), width)]
    if found.hopeless:
        names = ", ".join(f"'{printable(name)}'" for name in found.hopeless)
        parts.append(
            wrap(
                f"{names} of the model itself overflow {found.precision}: no list of layers "
                "removes that. Scale them, or hand them on in float32.",
                width,
            )
        )
    if found.kept:
        parts.append(render_table(_layers(found)))
    parts.append(render_table(_trials(found)))
    return "\n\n".join(parts)


def _sentence(found: MixedPrecision) -> str:
    count = sum(each.reason == OVERFLOWS for each in found.kept)
    if not found.kept:
        return (
            f"Nothing overflows {found.precision}: no layer of {printable(found.model)} goes "
            f"beyond {found.limit:.5g} in float64 on these inputs. No layer has to stay in float32."
        )
    readers = len(found.kept) - count
    verb = "read" if readers > 1 else "reads"
    also = f", and {readers} that {verb} them" if readers else ""
    return (
        f"{pluralize(count, 'layer')} of {printable(found.model)} "
        f"{'overflow' if count > 1 else 'overflows'} {found.precision} "
        f"(beyond {found.limit:.5g} in float64 on these inputs){also}; kept in float32: "
        f"--keep-float32 {printable(found.option)}"
    )


def _layers(found: MixedPrecision) -> Table:
    rows = [
        (
            str(each.layer),
            printable(each.tap),
            printable(each.operator),
            each.reason,
            f"{each.peak:.3g}",
        )
        for each in found.kept[:MOST_LAYERS]
    ]
    headers = ("layer", "tap", "operator", "in float32 as it", "largest")
    return Table(headers, tuple(rows), (True, False, False, False, True))


def _trials(found: MixedPrecision) -> Table:
    rows = [_row(each) for each in found.trials]
    headers = ("backend", "not finite", "kept", "relative error", "kept")
    return Table(headers, tuple(rows), (False, True, True, True, True))


def _row(trial: PrecisionTrial) -> tuple[str, ...]:
    row = trial.before.row
    name = printable(f"{row['backend']} {row['backend_version']}, {row['platform']}")
    failed = trial.after is not None and not trial.after.ok
    after = str(trial.after.row["status"]) if failed and trial.after else None
    before, kept = trial.errors
    return (
        name,
        str(trial.not_finite[0]),
        "–" if trial.after is None else after or str(trial.not_finite[1]),
        _error(before),
        "–" if trial.after is None else after or _error(kept),
    )


def _error(found: ErrorMetrics | None) -> str:
    if found is None:
        return "–"
    return "not finite" if found.relative is None else format_number(found.relative)
