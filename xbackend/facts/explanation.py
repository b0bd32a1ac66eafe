"""All that is known of a comparison, each statement with its grade of evidence. Starts nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from xbackend.comparison.comparison import Comparison
from xbackend.comparison.findings import Isolation
from xbackend.comparison.summary import Summary, summaries
from xbackend.execution.durations import read_durations
from xbackend.facts.accuracy import AccuracyFacts, accuracy_facts
from xbackend.facts.agreement import OutputAgreement, output_agreement
from xbackend.facts.certified import CertifiedFacts, RoundingVerdict, cohort_certified
from xbackend.facts.changes import ChangeFacts, change_facts
from xbackend.facts.cohorts import CohortFacts, facts_of
from xbackend.facts.isolated import IsolationFacts, isolation_facts
from xbackend.facts.next_commands import NextCommand, next_commands
from xbackend.facts.outcome import Outcome, RunCounts, count_runs
from xbackend.facts.switched import Switch, switches
from xbackend.plugins import registry


class Grade(Enum):
    """How sure a statement is."""

    RECORDED = "recorded"
    """The bits of both runs are in the store."""
    REPLAYED = "proved by replay"
    """A layer was run again on the other run's inputs."""
    SWITCHED = "shown by switching"
    """Two runs that differ in nothing else that is known give other bits."""
    CERTIFIED = "certified"
    """Layers were held against the bound of their rounding."""
    GOES_WITH = "goes with"
    """It comes together with the difference, and other things do, too."""
    EMULATED = "rests on emulation"
    NOT_JUDGED = "not judged"


@dataclass(frozen=True)
class Isolated:
    """What isolation found between two runs."""

    reference: str
    run: str
    """Ids."""
    facts: IsolationFacts
    cure: str
    """Options that keep frameworks from fusing layers; empty if there are none."""

    @property
    def grade(self) -> Grade:
        """How sure it is."""
        if self.facts.own or self.facts.inherited:
            return Grade.REPLAYED
        return Grade.EMULATED if self.facts.by_emulation else Grade.NOT_JUDGED


@dataclass(frozen=True)
class CohortExplanation:
    """What is known of the runs of one model, precision and set of inputs."""

    summary: Summary
    facts: CohortFacts
    rounding: Grade
    """How sure it is whether rounding alone is the reason: `not judged` unless layers are."""
    certified: CertifiedFacts | None
    """Rounding or fault, from the certificates of its runs; None without any."""
    agreement: OutputAgreement | None
    """The classes of outputs that are furthest apart; None where none differ."""
    emulated: tuple[int, ...]
    """Numbers of the classes that nothing but emulated operators tells from others."""
    isolated: tuple[Isolated, ...]
    changes: ChangeFacts
    accuracy: tuple[AccuracyFacts, ...]
    """Against float64, where that was asked for."""
    switches: tuple[Switch, ...]
    """What two runs differ in, if in one thing only, with what that does to the bits."""
    next: tuple[NextCommand, ...]

    @property
    def verdict_grade(self) -> Grade:
        """How sure the verdict is."""
        if self.facts.outcome is Outcome.DIFFERENT_BITS:
            real = self.facts.classes - len(self.emulated)
            return Grade.EMULATED if real < 2 else Grade.RECORDED
        known = self.facts.outcome is Outcome.SAME_BITS
        return Grade.RECORDED if known else Grade.NOT_JUDGED


@dataclass(frozen=True, repr=False)
class Explanation:
    """What is known of a comparison; `print` shows it in words."""

    counts: RunCounts
    cohorts: tuple[CohortExplanation, ...] = field(default=())

    def __repr__(self) -> str:
        """Return what it is about, in one line."""
        told = [f"{each.summary.cohort.model}: {each.facts.outcome.value}" for each in self.cohorts]
        return f"<Explanation of {'; '.join(told) or 'nothing'}>"

    def __str__(self) -> str:
        """Return what `xbackend explain` prints."""
        return registry.renderer("explanation")(self)

    def _repr_html_(self) -> str:
        """Return the same for a notebook."""
        return registry.renderer("preformatted")(str(self))


def explain(comparison: Comparison) -> Explanation:
    """Return all that is known of a comparison, cohort by cohort."""
    seconds = read_durations(comparison.store)
    return Explanation(
        counts=count_runs(comparison),
        cohorts=tuple(_explain(each, comparison, seconds) for each in summaries(comparison)),
    )


def _explain(
    summary: Summary, comparison: Comparison, seconds: dict[str, float]
) -> CohortExplanation:
    facts, found = facts_of(summary), switches(summary)
    isolations = _isolations_of(summary, comparison.isolations)
    certified = cohort_certified(comparison, summary.cohort)
    judged = (e for e in comparison.reference_comparisons if e.cohort is summary.cohort)
    return CohortExplanation(
        summary=summary,
        facts=facts,
        rounding=_rounding_grade(certified),
        certified=certified,
        agreement=output_agreement(summary, comparison.store),
        emulated=summary.emulation_doubt.classes,
        isolated=tuple(
            Isolated(e.reference.id, e.run.id, isolation_facts(e), _cure(e)) for e in isolations
        ),
        changes=change_facts(summary, isolations),
        accuracy=tuple(row for each in judged for row in accuracy_facts(each)),
        switches=found,
        next=next_commands(summary, facts, comparison, seconds),
    )


def _rounding_grade(found: CertifiedFacts | None) -> Grade:
    known = found is not None and found.verdict is not RoundingVerdict.UNKNOWN
    return Grade.CERTIFIED if known else Grade.NOT_JUDGED


def _isolations_of(summary: Summary, found: Sequence[Isolation]) -> list[Isolation]:
    ids = {run.id for run in summary.cohort.runs}
    return [each for each in found if each.run.id in ids]


def _cure(found: Isolation) -> str:
    return found.no_fusion_options if found.unknown else ""
