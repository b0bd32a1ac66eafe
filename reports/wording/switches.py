"""Puts into words what switching features of an emulated processor changed."""

from __future__ import annotations

from collections.abc import Sequence

from xbackend.attribution.ablation import AblationOutcome, AblationResult, AblationTrial
from xbackend.platforms.cpu_switches import is_flag

UNKNOWN = "layer unknown*"
"""Where a change begins if recording the layers changed the bits."""


def place_text(outcome: AblationOutcome) -> str:
    """Return the first layer with other bits, empty where there is none."""
    layer = outcome.first_layer
    if layer is None:
        return "" if outcome.neutral else UNKNOWN
    return f"layer {layer['layer']} ({layer['operator']}, {layer['tap']})"


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


def ablation_text(backend: str, start: str, result: AblationResult) -> str:
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
    place = place_text(cause.outcome) if cause.outcome.neutral else ""
    return (
        switched(cause.switches)
        + (f" ({seen})" if seen else "")
        + (f", first at {place}" if place else "")
    )
