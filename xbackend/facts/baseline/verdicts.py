"""What a baseline says of runs: a verdict on each class, with the numbers that decided."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from xbackend.facts.baseline.entries import BaselineSection, MachineKind
from xbackend.numerics.metrics import Metrics
from xbackend.store.records import Run


class BaselineVerdict(Enum):
    """What a class of a run is, seen from a baseline."""

    KNOWN = "known class on a known kind of machine"
    NEW_KIND = "known class on a new kind of machine"
    OTHER_CLASS = "known class that this kind of machine did not give before"
    WITHIN = "new class within rounding"
    """By a certificate of its run: no layer that could be judged is beyond rounding."""
    WITHIN_RULE = "new class within a rule"
    """Near enough by a rule that was given, which says nothing of rounding."""
    UNJUDGED = "new class that nothing judged"
    FEWER_BITS = "fewer bits"
    BEYOND = "beyond rounding"
    FLIPS = "a label flips"
    NOTHING = "nothing to compare"

    @property
    def passes(self) -> bool:
        """Whether a gate lets it through."""
        return self in PASSING

    @property
    def exit_status(self) -> int:
        """What a command ends with."""
        return 0 if self.passes else 1

    @property
    def is_new(self) -> bool:
        """Whether a baseline does not have the class."""
        return self not in (*PASSING[:3], BaselineVerdict.NOTHING)


PASSING = (
    BaselineVerdict.KNOWN,
    BaselineVerdict.NEW_KIND,
    BaselineVerdict.OTHER_CLASS,
    BaselineVerdict.WITHIN,
    BaselineVerdict.WITHIN_RULE,
)


class Nothing(Enum):
    """Why there was nothing to compare."""

    NO_RUN = "no run gave an output"
    FAILED = "the run failed"
    NO_SECTION = "the baseline does not know the model, precision and inputs"
    NO_TENSOR = "the baseline does not know the tensor on this sample"


@dataclass(frozen=True)
class Rounding:
    """How much of a run a certificate is about."""

    judged: int
    layers: int
    fault: str | None
    """The first layer beyond rounding, or that overflows; None where there is none."""


@dataclass(frozen=True)
class BaselineFinding:
    """One class of one tensor of one sample, of all runs that gave it on like terms."""

    verdict: BaselineVerdict
    runs: tuple[Run, ...]
    kinds: tuple[MachineKind, ...] = ()
    """The different ones of these runs."""
    section: BaselineSection | None = None
    tensor: str | None = None
    sample: str | None = None
    is_output: bool = True
    dtype: str | None = None
    digest: str | None = None
    known: int = 0
    """How many classes the baseline has there."""
    metrics: Metrics | None = None
    """Between a new class and the nearest known one; None where no bytes are known."""
    known_metrics: Metrics | None = None
    """Between all known classes; None where fewer than two have known bytes."""
    decided_by: str = ""
    """The rule that decided, as it was written; `certificate`; `known classes`; or empty."""
    rounding: Rounding | None = None
    """What the certificate says that decided."""
    labels: tuple[int, int, int] | None = None
    """The first row that flips, from 0, its label, and that of the nearest known class."""
    emulated_only: bool = False
    """Whether only emulated machines gave a known class before, and now a real one did."""
    nothing: Nothing | None = None
    """Why there was nothing to compare, where that is so."""


@dataclass(frozen=True)
class BaselineJudgement:
    """All findings, section by section, tensor by tensor."""

    findings: tuple[BaselineFinding, ...]
    not_run: tuple[BaselineSection, ...] = ()
    """What the baseline knows and no run was of."""

    @property
    def failures(self) -> tuple[BaselineFinding, ...]:
        """What a gate does not let through."""
        return tuple(each for each in self.findings if not each.verdict.passes)

    @property
    def passes_once_updated(self) -> bool:
        """Whether nothing is left once all that gave outputs is taken up."""
        return all(each.runs and all(run.ok for run in each.runs) for each in self.failures)

    @property
    def passes(self) -> bool:
        """Whether something was compared, and all of it passes."""
        return bool(self.findings) and not self.failures
