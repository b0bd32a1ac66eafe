"""Puts into words what rules come to, for CI services and pull requests."""

from __future__ import annotations

from collections.abc import Iterator

from xbackend.facts.baseline.verdicts import BaselineFinding
from xbackend.facts.checks import Case, Checks, Failure, OutputNumbers
from xbackend.store.records import Run

from .baseline import finding_sentence, grouped
from .formatting import format_number, format_percent, name_run, pluralize, printable


def checks_sentence(checks: Checks) -> str:
    """Return in one line how many checks there were, and how many fail."""
    if not checks.cases:
        return (
            "Nothing was asked to be checked: name --gate, --fail-under, --max-eqcs or --baseline."
        )
    count = pluralize(len(checks.cases), "check")
    failing = len(checks.failures)
    return (
        f"{failing} of {count} {'fails' if failing == 1 else 'fail'}."
        if failing
        else (f"{count}, and {'it passes' if len(checks.cases) == 1 else 'all pass'}.")
    )


def case_name(case: Case) -> str:
    """Return what a case is called: `softmax: output: bits>=16`."""
    return printable(f"{case.tensor}: {case.rule}" if case.tensor else case.rule)


def failure_sentences(case: Case) -> list[str]:
    """Return a sentence for each failure of a case, samples of like findings together."""
    findings = [each for each in case.failures if isinstance(each, BaselineFinding)]
    rest = [str(each) for each in case.failures if not isinstance(each, BaselineFinding)]
    return [printable(text) for text in rest] + list(_told(findings))


def told_sentences(case: Case) -> list[str]:
    """Return a sentence for what passes and is new."""
    return list(_told(list(case.told)))


def _told(findings: list[BaselineFinding]) -> Iterator[str]:
    return (finding_sentence(each, others) for each, others in grouped(findings))


def failure_type(failure: Failure) -> str:
    """Return in a word or two what kind of failure it is."""
    return failure.verdict.value if isinstance(failure, BaselineFinding) else "rule broken"


def number_cells(found: OutputNumbers) -> tuple[str, ...]:
    """Return the cells of `NUMBER_HEADERS`."""
    metrics, output = found.output.metrics, found.output
    return (
        printable(found.model),
        printable(output.tap),
        str(output.run_count),
        str(output.eqc_count),
        format_number(metrics.remaining_precision),
        format_number(metrics.max_ulp),
        format_number(metrics.max_abs),
        format_percent(metrics.deviating_fraction),
        str(found.flips),
    )


NUMBER_HEADERS = (
    "model", "output", "runs", "classes", "bits", "max ULP", "max abs", "deviating", "label flips",
)  # fmt: skip


def numbers_sentence(found: OutputNumbers) -> str:
    """Return what was measured of an output, in one line."""
    model, tap, runs, classes, bits, ulp, absolute, deviating, flips = number_cells(found)
    return (
        f"'{tap}' of {model}, {pluralize(found.inputs, 'input')}: classes {classes}, runs {runs}, "
        f"common mantissa bits {bits}, max ULP {ulp}, max abs {absolute}, deviating {deviating}, "
        f"label flips {flips}"
    )


def failed_run_sentence(run: Run) -> str:
    """Return which run failed, and why."""
    error = run.row["error"] or {}
    return printable(
        f"{name_run(run)} failed in {error.get('stage')}: "
        f"{error.get('message') or error.get('symptom')}"
    )
