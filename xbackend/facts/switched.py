"""What runs show by differing in one thing only: a setting, the threads, the platform."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from xbackend.comparison.summary import RunGroup, Summary
from xbackend.plugins import registry
from xbackend.store.records import Run

Record = dict[str, Any]
MOST_ALIKE = 100
"""Of more rows than these that differ in one thing each is held against the first only."""
SEPARATE = ("backend", "backend_version", "worker", "artifact")
"""Keys of a run in which two that are compared here must not differ, beside its versions."""
CHOSEN_BY_PROCESSOR = ("openblas_core",)
"""What versions hold that a library chooses by the processor: it changes with the platform."""
PLATFORM = "platform"
"""What a switch of the platform is called; no setting is."""
FEATURE = re.compile(r",([+-])([\w.-]+)")
"""A feature that an emulated processor is given or denied, as in `qemu:Haswell,-fma`."""


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
    is_single: bool
    """Whether it is a setting or one feature of a processor: other platforms are many things."""


@dataclass(frozen=True)
class SwitchGroup:
    """All that was switched of one setting of a backend, or of the platforms that it ran on."""

    backend: str
    name: str
    is_single: bool
    """Whether each is a setting or one feature of a processor."""
    switches: tuple[Switch, ...]
    same_bits: tuple[tuple[str, ...], ...]
    """The values by the bits that they give; empty where not each was held against each, or where
    what is the same as a third is not the same."""

    @property
    def values(self) -> tuple[str, ...]:
        """All values, in the order in which they were switched."""
        return tuple(dict.fromkeys(value for each in self.switches for value in each.values))


def switch_groups(found: Sequence[Switch]) -> tuple[SwitchGroup, ...]:
    """Put switches of one backend and one thing together, in the order of the first of each."""
    grouped: dict[tuple[str, str, bool], list[Switch]] = {}
    for each in found:
        grouped.setdefault((each.backend, each.name, each.is_single), []).append(each)
    return tuple(
        SwitchGroup(*key, switches=tuple(some), same_bits=_same_bits(some))
        for key, some in grouped.items()
    )


def _same_bits(found: Sequence[Switch]) -> tuple[tuple[str, ...], ...]:
    """Return the values that give the same bits together, where that is known of each pair."""
    values = list(dict.fromkeys(value for each in found for value in each.values))
    alike = {frozenset(each.values) for each in found if not each.changes_bits}
    known = {frozenset(each.values) for each in found}
    groups: list[list[str]] = []
    for value in values:
        mine = next((group for group in groups if frozenset((group[0], value)) in alike), None)
        groups.append([value]) if mine is None else mine.append(value)
    place = {value: n for n, group in enumerate(groups) for value in group}
    for one, other in combinations(values, 2):
        pair = frozenset((one, other))
        if pair not in known or (place[one] == place[other]) is not (pair in alike):
            return ()
    return tuple(map(tuple, groups))


def switches(summary: Summary) -> tuple[Switch, ...]:
    """Return what was switched in a cohort, once for each backend, name and pair of values.

    A thing is left out of which repeats give other bits, as it proves nothing there, and one that
    changes bits for some pairs of runs and not for others counts as changing them.
    """
    runs = {run.id: run for run in summary.cohort.runs}
    unstable = {name for row in summary.nondeterministic for name in row.ids}
    steady = [row for row in summary.rows if row.ids[0] not in unstable]
    found: dict[tuple[str, str, frozenset[str]], Switch] = {}
    for one, other in _candidates(steady, runs):
        for switch in _switched(one, other, runs):
            key = (switch.backend, switch.name, frozenset(switch.values))
            if key not in found or switch.changes_bits:
                found[key] = switch
    return tuple(found.values())


def _candidates(
    rows: Sequence[RunGroup], runs: dict[str, Run]
) -> Iterator[tuple[RunGroup, RunGroup]]:
    """Yield pairs of rows that may differ in one thing: those of one place and in one setting.

    Looking at each with each would take hours for thousands of rows.
    """
    names = dict.fromkeys(name for run in runs.values() for name in run.row["settings"])
    found: dict[tuple[int, int], tuple[RunGroup, RunGroup]] = {}
    for left_out in (PLATFORM, *names):
        alike: dict[str, list[int]] = {}
        for place, row in enumerate(rows):
            alike.setdefault(_all_but(runs[row.ids[0]], left_out), []).append(place)
        for places in alike.values():
            few = len(places) <= MOST_ALIKE
            pairs = combinations(places, 2) if few else ((places[0], n) for n in places[1:])
            found.update({pair: (rows[pair[0]], rows[pair[1]]) for pair in pairs})
    return (found[pair] for pair in sorted(found))


def _all_but(run: Run, left_out: str) -> str:
    """Return what must be the same in two runs that differ in a setting, or in the platform."""
    settings = {name: value for name, value in run.row["settings"].items() if name != left_out}
    platform = "" if left_out == PLATFORM else run.row["platform"]
    return json.dumps([run.row.get("backend"), platform, settings], sort_keys=True)


def _switched(one: RunGroup, other: RunGroup, runs: dict[str, Run]) -> Iterator[Switch]:
    first, second = runs[one.ids[0]], runs[other.ids[0]]
    platforms = first.row["platform"], second.row["platform"]
    if any(first.row.get(key) != second.row.get(key) for key in SEPARATE):
        return
    moved = platforms[0] != platforms[1]
    if _versions(first, moved) != _versions(second, moved):
        return
    here, there = first.row["settings"], second.row["settings"]
    settings = [k for k in dict.fromkeys([*here, *there]) if here.get(k) != there.get(k)]
    pairs = [(a, b) for a, b in zip(one.classes, other.classes, strict=True) if None not in (a, b)]
    if not pairs:
        return
    changes = any(a != b for a, b in pairs)
    ids = (first.id, second.id)
    if len(settings) == 1 and _same_machine(first, second):
        name = settings[0]
        values = (_text(here.get(name)), _text(there.get(name)))
        yield Switch(one.backend, name, values, ids, changes, is_single=True)
    elif not settings and moved:
        single = _one_feature(first, second)
        yield Switch(one.backend, PLATFORM, platforms, ids, changes, is_single=single)


def _versions(run: Run, moved: bool) -> Record:
    """Return a run's versions, where the platform is another without what follows from it."""
    left_out = CHOSEN_BY_PROCESSOR if moved else ()
    versions = run.row.get("versions") or {}
    return {name: value for name, value in versions.items() if name not in left_out}


def _one_feature(one: Run, other: Run) -> bool:
    """Tell whether two platforms are one emulated processor but for one of its features.

    The processors that the runs saw must differ in that only, and the software in nothing: a
    feature that takes others with it is no single one.
    """
    names = [str(run.row["platform"]) for run in (one, other)]
    bases = {FEATURE.sub("", name) for name in names}
    if len(bases) > 1 or not any("qemu:" in base for base in bases):
        return False
    asked = [{name: sign for sign, name in FEATURE.findall(text)} for text in names]
    changed = {name for name in asked[0] | asked[1] if asked[0].get(name) != asked[1].get(name)}
    seen = [dict(run.row["hardware"]) for run in (one, other)]
    flags = [set(each.pop("flags", None) or ()) for each in seen]
    alike = seen[0] == seen[1] and all(
        one.row.get(key) == other.row.get(key) for key in ("software", "versions")
    )
    return alike and len(changed) == 1 and len(flags[0] ^ flags[1]) == 1


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
