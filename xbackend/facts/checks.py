"""Every rule that was asked for, on every tensor that it is about: what CI services count.

A case is a rule on a tensor of a section; it fails where any sample breaks the rule. A rule for
which nothing was compared is a case of no tensor, which fails.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from xbackend.comparison.comparison import (
    Comparison,
    SampleComparison,
    TapComparison,
    threshold_failures,
)
from xbackend.comparison.layers import TapSummary, summarise_taps
from xbackend.facts.baseline.verdicts import BaselineFinding, BaselineJudgement
from xbackend.facts.gates import (
    CERTIFIED,
    Condition,
    Gate,
    GateFailure,
    RoundingFailure,
    gate_failures,
    judged_tensors,
)
from xbackend.store.records import Run

Failure = str | GateFailure | RoundingFailure | BaselineFinding
BASELINE, CERTIFY = "baseline", "certify"
"""Rules that are asked for by an option of that name."""


@dataclass(frozen=True)
class Case:
    """One rule on one tensor of a section."""

    rule: str
    """As it was written; `baseline`; `max-eqcs<=2`."""
    model: str
    """Model and precision; empty where nothing was compared."""
    tensor: str
    failures: tuple[Failure, ...]
    told: tuple[BaselineFinding, ...] = ()
    """What passes and is worth saying: a class that is new to the baseline."""


@dataclass(frozen=True)
class OutputNumbers:
    """What was measured of an output over all runs and samples of a section."""

    model: str
    """Model and precision."""
    inputs: int
    output: TapSummary
    flips: int
    """Runs of which a label is not the first run's."""


@dataclass(frozen=True)
class Checks:
    """All cases, and the numbers that were measured whether or not these fail."""

    cases: tuple[Case, ...]
    numbers: tuple[OutputNumbers, ...]
    failed_runs: tuple[Run, ...]
    baseline: BaselineJudgement | None = None

    @property
    def failures(self) -> tuple[Case, ...]:
        """The cases that fail."""
        return tuple(case for case in self.cases if case.failures)

    @property
    def passes(self) -> bool:
        """Whether there are cases, and none fails."""
        return bool(self.cases) and not self.failures


def check(
    comparison: Comparison,
    gates: Sequence[Gate] = (),
    fail_under: int | None = None,
    max_eqcs: int | None = None,
    baseline: BaselineJudgement | None = None,
) -> Checks:
    """Return what each rule comes to; measures of pairs and certificates must be there already."""
    cases: list[Case] = []
    for gate in gates:
        if gate.is_certified:
            cases.append(Case(str(gate), "", "", tuple(gate_failures(comparison, [gate]))))
        for condition in gate.conditions:
            cases += _gate_cases(comparison, gate, condition)
    if fail_under is not None:
        cases += _threshold_cases(comparison, f"fail-under {fail_under}", fail_under, None)
    if max_eqcs is not None:
        cases += _threshold_cases(comparison, f"max-eqcs {max_eqcs}", None, max_eqcs)
    if comparison.certificates and not any(gate.is_certified for gate in gates):
        cases.append(Case(CERTIFY, "", "", tuple(_faults(comparison))))
    if baseline is not None:
        cases += _baseline_cases(baseline.findings)
    failed = tuple(run for run in comparison.runs if run.row["status"] == "failed")
    return Checks(tuple(cases), tuple(_numbers(comparison)), failed, baseline)


def _faults(comparison: Comparison) -> Iterator[Failure]:
    """Yield the faults that certificates show; what was not judged is none."""
    for failure in gate_failures(comparison, [Gate(CERTIFIED, ())]):
        if isinstance(failure, RoundingFailure) and _is_fault(failure):
            yield failure


def _is_fault(failure: RoundingFailure) -> bool:
    return failure.is_export or (failure.layer is not None and not failure.overflows)


def _gate_cases(comparison: Comparison, gate: Gate, condition: Condition) -> Iterator[Case]:
    alone = replace(gate, conditions=(condition,))
    broken: dict[tuple[str, str], list[Failure]] = {}
    for failure in gate_failures(comparison, [alone]):
        tensor = failure.tensor if isinstance(failure, GateFailure) else None
        broken.setdefault(("", "") if tensor is None else _place(tensor), []).append(failure)
    about = {_place(tap): _model(tap) for tap in judged_tensors(comparison, gate, condition)}
    for place, model in about.items() or [(("", ""), "")]:
        yield Case(str(alone), model, place[1], tuple(broken.get(place, ())))


def _threshold_cases(
    comparison: Comparison, rule: str, fail_under: int | None, max_eqcs: int | None
) -> Iterator[Case]:
    whole = threshold_failures(comparison, fail_under, max_eqcs)
    outputs: dict[tuple[str, str], str] = {}
    for sample in comparison.samples:
        for tap in sample.outputs:
            if sum(map(len, tap.eqcs)) > 1:
                outputs.setdefault(_place(tap), _model(tap))
    if not outputs:
        yield Case(rule, "", "", tuple(whole))
    for place, model in outputs.items():
        alone = replace(comparison, samples=tuple(_only(comparison, place)))
        found = threshold_failures(alone, fail_under, max_eqcs)
        yield Case(rule, model, place[1], tuple(found))


def _only(comparison: Comparison, place: tuple[str, str]) -> Iterable[SampleComparison]:
    for sample in comparison.samples:
        taps = tuple(tap for tap in sample.outputs if _place(tap) == place)
        if taps:
            yield replace(sample, taps=taps)


def _baseline_cases(findings: Iterable[BaselineFinding]) -> Iterator[Case]:
    groups: dict[tuple[str, str], list[BaselineFinding]] = {}
    models: dict[tuple[str, str], str] = {}
    for each in findings:
        section = each.section
        place = ("" if section is None else section.id, each.tensor or "")
        groups.setdefault(place, []).append(each)
        models[place] = "" if section is None else f"{section.model} ({section.precision})"
    for place, of in groups.items():
        failures = tuple(each for each in of if not each.verdict.passes)
        passing = tuple(each for each in of if each.verdict.passes)
        yield Case(BASELINE, models[place], place[1], failures, passing)


def _numbers(comparison: Comparison) -> Iterator[OutputNumbers]:
    for samples in comparison.sections.values():
        flips = max(sample.label_flips for sample in samples)
        for tap in summarise_taps(samples):
            if tap.is_output:
                group = samples[0].cohort.group
                model = f"{samples[0].cohort.model} ({group['precision']})"
                yield OutputNumbers(model, len(samples), tap, flips)


def _place(tap: TapComparison) -> tuple[str, str]:
    return (tap.cohort.key, tap.tap)


def _model(tap: TapComparison) -> str:
    return f"{tap.cohort.model} ({tap.cohort.group['precision']})"
