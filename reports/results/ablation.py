"""Lays out what was switched on an emulated processor, and which of it changes the bits."""

from __future__ import annotations

from collections.abc import Sequence

from xbackend.attribution.ablation import AblationOutcome, AblationResult, AblationTrial
from xbackend.platforms.cpu_switches import is_flag

from .flags import judged_by_layers_note

UNKNOWN = "layer unknown*"
"""Where a change begins if recording the layers changed the bits."""


def render(result: AblationResult, backend: str, start: str) -> str:
    """Return a table of what was switched, and a sentence that names the causes."""
    from tabulate import tabulate

    rows = [
        [switched(trial.switches), trial.outcome.status, _detail(trial.outcome)]
        for trial in result.trials
    ]
    headers = [f"{backend} on {start}", "bits", "first at, or why not"]
    table = tabulate(rows, headers, maxcolwidths=[44, None, 64])
    notes = [judged_by_layers_note(result.emulated)] if result.emulated else []
    if not all(trial.outcome.neutral for trial in result.trials):
        table += "\n* recording the layers changed the bits of the outputs, so theirs tell nothing"
    return "\n".join([*notes, table, "", _sentence(backend, start, result), ""])


def switched(switches: Sequence[str]) -> str:
    """Return a set of switches in words.

    >>> switched(["avx2", "fma", "legacy-cache=on"])
    'without avx2, fma, with legacy-cache=on'
    """
    flags = ", ".join(switch for switch in switches if is_flag(switch))
    others = ", ".join(switch for switch in switches if not is_flag(switch))
    return ", ".join(
        [*([f"without {flags}"] if flags else []), *([f"with {others}"] * bool(others))]
    )


def _detail(outcome: AblationOutcome) -> str:
    place = _place(outcome)
    return "; ".join([*([place] if place else []), *outcome.differences]) or outcome.reason


def _place(outcome: AblationOutcome) -> str:
    layer = outcome.first_layer
    if layer is None:
        return "" if outcome.neutral else UNKNOWN
    return f"layer {layer['layer']} ({layer['operator']}, {layer['tap']})"


def _sentence(backend: str, start: str, result: AblationResult) -> str:
    """Name the smallest sets that change the bits, and where each begins to."""
    if not result.causes:
        ran = [trial for trial in result.trials if trial.outcome.status != "illegal"]
        what = "nothing that was switched" if ran else "nothing could be switched that"
        return f"{backend}: {what} on {start} changes a bit."
    causes = [_cause(cause) for cause in result.causes]
    if len(causes) == 1:
        return f"{backend}: the bits of {start} change {causes[0]}."
    listed = ";\n".join(f"  {cause}" for cause in causes)
    return f"{backend}: the bits of {start} change with each of these alone:\n{listed}."


def _cause(cause: AblationTrial) -> str:
    seen = "; ".join(cause.outcome.differences)
    place = _place(cause.outcome) if cause.outcome.neutral else ""
    return (
        switched(cause.switches)
        + (f" ({seen})" if seen else "")
        + (f", first at {place}" if place else "")
    )
