"""Which kernel computed each layer, where the runtime tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Record = dict[str, Any]
TOLD = ("layer_kernels", "kernels", "placement")
"""Facts that may name for each layer who computed it, the most telling first."""
MOST = 12
"""So many different rows are shown."""


def kernels(
    runs: Sequence[Record], names: Sequence[str], taps: Sequence[str]
) -> dict[str, list[str | None]]:
    """Return what computed each layer, in a row for all runs of which the same is told.

    `names` are those of the runs. Nothing is returned where there is nothing to tell apart.
    """
    found: dict[tuple[str | None, ...], list[str]] = {}
    for run, name in zip(runs, names, strict=True):
        told = _told(run.get("facts") or {}, taps)
        if any(told):
            found.setdefault(told, []).append(name)
    if len({kernel for row in found for kernel in row if kernel}) < 2:
        return {}
    rows = list(found.items())[:MOST]
    return {_label(who): list(row) for row, who in rows}


def _told(facts: Mapping[str, Any], taps: Sequence[str]) -> tuple[str | None, ...]:
    for key in TOLD:
        told = facts.get(key)
        if isinstance(told, dict):
            row = tuple(_text(told.get(tap)) for tap in taps)
            if any(row):
                return row
    return ()


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _label(who: Sequence[str]) -> str:
    return f"{who[0]} and {len(who) - 1} more" if len(who) > 1 else who[0]
