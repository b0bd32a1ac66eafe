"""Which runs were told by another tool, and what is said of where they come from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from xbackend.store.records import Run

TOLD = "told"
"""The key of a run's `facts`, see `xbackend.exchange.arrays`."""


@dataclass(frozen=True)
class ToldRun:
    """A run whose tensors another tool gave: nothing of it was measured."""

    id: str
    name: str
    """What stands for its backend."""
    file: str
    device: str | None
    version: str | None
    notes: tuple[str, ...]
    """What the user said of it."""


def told_runs(runs: Iterable[Run]) -> tuple[ToldRun, ...]:
    """Return those of some runs that were told."""
    found = []
    for run in runs:
        told = (run.row.get("facts") or {}).get(TOLD)
        if isinstance(told, dict):
            device, version = told.get("device"), told.get("version")
            found.append(
                ToldRun(
                    id=run.id,
                    name=str(run.row["backend"]),
                    file=str(told.get("file")),
                    device=None if device is None else str(device),
                    version=None if version is None else str(version),
                    notes=tuple(map(str, told.get("notes") or ())),
                )
            )
    return tuple(found)
