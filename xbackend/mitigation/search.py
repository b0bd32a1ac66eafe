"""The cheapest set of mitigations with which all runs fall into one class, by delta debugging."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from xbackend.comparison.measurement import Measurer
from xbackend.mitigation.consistency import measure_consistency
from xbackend.mitigation.trials import Trial
from xbackend.plugins.mitigation import BackendChange, Mitigation
from xbackend.reduction.ddmin import ddmin
from xbackend.store.records import Run

Record = dict[str, Any]
Names = tuple[str, ...]
TIERS = (10, 50, 1000)
"""Ranks below which mitigations are tried together: settings and precision; then zeroed bits; then
what replaces the framework."""


class Conflict(Exception):
    """Two mitigations want different things of one backend."""


@dataclass(frozen=True)
class SearchResult:
    """What a search came to for some backends."""

    backends: tuple[str, ...]
    names: Names | None
    """The smallest set that gives one class, empty if none is needed; None if no set does."""
    classes: int | None
    """Those that are left with all that could be switched on together; None if that failed."""
    tried: int
    """How many sets were tried."""
    changes: Mapping[str, BackendChange] = field(default_factory=dict)
    """What the set comes to for each backend."""

    def to_dict(self) -> Record:
        """Return JSON values."""
        paste = {word: list(change.user_code) for word, change in self.changes.items()}
        return {
            "backends": list(self.backends),
            "mitigations": None if self.names is None else list(self.names),
            "classes_with_everything_on": self.classes,
            "tried": self.tried,
            "paste": paste,
        }


def combine_changes(
    names: Iterable[str], known: Mapping[str, Mitigation], word: str
) -> BackendChange:
    """Return what a set of mitigations comes to for one backend. Raises Conflict."""
    chosen = [known[name] for name in names]
    merged = _merged(each.changes[word] for each in chosen if word in each.changes)
    if not merged.replacement_backend or merged.replacement_backend == word:
        return merged
    target = merged.replacement_backend
    own = BackendChange(
        replacement_backend=target, precision=merged.precision, user_code=merged.user_code
    )
    rest = (each.changes[target] for each in chosen if target in each.changes)
    return _merged([own, *(each for each in rest if not each.replacement_backend)])


def _merged(changes: Iterable[BackendChange]) -> BackendChange:
    total = BackendChange()
    for change in changes:
        total = _both(total, change)
    return total


def _both(one: BackendChange, other: BackendChange) -> BackendChange:
    return BackendChange(
        settings=_joined(one.settings, other.settings),
        options=_options(one.options, other.options),
        required_settings=_joined(one.required_settings, other.required_settings),
        user_code=tuple(dict.fromkeys([*one.user_code, *other.user_code])),
        **{
            name: _either(one, other, name)
            for name in ("precision", "threads", "replacement_backend")
        },
        **{
            name: _either(one, other, name)
            for name in ("rewrite", "zero_inputs", "expected_zero_bits")
        },
        rounding=other.rounding if other.zero_inputs else one.rounding,
    )


def _either(one: BackendChange, other: BackendChange, name: str) -> Any:
    """Return the one that is set. Raises Conflict where both are, differently."""
    here, there = getattr(one, name), getattr(other, name)
    if here and there and here != there:
        raise Conflict(name)
    return here or there


def _joined(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    for key in one.keys() & other.keys():
        if one[key] != other[key]:
            raise Conflict(key)
    return {**one, **other}


def _options(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    names = dict.fromkeys([*one, *other])
    return {name: _joined(one.get(name, {}), other.get(name, {})) for name in names}


@dataclass
class Search:
    """Remembers which sets were tried; `run` carries out trials."""

    known: Mapping[str, Mitigation]
    run: Callable[[Sequence[Trial]], Sequence[Trial]]
    measurer: Measurer
    expected_runs: int
    """How many runs there are as it is: a set that gives fewer does not count."""
    backends: tuple[str, ...]
    plain: Mapping[str, Sequence[Run]] = field(default_factory=dict)
    """The runs of each backend as it is, if it matters that threads are among what differs."""
    counts: dict[frozenset[str], int | None] = field(default_factory=dict)

    def classes(self, names: Names) -> int | None:
        """Return the number of classes under a set, None where it could not run everywhere."""
        key = frozenset(names)
        if key not in self.counts:
            self.counts[key] = self._try(names)
        return self.counts[key]

    def _try(self, names: Names) -> int | None:
        try:
            changes = {word: combine_changes(names, self.known, word) for word in self.backends}
        except Conflict:
            return None
        label = "+".join(names)
        asked = [Trial(word, label, change) for word, change in changes.items()]
        expected = self.expected_runs
        if self.plain:
            expected = sum(each.expected_runs(self.plain[each.backend]) for each in asked)
        runs = [run for trial in self.run(asked) for run in trial.runs]
        return measure_consistency(runs, self.measurer).classes if len(runs) == expected else None

    def works(self, names: Names) -> bool:
        """Tell whether a set gives one class."""
        return self.classes(names) == 1

    def find(self) -> SearchResult:
        """Try none, each alone, then all that go together, tier by tier, and what suffices."""
        if self.works(()):
            return self._found(())
        ordered = sorted(self.known, key=lambda name: (self.known[name].rank, name))
        alone = next((name for name in ordered if self.works((name,))), None)
        rank = TIERS[-1] if alone is None else self.known[alone].rank
        everything: Names = ()
        for tier in TIERS:
            everything = self._together([n for n in ordered if self.known[n].rank < tier])
            if tier <= rank and self.works(everything):
                return self._found(ddmin(everything, self.works))
        if alone is not None:
            return self._found((alone,))
        return self._found(None, everything)

    def _together(self, ordered: Sequence[str]) -> Names:
        """Return all that can be on at once: of two that conflict, that which leaves less."""

        def merit(name: str) -> tuple[bool, int]:
            count = self.classes((name,))
            return (count is None, count or 0)

        chosen: list[str] = []
        for name in sorted(ordered, key=merit):
            if self.classes((name,)) is not None and self._fits([*chosen, name]):
                chosen.append(name)
        return tuple(name for name in ordered if name in chosen)

    def _fits(self, names: Sequence[str]) -> bool:
        try:
            for word in self.backends:
                combine_changes(names, self.known, word)
        except Conflict:
            return False
        return True

    def _found(self, names: Names | None, everything: Names = ()) -> SearchResult:
        return SearchResult(
            backends=self.backends,
            names=names,
            classes=self.classes(everything if names is None else names),
            tried=len(self.counts),
            changes={w: combine_changes(names or (), self.known, w) for w in self.backends},
        )


def find_smallest_sets(
    plain: Sequence[Trial],
    mitigations: Sequence[Mitigation],
    run: Callable[[Sequence[Trial]], Sequence[Trial]],
    measurer: Measurer,
) -> list[SearchResult]:
    """Search for all backends together, and for each alone where there are several."""
    ran = [trial for trial in plain if trial.runs]
    groups = [ran, *([trial] for trial in ran)] if len(ran) > 1 else [ran]
    return [
        Search(
            known=_applicable(mitigations, {trial.backend for trial in group}),
            run=run,
            measurer=measurer,
            expected_runs=sum(len(trial.runs) for trial in group),
            backends=tuple(trial.backend for trial in group),
            plain={trial.backend: trial.runs for trial in group},
        ).find()
        for group in groups
        if group
    ]


def _applicable(mitigations: Sequence[Mitigation], words: set[str]) -> dict[str, Mitigation]:
    """Return what concerns some backends, or those that may run instead of them, by name."""
    changes = [each.changes[word] for each in mitigations for word in words & each.changes.keys()]
    reached = words | {change.replacement_backend for change in changes}
    return {each.name: each for each in mitigations if reached & each.changes.keys()}
