"""What of a processor makes the difference: switches it, one thing at a time, under an emulator.

Correlation cannot separate flags that always occur together, as those of a generation do; an
emulated processor without one of them can. Nor can it tell a flag from the size of a cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from xbackend.platforms.cpu_switches import Switches, is_flag, with_dependents
from xbackend.reduction.ddmin import ddmin

Record = dict[str, Any]


@dataclass(frozen=True)
class AblationOutcome:
    """What became of a backend on a processor with something switched."""

    status: str
    """`same`: the same bits in all outputs; `changed`: others; `illegal`: it could not run."""
    first_layer: Record | None = None
    """Of a change: `tap`, `layer` and `operator` of the first tensor with other bits."""
    reason: str = ""
    """Why it could not run."""
    differences: tuple[str, ...] = ()
    """What else than flags the worker saw of the processor, such as the size of a cache."""
    neutral: bool = True
    """False where recording the layers changed the bits of the outputs, so that they do not tell
    where a change begins."""
    emulated: tuple[str, ...] = ()
    """Operators that the emulator computes unlike real processors and outputs come from; where
    there are any, only what is proved without them counts as a change."""


@dataclass(frozen=True)
class AblationTrial:
    """One set of switches, and what became of it."""

    switches: tuple[str, ...]
    outcome: AblationOutcome

    def to_dict(self) -> Record:
        """Return JSON values."""
        return {
            "removed": [switch for switch in self.switches if is_flag(switch)],
            "properties": [switch for switch in self.switches if not is_flag(switch)],
            "status": self.outcome.status,
            "first_layer": self.outcome.first_layer,
            "reason": self.outcome.reason,
            "differences": list(self.outcome.differences),
            "taps_neutral": self.outcome.neutral,
            "emulation_operators": list(self.outcome.emulated),
        }


@dataclass(frozen=True)
class AblationResult:
    """What the flags and properties of a processor mean for one backend."""

    trials: tuple[AblationTrial, ...]
    """Each switch alone, a flag with its dependents, then what the search tried."""
    causes: tuple[AblationTrial, ...]
    """The smallest sets that change the bits: without any one of their switches they would not.
    Several mean that each alone is enough."""

    @property
    def emulated(self) -> tuple[str, ...]:
        """Operators whose emulation is not faithful and that outputs of any trial come from."""
        return tuple(dict.fromkeys(name for t in self.trials for name in t.outcome.emulated))

    def to_dict(self) -> Record:
        """Return JSON values."""
        return {
            "judged_by": "tensors that do not rest on emulation" if self.emulated else "outputs",
            "trials": [trial.to_dict() for trial in self.trials],
            "causes": [trial.to_dict() for trial in self.causes],
        }


def ablate(
    had: Sequence[str],
    attempt: Callable[[Sequence[Switches]], Sequence[AblationOutcome]],
    only: Sequence[str] | None = None,
) -> AblationResult:
    """Find the smallest sets of switches that change the bits.

    `had` is all that can be switched, `only` what is to be, by default all of it. `attempt` runs
    the backend with each of the given sets switched, several at once if it can.
    """
    search = _Search(tuple(had), attempt)
    alone = [with_dependents([switch], had) for switch in (had if only is None else only)]
    search.try_all(alone)
    causes: list[Switches] = []
    changed = [switches for switches in alone if search.changes(switches)]
    for switches in sorted(changed, key=lambda each: (len(each), sorted(each))):
        if not any(cause <= switches for cause in causes):
            causes.append(search.minimise(switches))
    together = search.runnable(alone)
    if not causes and together and search.changes(together):
        causes.append(search.minimise(together))
    trials = tuple(AblationTrial(_sorted(s, had), outcome) for s, outcome in search.known.items())
    return AblationResult(
        trials, tuple(AblationTrial(_sorted(c, had), search.known[c]) for c in causes)
    )


def _sorted(switches: Switches, had: Sequence[str]) -> tuple[str, ...]:
    return tuple(switch for switch in had if switch in switches)


class _Search:
    """Remembers what was tried."""

    def __init__(
        self,
        had: tuple[str, ...],
        attempt: Callable[[Sequence[Switches]], Sequence[AblationOutcome]],
    ) -> None:
        self.had = had
        self.attempt = attempt
        self.known: dict[Switches, AblationOutcome] = {}

    def try_all(self, sets: Iterable[Switches]) -> None:
        """Try the sets that were not tried yet."""
        new = [each for each in dict.fromkeys(sets) if each not in self.known]
        self.known.update(zip(new, self.attempt(new), strict=True) if new else ())

    def changes(self, switches: Switches) -> bool:
        """Tell whether a set of switches changes the bits."""
        self.try_all([switches])
        return self.known[switches].status == "changed"

    def runnable(self, sets: Iterable[Switches]) -> Switches:
        """Return all of the sets together that were tried and could run."""
        ran = [each for each in sets if self.known[each].status != "illegal"]
        return frozenset().union(*ran)

    def minimise(self, switches: Switches) -> Switches:
        """Return a smallest set within one that changes the bits, closed under `NEEDS`."""
        smallest = ddmin(
            _sorted(switches, self.had),
            holds=lambda part: self.changes(frozenset(part)),
            settle=lambda part: _sorted(with_dependents(part, self.had), self.had),
        )
        return with_dependents(smallest, self.had)
