"""Which command tells more, or removes the difference, and how long that usually takes."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from xbackend.comparison.comparison import Comparison
from xbackend.comparison.summary import Summary
from xbackend.errors import StoreError
from xbackend.execution.durations import duration_key
from xbackend.facts.certified import narrower
from xbackend.facts.cohorts import CohortFacts
from xbackend.facts.outcome import Outcome
from xbackend.facts.told import told_runs
from xbackend.plugins import registry
from xbackend.store.records import Run
from xbackend.store.store import Store, store_option

HELPFUL_FORMATS = ("float32", "float16", "bfloat16")
"""Precisions whose accuracy float64 can judge."""
MOST_JSON = 1 << 24
"""Bytes of what tells which files samples are in."""
USUAL_PRECISION = "float32"
"""The one in which most backends run what no precision is said for."""


class Purpose(Enum):
    """What a command is for."""

    COMPARE = "have something to compare with"
    LAYERS = "see where they part"
    ISOLATE = "whose error is its own"
    CERTIFY = "whether rounding alone makes the difference"
    ACCURACY = "which result is nearer to float64"
    REDUCE = "the smallest example"
    SATURATION = "whether sums saturate"
    KEEP = "what must stay in float32"
    MITIGATE = "what removes the difference"


@dataclass(frozen=True)
class NextCommand:
    """A command to type."""

    purpose: Purpose
    command: str
    seconds: float | None
    """What it usually takes, from how long its runs took; None where that is not known."""


def next_commands(
    summary: Summary, facts: CohortFacts, comparison: Comparison, seconds: Mapping[str, float]
) -> tuple[NextCommand, ...]:
    """Return what to do next with a cohort; nothing where all runs give the same bits.

    `seconds` are how long kinds of runs took, see `xbackend.execution.durations`.
    """
    where = store_option(comparison.store)
    found = list(_keep(summary, comparison))
    if summary.cohort.files:
        found += _of_files(summary, comparison)
    elif facts.outcome is Outcome.DIFFERENT_BITS:
        found += _where_and_why(summary, facts, comparison, seconds)
    elif facts.outcome is not Outcome.SAME_BITS:
        found += _compare(summary)
    return tuple(replace(each, command=f"{each.command}{where}") for each in found)


def _of_files(summary: Summary, comparison: Comparison) -> tuple[NextCommand, ...]:
    """Return what to do with runs of different files: judge each by itself."""
    ids = {run.id for run in summary.cohort.runs}
    if any(each.run.id in ids for each in comparison.certificates):
        return ()
    return (NextCommand(Purpose.CERTIFY, "xbackend explain --certify", None),)


def _keep(summary: Summary, comparison: Comparison) -> tuple[NextCommand, ...]:
    """Return what finds the layers that overflow a narrower format, where one is known to."""
    runs = {run.id: run for run in summary.cohort.runs if narrower(run)}
    over = [each.run for each in comparison.certificates if each.overflows and each.run.id in runs]
    if not over:
        return ()
    given = _inputs(comparison.store, summary.cohort.inputs_digest)
    precision = str(over[0].row["precision"])
    command = f"xbackend mixed-precision {_subject(summary)} --precision {precision}{given}"
    backends = _backends(over)
    return (NextCommand(Purpose.KEEP, f"{command} --backends {backends}", None),)


def _inputs(store: Store, digest: str) -> str:
    """Return the option that gives the same samples again; nothing where no one file holds them."""
    folder = store.folder / "inputs"
    try:
        held = json.loads(store.read_file(folder / f"{digest}.json", MOST_JSON))
        ((name, *_),) = held["files"].values()
    except (OSError, ValueError, KeyError, TypeError, AttributeError, StoreError):
        return ""
    path = folder / f"{name}.npy"
    return f" --inputs {_quote(str(path))}" if path.is_file() and not held["prefix"] else ""


def _compare(summary: Summary) -> Iterator[NextCommand]:
    """Yield what runs the model in its precision on all backends that have it."""
    command = f"xbackend run {_subject(summary)}"
    precision = str(summary.cohort.group["precision"])
    if precision != USUAL_PRECISION:
        able = [each.word for each in registry.backends() if precision in each.formats]
        words = ",".join(word for word in able if word in registry.available_backends())
        command += f" --precision {_quote(precision)}" + (f" --backends {words}" if words else "")
    yield NextCommand(Purpose.COMPARE, command, None)


def _where_and_why(
    summary: Summary, facts: CohortFacts, comparison: Comparison, seconds: Mapping[str, float]
) -> Iterator[NextCommand]:
    told = {each.id for each in told_runs(summary.cohort.runs)}
    runs = [run for run in summary.cohort.runs if run.id not in told]
    if not runs:
        return
    subject, chosen = _subject(summary), _choice(summary, comparison.filters)
    ids = {run.id for run in runs}
    first_runs = [run for names in summary.eqcs for run in runs if run.id == names[0]]
    graphs = _graph_runs(summary)
    if facts.first is not None and facts.first.before and not facts.first.shared_before:
        again = f"xbackend run {subject} --backends {_backends(runs)} --taps layers"
        yield NextCommand(Purpose.LAYERS, again, _total(runs, seconds))
    elif facts.shared_layers and not any(each.run.id in ids for each in comparison.isolations):
        took = _total(first_runs, seconds)
        yield NextCommand(Purpose.ISOLATE, f"xbackend compare{chosen} --isolate", took)
    certified = any(each.run.id in ids for each in comparison.certificates)
    if facts.shared_layers and graphs and not certified:
        yield NextCommand(Purpose.CERTIFY, f"xbackend explain{chosen} --certify", None)
    if summary.cohort.group["precision"] in HELPFUL_FORMATS:
        yield NextCommand(Purpose.ACCURACY, f"xbackend compare{chosen} --reference float64", None)
    if facts.exposures:
        yield NextCommand(Purpose.SATURATION, f"xbackend saturation {subject}", None)
    if len(graphs) > 1:
        pair = f"{graphs[0].id},{graphs[1].id}"
        yield NextCommand(Purpose.REDUCE, f"xbackend reduce --runs {pair}", None)
    where = "".join(f" --platform {_quote(each)}" for each in _platforms(runs))
    tried = f"xbackend mitigate {subject} --backends {_backends(runs)}{where}{_threads(runs)}"
    yield NextCommand(Purpose.MITIGATE, tried, None)


def _choice(summary: Summary, filters: Sequence[str]) -> str:
    """Return the options that choose the cohort's runs again."""
    where = "".join(f" --where {_quote(each)}" for each in filters)
    return f" --model {_quote(summary.cohort.model)}{where}"


def _graph_runs(summary: Summary) -> list[Run]:
    """Return the first run of each class that computed the graph, of which nodes can be cut out.

    A run of the model's own source, or one that was told, has no nodes.
    """
    told = {each.id for each in told_runs(summary.cohort.runs)}
    graphs = {
        run.id: run
        for run in summary.cohort.runs
        if run.row["settings"].get("graph") != "source" and run.id not in told
    }
    found = ([graphs[name] for name in names if name in graphs] for names in summary.eqcs)
    return [runs[0] for runs in found if runs]


def _subject(summary: Summary) -> str:
    """Return what the user called the model."""
    source = summary.cohort.runs[0].row.get("model_source")
    return _quote(str(source or summary.cohort.model))


def _quote(text: str) -> str:
    return shlex.quote(text)


def _backends(runs: Sequence[Run]) -> str:
    return ",".join(dict.fromkeys(str(run.row["backend"]) for run in runs))


def _platforms(runs: Sequence[Run]) -> list[str]:
    found = list(dict.fromkeys(str(run.row["platform"]) for run in runs))
    return [] if found == ["native"] else found


def _threads(runs: Sequence[Run]) -> str:
    found = dict.fromkeys(str(run.row["settings"].get("threads", 1)) for run in runs)
    return "" if list(found) == ["1"] else f" --threads {','.join(found)}"


def _total(runs: Sequence[Run], seconds: Mapping[str, float]) -> float | None:
    """Return the sum of what runs usually take; None where that of one is not known."""
    took: list[float | None] = [seconds.get(_kind(run), run.row["seconds"]) for run in runs]
    known = [each for each in took if each is not None]
    return sum(known) if len(known) == len(took) else None


def _kind(run: Run) -> str:
    row = {**run.row, "model": {"digest": run.row["model_digest"]}}
    return duration_key({**row, "settings": {"threads": 1, **run.row["settings"]}})
