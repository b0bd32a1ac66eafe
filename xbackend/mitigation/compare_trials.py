"""The runs of mitigations as one comparison: a cohort for each, for trees of how near they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from xbackend.comparison.compare import compare_runs
from xbackend.comparison.comparison import Comparison
from xbackend.errors import UsageError
from xbackend.mitigation.trials import Trial
from xbackend.numerics.metrics import equivalence_classes
from xbackend.store.records import Run
from xbackend.store.store import Store


def compare_trials(trials: Sequence[Trial], store: Store) -> Comparison:
    """Compare the runs of each trial, on the one sample with most classes before any mitigation.

    Raises UsageError where nothing ran.
    """
    ran = [trial for trial in trials if trial.runs]
    if not ran:
        raise UsageError("No run gave outputs, so there is no tree to draw.")
    sample = {
        trial.backend: _sample_with_most_classes(trial.runs)
        for trial in ran
        if not trial.mitigation
    }
    runs = [
        _with_trial_as_model(
            run, trial, sample.get(trial.backend) or _sample_with_most_classes(trial.runs)
        )
        for trial in sorted(ran, key=lambda trial: trial.backend)
        for run in trial.runs
    ]
    return compare_runs(store, runs)


def _sample_with_most_classes(runs: Sequence[Run]) -> str:
    """Return the sample that all runs have with most classes, the first of several."""
    tables = [
        {str(each["input"]): [row["digest"] for row in each["outputs"]] for each in run.results}
        for run in runs
    ]
    shared = [name for name in tables[0] if all(name in table for table in tables)]
    return max(
        shared, key=lambda name: len(equivalence_classes(tuple(table[name]) for table in tables))
    )


def _with_trial_as_model(run: Run, trial: Trial, sample: str) -> Run:
    """Return a run with one sample, as if its model were one of its own for each mitigation."""
    name = str(run.row["model"]).partition("~")[0]
    told = f"{trial.backend}, {trial.mitigation or 'as it is'}"
    model = {
        "model": f"{name}, {told}",
        "model_digest": f"{run.row['model_digest']} {told}",
        "conversion": None,
    }
    results = tuple(each for each in run.results if str(each["input"]) == sample)
    return dataclasses.replace(run, row={**run.row, **model}, results=results)
