"""Puts into words what switching settings, platforms and features of a processor changed."""

from __future__ import annotations

from collections.abc import Sequence

from xbackend.attribution.ablation import AblationOutcome, AblationResult, AblationTrial
from xbackend.facts.switched import Switch, SwitchGroup
from xbackend.platforms.cpu_switches import is_flag

from .formatting import pluralize, printable

MOST_PAIRS = 3
"""Of more pairs than these the values that give the same bits are named together."""
MOST_CLASSES = 6
"""So many of such classes are named."""

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


def switch_sentences(group: SwitchGroup) -> list[str]:
    """Return what switching does: pair by pair, or of many the values that give the same bits."""
    if len(group.switches) <= MOST_PAIRS:
        return [_switch(each) for each in group.switches]
    backend, name = printable(group.backend), printable(group.name)
    values = f"{backend}: {len(group.values)} values of {name}"
    if name == "platform":
        values = f"{backend}: {len(group.values)} platforms"
    if len(group.same_bits) == 1:
        return [f"{values} give the same bits: {_some(group.values)}."]
    if group.same_bits:
        parts = " | ".join(_some(each) for each in group.same_bits[:MOST_CLASSES])
        more = len(group.same_bits) - MOST_CLASSES
        parts += f" | and {more} more" if more > 0 else ""
        return [f"{values} give {len(group.same_bits)} classes of bits: {parts}."]
    changing = sum(each.changes_bits for each in group.switches)
    pairs = pluralize(len(group.switches), "pair")
    return [f"{values}: of {pairs} {changing} give other bits of the outputs."]


def _switch(found: Switch) -> str:
    one, other = map(printable, found.values)
    name, backend = printable(found.name), printable(found.backend)
    does = "changes" if found.changes_bits else "does not change"
    return f"{backend}: {name} {one} → {other} {does} bits of the outputs."


def _some(values: Sequence[str]) -> str:
    """Return a few values, and how many more there are."""
    shown = ", ".join(map(printable, values[:MOST_PAIRS]))
    more = len(values) - MOST_PAIRS
    return f"{shown} and {more} more" if more > 0 else shown
