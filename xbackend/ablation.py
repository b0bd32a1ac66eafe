"""Which processor flags make the difference: switches them off, one by one, under an emulator.

Correlation cannot separate flags that always occur together, as those of a generation do; an
emulated processor without one of them can.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Record = dict[str, Any]
Removed = frozenset[str]

NEEDS: Mapping[str, tuple[str, ...]] = {
    "pni": (),
    "ssse3": ("pni",),
    "sse4_1": ("ssse3",),
    "sse4_2": ("sse4_1",),
    "popcnt": (),
    "movbe": (),
    "aes": (),
    "pclmulqdq": (),
    "xsave": (),
    "avx": ("xsave", "sse4_2"),
    "f16c": ("avx",),
    "fma": ("avx",),
    "fma4": ("avx",),
    "xop": ("avx",),
    "avx2": ("avx",),
    "bmi1": (),
    "bmi2": (),
    "abm": (),
    "adx": (),
    "sse4a": (),
    "sha_ni": (),
    "erms": (),
    "fsgsbase": (),
    "rdrand": (),
    "rdseed": (),
    "clflushopt": (),
}
"""Flags that can be switched off, in Linux's names, which QEMU takes; and those without which each
does not exist (Intel SDM volume 1, chapters 12 to 14: what software must check before it)."""


@dataclass(frozen=True)
class Outcome:
    """What became of a backend on a processor without some flags."""

    status: str
    """`same`: the same bits in all outputs; `changed`: others; `illegal`: it could not run."""
    first_layer: Record | None = None
    """Of a change: `tap`, `layer` and `operator` of the first tensor with other bits."""
    reason: str = ""
    """Why it could not run."""
    emulated: tuple[str, ...] = ()
    """Operators that the emulator computes unlike real processors and outputs come from; where
    there are any, only what is proved without them counts as a change (xbackend.reliance)."""


@dataclass(frozen=True)
class Trial:
    """One set of flags removed, and what became of it."""

    removed: tuple[str, ...]
    outcome: Outcome

    def document(self) -> Record:
        """Return JSON values."""
        return {
            "removed": list(self.removed),
            "status": self.outcome.status,
            "first_layer": self.outcome.first_layer,
            "reason": self.outcome.reason,
            "emulation_operators": list(self.outcome.emulated),
        }


@dataclass(frozen=True)
class Verdict:
    """What the flags of a processor mean for one backend."""

    trials: tuple[Trial, ...]
    """Each flag alone with its dependents, then what the search tried."""
    causes: tuple[Trial, ...]
    """The smallest sets whose removal changes the bits: without any one of their flags it would
    not. Several mean that each alone is enough."""

    @property
    def emulated(self) -> tuple[str, ...]:
        """Operators whose emulation is not faithful and that outputs of any trial come from."""
        return tuple(dict.fromkeys(name for t in self.trials for name in t.outcome.emulated))

    def document(self) -> Record:
        """Return JSON values."""
        return {
            "judged_by": "tensors that do not rest on emulation" if self.emulated else "outputs",
            "trials": [trial.document() for trial in self.trials],
            "causes": [trial.document() for trial in self.causes],
        }


def switchable(flags: Iterable[str]) -> tuple[str, ...]:
    """Return which flags of a processor can be switched off, in the order of `NEEDS`.

    >>> switchable(["sse2", "fma", "avx"])
    ('avx', 'fma')
    """
    had = set(flags)
    return tuple(flag for flag in NEEDS if flag in had)


def with_dependents(removed: Iterable[str], had: Iterable[str]) -> Removed:
    """Return flags with those that cannot be without them, as far as the processor had them.

    >>> sorted(with_dependents(["avx"], ["avx", "avx2", "fma", "bmi2"]))
    ['avx', 'avx2', 'fma']
    """
    gone = set(removed)
    present = set(had)
    while True:
        more = {f for f in present - gone if gone & set(NEEDS.get(f, ()))}
        if not more:
            return frozenset(gone & present)
        gone |= more


def ablate(
    had: Sequence[str], attempt: Callable[[Sequence[Removed]], Sequence[Outcome]]
) -> Verdict:
    """Find the smallest sets of flags whose removal changes the bits.

    `attempt` runs the backend without each of the given sets of flags, several at once if it can.
    """
    search = _Search(tuple(had), attempt)
    search.try_all([with_dependents([flag], had) for flag in had])
    causes: list[Removed] = []
    changed = [removed for removed, outcome in search.known.items() if outcome.status == "changed"]
    for removed in sorted(changed, key=lambda each: (len(each), sorted(each))):
        if not any(cause <= removed for cause in causes):
            causes.append(search.minimise(removed))
    everything = frozenset(had)
    if not causes and search.changes(everything):
        causes.append(search.minimise(everything))
    trials = tuple(Trial(_sorted(r, had), outcome) for r, outcome in search.known.items())
    return Verdict(trials, tuple(Trial(_sorted(c, had), search.known[c]) for c in causes))


def _sorted(removed: Removed, had: Sequence[str]) -> tuple[str, ...]:
    return tuple(flag for flag in had if flag in removed)


class _Search:
    """Remembers what was tried."""

    def __init__(
        self,
        had: tuple[str, ...],
        attempt: Callable[[Sequence[Removed]], Sequence[Outcome]],
    ) -> None:
        self.had = had
        self.attempt = attempt
        self.known: dict[Removed, Outcome] = {}

    def try_all(self, sets: Iterable[Removed]) -> None:
        """Try the sets that were not tried yet."""
        new = [removed for removed in dict.fromkeys(sets) if removed not in self.known]
        self.known.update(zip(new, self.attempt(new), strict=True) if new else ())

    def changes(self, removed: Removed) -> bool:
        """Tell whether removing a set of flags changes the bits."""
        self.try_all([removed])
        return self.known[removed].status == "changed"

    def minimise(self, removed: Removed) -> Removed:
        """Return a smallest set within one that changes the bits, by delta debugging.

        Zeller and Hildebrandt (2002), algorithm ddmin, over sets that are closed under `NEEDS`.
        """
        current = _sorted(removed, self.had)
        parts = 2
        while len(current) >= 2:
            size = -(-len(current) // parts)
            chunks = [current[start : start + size] for start in range(0, len(current), size)]
            smaller = self._first_that_changes(chunks, current)
            if smaller is not None:
                current, parts = smaller, 2
            elif parts >= len(current):
                break
            else:
                parts = min(len(current), parts * 2)
        return with_dependents(current, self.had)

    def _first_that_changes(
        self, chunks: Sequence[tuple[str, ...]], current: tuple[str, ...]
    ) -> tuple[str, ...] | None:
        """Return the first chunk, or rest without a chunk, that is smaller and still changes."""
        rests = [tuple(flag for flag in current if flag not in chunk) for chunk in chunks]
        for subset in [*chunks, *(rests if len(chunks) > 2 else [])]:
            closed = with_dependents(subset, self.had)
            if closed < set(current) and self.changes(closed):
                return _sorted(closed, self.had)
        return None
