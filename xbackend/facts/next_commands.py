"""Which command tells more, or removes the difference, and how long that usually takes."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from xbackend.comparison.findings import Isolation
from xbackend.comparison.summary import Summary
from xbackend.execution.durations import duration_key
from xbackend.facts.cohorts import CohortFacts
from xbackend.facts.outcome import Outcome
from xbackend.store.records import Run

HELPFUL_FORMATS = ("float32", "float16", "bfloat16")
"""Precisions whose accuracy float64 can judge."""


class Purpose(Enum):
    """What a command is for."""

    COMPARE = "have something to compare with"
    LAYERS = "see where they part"
    ISOLATE = "whose error is its own"
    ACCURACY = "which result is nearer to float64"
    REDUCE = "the smallest example"
    SATURATION = "whether sums saturate"
    MITIGATE = "what removes the difference"


@dataclass(frozen=True)
class NextCommand:
    """A command to type."""

    purpose: Purpose
    command: str
    seconds: float | None
    """What it usually takes, from how long its runs took; None where that is not known."""


def next_commands(
    summary: Summary,
    facts: CohortFacts,
    isolations: Sequence[Isolation],
    seconds: Mapping[str, float],
) -> tuple[NextCommand, ...]:
    """Return what to do next with a cohort; nothing where all runs give the same bits.

    `seconds` are how long kinds of runs took, see `xbackend.execution.durations`.
    """
    return tuple(_commands(summary, facts, isolations, seconds))


def _commands(
    summary: Summary,
    facts: CohortFacts,
    isolations: Sequence[Isolation],
    seconds: Mapping[str, float],
) -> Iterator[NextCommand]:
    runs = summary.cohort.runs
    subject, chosen = _subject(summary), f"xbackend compare --model {_quote(summary.cohort.model)}"
    every = _total(runs, seconds)
    if facts.outcome is not Outcome.DIFFERENT_BITS:
        if facts.outcome is not Outcome.SAME_BITS:
            yield NextCommand(Purpose.COMPARE, f"xbackend run {subject}", None)
        return
    first_runs = [run for ids in summary.eqcs for run in runs if run.id == ids[0]]
    heads = _total(first_runs, seconds)
    if facts.first is not None and facts.first.before and not facts.first.shared_before:
        again = f"xbackend run {subject} --backends {_backends(runs)} --taps layers"
        yield NextCommand(Purpose.LAYERS, again, every)
    elif facts.shared_layers and not isolations:
        yield NextCommand(Purpose.ISOLATE, f"{chosen} --isolate", heads)
    if summary.cohort.group["precision"] in HELPFUL_FORMATS:
        yield NextCommand(Purpose.ACCURACY, f"{chosen} --reference float64", None)
    if facts.exposures:
        yield NextCommand(Purpose.SATURATION, f"xbackend saturation {subject}", None)
    pair = f"{first_runs[0].id},{first_runs[1].id}"
    yield NextCommand(Purpose.REDUCE, f"xbackend reduce --runs {pair}", None)
    where = "".join(f" --platform {_quote(each)}" for each in _platforms(runs))
    tried = f"xbackend mitigate {subject} --backends {_backends(runs)}{where}{_threads(runs)}"
    yield NextCommand(Purpose.MITIGATE, tried, None)


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
