"""What `xbackend reduce` does: two runs, the reduction of what tells them apart, a folder."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

from xbackend.commands.commands import (
    comma_separated,
    execution_context,
    positive_integer,
    request_from_options,
)
from xbackend.comparison.comparison import Comparison
from xbackend.diagnosis.isolation_pairs import find_run
from xbackend.errors import UsageError, XbackendError
from xbackend.execution.execute import ExecutionContext, execute
from xbackend.execution.progress import progress
from xbackend.reduction.reduction import reduce_pair
from xbackend.reduction.shrink import Budget
from xbackend.store.query import Query, select
from xbackend.store.records import Run, read_run
from xbackend.store.store import open_store


def command(options: argparse.Namespace) -> int:
    """Reduce a difference and write a folder."""
    from xbackend.reduction import bug_report

    folder = Path(options.output)
    if folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"The folder {folder} is not empty. Name another with --output.")
    with progress(sys.stderr) as display:
        given = execution_context(options, open_store(options.store), display)
        trials = positive_integer("--trials", options.trials)
        reference, run = _pair(options, given)
        budget = Budget(trials, options.limit, log=display.log)
        found = reduce_pair(reference, run, given, budget)
        files = bug_report.write_bug_report(found, folder, str(run.row["model"]))
    if options.json:
        print((folder / "difference.json").read_text(encoding="utf-8"), end="")
        return 0
    print("\n".join(map(str, files)))
    nodes, elements = len(found.case.model.graph.node), found.case.elements
    print(
        f"{nodes} of {found.nodes} nodes and {elements} of {found.elements} numbers show the "
        f"difference, which begins at layer {found.layer.layer} ({found.layer.operator}, "
        f"'{found.layer.tap}'); {found.trials} trials, verified anew. Next: {folder / 'README.md'}"
    )
    return 0


def _pair(options: argparse.Namespace, given: ExecutionContext) -> tuple[Run, Run]:
    """Return the two runs: those that are named, or those that the options make."""
    if options.runs is not None:
        return _named(options, given)
    request = dataclasses.replace(
        request_from_options(options), precisions=comma_separated(options.precision)
    )
    if not request.backends:
        raise UsageError(
            "Name what to compare: two runs with --runs A,B, or --backends with one or two, such "
            "as --backends ort --platform native --platform qemu:Haswell."
        )
    runs = [read_run(record) for record in execute(request, given)]
    if len(runs) != 2:
        raise UsageError(
            f"These options make {len(runs)} runs, and two are compared. Name two backends, or one "
            "with two platforms or two numbers of threads."
        )
    for run in runs:
        if not run.ok:
            raise XbackendError(str((run.row["error"] or {}).get("message", "A run failed.")))
    return runs[0], runs[1]


def _named(options: argparse.Namespace, given: ExecutionContext) -> tuple[Run, Run]:
    names = comma_separated(options.runs)
    if len(names) != 2:
        raise UsageError(f"'--runs {options.runs}' must name two runs, such as 0000-ort,0001-tf.")
    runs = tuple(select(given.store, Query(options.model)))
    chosen = Comparison(runs, (), given.store)
    return find_run(chosen, names[0]), find_run(chosen, names[1])
