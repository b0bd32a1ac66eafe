"""What runs show by differing in one thing only: a setting, the threads, the platform."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from xbackend.comparison.summary import RunGroup, Summary
from xbackend.plugins import registry
from xbackend.store.records import Run

Record = dict[str, Any]
MOST_ROWS = 100
"""With more rows of runs than these nothing is looked for: it takes each with each."""
SEPARATE = ("backend", "backend_version", "versions", "worker", "artifact")
"""Keys of a run in which two that are compared here must not differ."""


@dataclass(frozen=True)
class Switch:
    """One thing that was switched while all else that is known stayed the same."""

    backend: str
    name: str
    """A setting such as `threads`, or `platform`."""
    values: tuple[str, str]
    runs: tuple[str, str]
    """Ids."""
    changes_bits: bool
    """Whether the outputs of the two have other bits."""

    @property
    def is_setting(self) -> bool:
        """Whether the one thing is a setting: a platform is many things at once."""
        return self.name != "platform"


def switches(summary: Summary) -> tuple[Switch, ...]:
    """Return what was switched in a cohort, once for each backend, name and pair of values.

    A thing is left out of which repeats give other bits, as it proves nothing there, and one that
    changes bits for some pairs of runs and not for others counts as changing them.
    """
    rows = summary.rows if len(summary.rows) <= MOST_ROWS else ()
    runs = {run.id: run for run in summary.cohort.runs}
    unstable = {name for row in summary.nondeterministic for name in row.ids}
    steady = [row for row in rows if row.ids[0] not in unstable]
    found: dict[tuple[str, str, tuple[str, str]], Switch] = {}
    for one, other in combinations(steady, 2):
        for switch in _switched(one, other, runs):
            key = (switch.backend, switch.name, switch.values)
            if key not in found or switch.changes_bits:
                found[key] = switch
    return tuple(found.values())


def _switched(one: RunGroup, other: RunGroup, runs: dict[str, Run]) -> Iterator[Switch]:
    first, second = runs[one.ids[0]], runs[other.ids[0]]
    if any(first.row.get(key) != second.row.get(key) for key in SEPARATE):
        return
    here, there = first.row["settings"], second.row["settings"]
    settings = [k for k in dict.fromkeys([*here, *there]) if here.get(k) != there.get(k)]
    platforms = first.row["platform"], second.row["platform"]
    pairs = [(a, b) for a, b in zip(one.classes, other.classes, strict=True) if None not in (a, b)]
    if not pairs:
        return
    changes = any(a != b for a, b in pairs)
    ids = (first.id, second.id)
    if len(settings) == 1 and _same_machine(first, second):
        name = settings[0]
        values = (_text(here.get(name)), _text(there.get(name)))
        yield Switch(one.backend, name, values, ids, changes)
    elif not settings and platforms[0] != platforms[1]:
        yield Switch(one.backend, "platform", platforms, ids, changes)


def _same_machine(one: Run, other: Run) -> bool:
    """Tell whether two runs of a backend had one machine, but for what settings put there."""
    if any(one.row.get(key) != other.row.get(key) for key in ("platform", "hardware")):
        return False
    first, second = (_software(run) for run in (one, other))
    return first == second


def _software(run: Run) -> Record:
    """Return what is known of the software, without the variables that settings are handed by."""
    software: Record = dict(run.row.get("software") or {})
    known = {spec.word: spec for spec in registry.backends()}
    spec = known.get(str(run.row["backend"]))
    if spec is None or "environment" not in software:
        return software
    own = {*spec.environment, *(each.variable for each in spec.settings)}
    variables = software["environment"] or {}
    kept = {name: value for name, value in variables.items() if name not in own}
    return {**software, "environment": kept}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
