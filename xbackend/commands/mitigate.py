"""What `xbackend mitigate` does: tries what may remove the deviation, and tells what did."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from xbackend.commands.commands import layout, means, ordered, positive, words, write
from xbackend.errors import UsageError
from xbackend.plugins.registry import backend, float_backends
from xbackend.store.store import open_store

if TYPE_CHECKING:
    from xbackend.execution.execute import Means
    from xbackend.execution.request import Order
    from xbackend.mitigation.search import Found
    from xbackend.mitigation.trials import Trial
    from xbackend.plugins.mitigation import Mitigation

FORMATS = ("table", "markdown", "csv", "json")


def mitigate(options: argparse.Namespace) -> int:
    """Print one table; exit status 3 if the model as it is failed, or a change was not honoured."""
    from xbackend.commands.remedy_table import render
    from xbackend.diagnosis.reference import parse_reference
    from xbackend.execution.progress import progress
    from xbackend.mitigation.nearness import compare_trials
    from xbackend.mitigation.results import Scales, rows
    from xbackend.mitigation.trials import all_mitigations, in_float64, try_all
    from xbackend.preparation.labelled import read_labels

    kind = "json" if options.json else options.format
    if kind not in FORMATS:
        raise UsageError(f"There is no format '{kind}'. Formats: {', '.join(FORMATS)}.")
    draw = layout("dendrogram", options.dendrogram) if options.dendrogram else None
    store = open_store(options.store)
    order = order_of(options)
    inputs, labels = read_labels(order.model, order.inputs, options.labels, options.labelled, store)
    order = dataclasses.replace(order, inputs=inputs)
    backends = backends_of(order)
    if options.mitigations == "list":
        print(listing(all_mitigations(order, backends), backends))
        return 0
    wanted = words(options.mitigations)
    judges = () if options.reference == "none" else parse_reference(options.reference)
    with progress(sys.stderr) as display:
        carrier = means(options, store, display)
        trials = try_all(order, backends, wanted, carrier)
        truth = in_float64(order, judges, carrier)
        sets = _searched(order, trials, wanted, carrier) if options.search else []
        found = rows(trials, Scales.of(store, truth, labels))
    if draw is not None:
        draw(compare_trials(trials, store))
    write(options.output, render(kind, order, found, sets))
    broken = any(trial.failed for trial in trials if not trial.mitigation)
    return 3 if broken or any(row.dishonoured for row in found) else 0


def _searched(
    order: Order, trials: Sequence[Trial], wanted: Sequence[str], carrier: Means
) -> list[Found]:
    """Search for the cheapest sets of the mitigations that are wanted."""
    from xbackend.comparison.measurement import Measurer
    from xbackend.mitigation.search import search
    from xbackend.mitigation.trials import all_mitigations, chosen, run_trials

    plain = [trial for trial in trials if not trial.mitigation]
    backends = [trial.backend for trial in plain]
    known = chosen(wanted, all_mitigations(order, backends, plain), backends)

    def run(several: Sequence[Trial]) -> list[Trial]:
        return run_trials(order, several, carrier)

    return search(plain, known, run, Measurer(carrier.store))


def order_of(options: argparse.Namespace) -> Order:
    """Return the order of the model as it is."""
    if options.emulated_samples < 0:
        raise UsageError(f"'--emulated-samples {options.emulated_samples}' must not be negative.")
    order = ordered(options)
    return dataclasses.replace(
        order,
        taps="outputs",
        repeats=positive("--repeats", options.repeats),
        emulated_samples=options.emulated_samples,
        vouched=order.backends or tuple(float_backends()),
    )


def backends_of(order: Order) -> list[str]:
    """Return the words of the backends that run, checked."""
    return [backend(word).word for word in order.backends or float_backends()]


def listing(mitigations: list[Mitigation], backends: list[str]) -> str:
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
