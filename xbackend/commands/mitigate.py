"""What `xbackend mitigate` does: tries what may remove the deviation, and tells what did."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from xbackend.commands.commands import (
    comma_separated,
    execution_context,
    positive_integer,
    report_writer,
    request_from_options,
    write_report,
)
from xbackend.errors import UsageError
from xbackend.plugins.registry import backend, float_backends
from xbackend.store.store import open_store

if TYPE_CHECKING:
    from xbackend.execution.execute import ExecutionContext
    from xbackend.execution.request import RunRequest
    from xbackend.mitigation.search import SearchResult
    from xbackend.mitigation.trials import Trial
    from xbackend.plugins.mitigation import Mitigation

FORMATS = ("table", "markdown", "csv", "json")


def mitigate(options: argparse.Namespace) -> int:
    """Print one table; exit status 3 if the model as it is failed, or a change was not honoured."""
    from xbackend.commands.remedy_table import render
    from xbackend.diagnosis.reference import parse_reference
    from xbackend.execution.progress import progress
    from xbackend.mitigation.compare_trials import compare_trials
    from xbackend.mitigation.results import Evaluator, evaluate_trials
    from xbackend.mitigation.trials import all_mitigations, run_float64_reference, run_mitigations
    from xbackend.preparation.labelled_samples import read_labels

    kind = "json" if options.json else options.format
    if kind not in FORMATS:
        raise UsageError(f"There is no format '{kind}'. Formats: {', '.join(FORMATS)}.")
    draw = report_writer("dendrogram", options.dendrogram) if options.dendrogram else None
    store = open_store(options.store)
    request = baseline_request(options)
    inputs, labels = read_labels(
        request.model, request.inputs, options.labels, options.labelled, store
    )
    request = dataclasses.replace(request, inputs=inputs)
    backends = backends_of(request)
    if options.mitigations == "list":
        print(format_mitigations(all_mitigations(request, backends), backends))
        return 0
    wanted = comma_separated(options.mitigations)
    judges = () if options.reference == "none" else parse_reference(options.reference)
    with progress(sys.stderr) as display:
        context = execution_context(options, store, display)
        trials = run_mitigations(request, backends, wanted, context)
        reference = run_float64_reference(request, judges, context)
        sets = _search_sets(request, trials, wanted, context) if options.search else []
        found = evaluate_trials(trials, Evaluator.of(store, reference, labels))
    write_report(options.output, render(kind, request, found, sets))
    if draw is not None:
        draw(compare_trials(trials, store))
    broken = any(trial.failed for trial in trials if not trial.mitigation)
    return 3 if broken or any(row.dishonoured for row in found) else 0


def _search_sets(
    request: RunRequest, trials: Sequence[Trial], wanted: Sequence[str], context: ExecutionContext
) -> list[SearchResult]:
    """Search for the cheapest sets of the mitigations that are wanted."""
    from xbackend.comparison.measurement import Measurer
    from xbackend.mitigation.search import find_smallest_sets
    from xbackend.mitigation.trials import all_mitigations, run_trials, select_mitigations

    plain = [trial for trial in trials if not trial.mitigation]
    backends = [trial.backend for trial in plain]
    known = select_mitigations(wanted, all_mitigations(request, backends, plain), backends)

    def run(several: Sequence[Trial]) -> list[Trial]:
        return run_trials(request, several, context)

    return find_smallest_sets(plain, known, run, Measurer(context.store))


def baseline_request(options: argparse.Namespace) -> RunRequest:
    """Return the request for the model as it is."""
    if options.emulated_samples < 0:
        raise UsageError(f"'--emulated-samples {options.emulated_samples}' must not be negative.")
    request = request_from_options(options)
    return dataclasses.replace(
        request,
        taps="outputs",
        repeats=positive_integer("--repeats", options.repeats),
        emulated_samples=options.emulated_samples,
        faithful_taps_for=request.backends or tuple(float_backends()),
    )


def backends_of(request: RunRequest) -> list[str]:
    """Return the words of the backends that run, checked."""
    return [backend(word).word for word in request.backends or float_backends()]


def format_mitigations(mitigations: list[Mitigation], backends: list[str]) -> str:
    """Return one line for each mitigation; those of a family that differ in a number together."""
    from tabulate import tabulate

    table = [
        [each.name, each.family, ", ".join(w for w in each.changes if w in backends), each.what]
        for each in mitigations
        if each.default
    ]
    rest = sum(not each.default for each in mitigations)
    lines = tabulate(table, ["name", "family", "backends", "what"], disable_numparse=True)
    return f"{lines}\nand {rest} more, with other numbers of bits, such as cut-weights-5"
