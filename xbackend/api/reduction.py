"""Cuts out the smallest model and input that show the difference between two runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xbackend.api.arguments import (
    Numbers,
    PathLike,
    Progress,
    Settings,
    StoreLike,
    Words,
    execution_context,
    positive_integer,
    positive_integers,
    positive_seconds,
    settings_texts,
    specs,
    store_of,
    words,
)
from xbackend.api.runs import Runs, source_of
from xbackend.api.samples import Inputs, chosen_samples
from xbackend.errors import UsageError
from xbackend.execution.execute import ExecutionContext
from xbackend.execution.request import RunRequest
from xbackend.plugins import registry
from xbackend.reduction import bug_report
from xbackend.reduction.reduction import Reduction, reduce_pair
from xbackend.reduction.run_pair import find_pair, make_pair
from xbackend.reduction.shrink import Budget
from xbackend.store.records import Run

Record = dict[str, Any]


@dataclass(frozen=True)
class ReducedDifference:
    """A folder that holds the smallest model and input, and how they came about."""

    reduction: Reduction
    folder: Path
    files: tuple[Path, ...]
    """What was written: the model, inputs, expected outputs, scripts, a README."""

    def to_dict(self) -> Record:
        """Return JSON values: what is in difference.json."""
        document: Record = json.loads(self.to_json())
        return document

    def to_json(self) -> str:
        """Return the text of difference.json."""
        return (self.folder / "difference.json").read_text(encoding="utf-8")

    def __str__(self) -> str:
        """Return the files and a sentence."""
        return registry.renderer("reduction")(self.reduction, self.folder, self.files)


def reduce(
    model: object = None,
    *,
    runs: Words | Runs | Sequence[Run] = None,
    backends: Words = None,
    platforms: Words = None,
    inputs: Inputs = None,
    precisions: Words = None,
    threads: Numbers = 1,
    settings: Settings = None,
    example_inputs: Any = None,
    output: PathLike = "reduced",
    trials: int = 2000,
    limit: float = 600.0,
    timeout: float = 600.0,
    jobs: int | None = None,
    store: StoreLike = None,
    trust_platforms: bool = False,
    progress: Progress = None,
) -> ReducedDifference:
    """Cut out the smallest model and input that show the difference between two runs.

    Name two runs of the store by `runs`, or what makes exactly two by the other arguments.

    Args:
        model: As for `run`; with `runs` only which runs are meant.
        runs: Two runs, or parts of their ids: `("0000-ort", "0001-torch")`.
        backends: One, or two such as `"ort,torch"`.
        platforms: One or two; default: native.
        inputs: As for `run`.
        precisions: Such as `float16`; default: each backend's own.
        threads: One number or two.
        settings: As for `run`.
        example_inputs: As for `run`.
        output: A folder that is not there, or empty.
        trials: How many smaller models are tried at most.
        limit: Seconds after which no more are tried.
        timeout: Seconds for each worker.
        jobs: Workers at once; default: one for each core.
        store: A folder; default: $XBACKEND_STORE or .xbackend.
        trust_platforms: Whether interpreters, hosts and images that only records name are started.
        progress: A function that is told of each step by a `ProgressEvent`.

    Returns:
        The folder, whose README.md says how to show the difference.

    Raises:
        UsageError: Where no two runs of one model are named.
        XbackendError: Where nothing smaller shows the difference.

    Example:
        >>> import xbackend as xb
        >>> xb.reduce(backends="fixed", platforms="native")
        Traceback (most recent call last):
        ...
        xbackend.errors.UsageError: These options make 1 run, and two are compared. Name two \
backends, or one with two platforms or two numbers of threads.
    """
    folder = Path(output)
    if folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"The folder {folder} is not empty. Name another with --output.")
    there = store_of(store)
    context = execution_context(there, jobs, timeout, progress, trust_platforms)
    most, longest = positive_integer("--trials ", trials), positive_seconds("--limit ", limit)
    if runs is not None:
        pair = find_pair(there, _ids(runs), None if model is None else source_of(model, there))
    else:
        with chosen_samples(inputs) as given:
            request = RunRequest(
                model=source_of(model, there, example_inputs),
                backends=words(backends),
                platforms=specs(platforms),
                inputs=given.path,
                choice=given.choice,
                precisions=words(precisions),
                threads=positive_integers("threads=", threads),
                settings=settings_texts(settings),
            )
            pair = make_pair(request, context)
    return _reduced(pair, folder, Budget(most, longest, log=context.display.log), context)


def _reduced(
    pair: tuple[Run, Run], folder: Path, budget: Budget, context: ExecutionContext
) -> ReducedDifference:
    reference, run = pair
    found = reduce_pair(reference, run, context, budget)
    files = bug_report.write_bug_report(found, folder, str(run.row["model"]))
    return ReducedDifference(found, folder, tuple(files))


def _ids(runs: Words | Runs | Sequence[Run]) -> tuple[str, ...]:
    """Return what names runs."""
    if runs is None or isinstance(runs, str):
        return words(runs)
    return tuple(each.id if isinstance(each, Run) else str(each) for each in runs)
