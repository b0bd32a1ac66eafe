"""Runs a model once as it is and once with each mitigation: from mitigations to runs."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from xbackend.comparison.measurement import Measurer
from xbackend.errors import ConversionError, InputError, ModelError, UsageError, did_you_mean
from xbackend.execution.execute import ExecutionContext, execute_all
from xbackend.execution.request import RunRequest
from xbackend.mitigation.consistency import measure_consistency
from xbackend.numerics.float64_error import REFERENCE
from xbackend.plugins import registry
from xbackend.plugins.mitigation import EVERY, BackendChange, Mitigation, MitigationContext
from xbackend.preparation.model import find_model
from xbackend.preparation.rewrite import Rewrite
from xbackend.store.records import Run, read_run
from xbackend.worker.contract import SettingValue

Record = dict[str, Any]


@dataclass(frozen=True)
class Trial:
    """One backend with one mitigation, or with none."""

    backend: str
    """The word under which it was asked for."""
    mitigation: str
    """Its name; empty for the model as it is."""
    change: BackendChange
    runs: tuple[Run, ...] = ()
    """Those that gave outputs."""
    problems: tuple[str, ...] = ()
    """Why it cannot be, or which runs failed."""
    failed: int = 0
    """How many runs failed, others than those that were skipped."""

    def expected_runs(self, plain: Sequence[Run]) -> int:
        """Return how many runs it gives if none is lost, of those that there are without it.

        One that fixes the number of threads makes one run of those that differ in it.
        """
        if not self.change.threads:
            return len(plain)
        return len({(run.row["platform"], run.row["repeat"]) for run in plain})


def select_mitigations(
    words: Sequence[str], everything: Sequence[Mitigation], backends: Sequence[str]
) -> list[Mitigation]:
    """Return the mitigations that are named by name, family or pattern; without words the usual.

    Raises UsageError, which lists what there is, for a word that names none.
    """
    concerning = [each for each in everything if _concerns(each, backends)]
    if not words:
        return [each for each in concerning if each.default]
    found: dict[str, Mitigation] = {}
    for word in words:
        named = [m for m in concerning if m.family == word and (m.default or not m.rank)]
        named = named or [m for m in concerning if word == m.family or fnmatchcase(m.name, word)]
        if not named:
            raise UsageError(_unknown(word, everything))
        found.update((each.name, each) for each in named)
    return list(found.values())


def _concerns(mitigation: Mitigation, backends: Sequence[str]) -> bool:
    words = {*mitigation.changes, *mitigation.unavailable}
    return EVERY in words or bool(words & set(backends))


def _unknown(word: str, everything: Sequence[Mitigation]) -> str:
    families = dict.fromkeys(each.family or each.name for each in everything if each.default)
    near = did_you_mean(word, [*families, *(each.name for each in everything)])
    return (
        f"There is no mitigation '{word}' for these backends. Families: {', '.join(families)}; "
        f"'--mitigations list' names all, and patterns such as 'round-*-8' choose some.{near}"
    )


def apply_change(request: RunRequest, word: str, name: str, change: BackendChange) -> RunRequest:
    """Return a backend's request under a change. Raises UsageError where it has no meaning."""
    _require(request, word, change.required_settings)
    target = change.replacement_backend or word
    own = [text for text in request.settings if text.startswith(f"{target}.")]
    more = [f"{target}.{key}={_text(value)}" for key, value in change.settings.items()]
    return dataclasses.replace(
        request,
        backends=(target,),
        settings=(*own, *more),
        precisions=(change.precision,) if change.precision else request.precisions,
        threads=(change.threads,) if change.threads else request.threads,
        options=(*request.options, *map(_option, _flat(change.options))),
        rewrite=Rewrite(
            name=name,
            target_format=change.rewrite,
            zero_inputs=change.zero_inputs,
            rounding=change.rounding,
        ),
    )


def _flat(options: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str, Any]]:
    return ((name, key, value) for name, each in options.items() for key, value in each.items())


def _option(told: tuple[str, str, Any]) -> str:
    name, key, value = told
    return f"{name}.{key}={value if isinstance(value, str) else json.dumps(value)}"


def _text(value: SettingValue) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _require(request: RunRequest, word: str, needs: Mapping[str, SettingValue]) -> None:
    for key, value in needs.items():
        text = f"{word}.{key}={_text(value)}"
        if text not in request.settings:
            raise UsageError(f"It has a meaning with --set {text} only.")


def run_mitigations(
    request: RunRequest,
    backends: Sequence[str],
    wanted: Sequence[str],
    labels: Mapping[str, int],
    context: ExecutionContext,
) -> list[Trial]:
    """Run every backend as it is, then with each mitigation that is wanted; cheap runs first.

    Raises UsageError, before anything runs, for a word that names none, and InputError, before
    anything is changed, for right classes that the model does not have.
    """
    select_mitigations(wanted, all_mitigations(request, backends), backends)
    plain = [Trial(word, "", BackendChange()) for word in backends]
    base = run_trials(request, plain, context)
    check_labels([run for trial in base for run in trial.runs], labels)
    trials, idle = [], []
    chosen = select_mitigations(wanted, all_mitigations(request, backends, base), backends)
    if not wanted:
        chosen, why = without_needless(base, chosen, Measurer(context.store))
        if why:
            context.display.log(why)
    for mitigation in chosen:
        for word in backends:
            lack = mitigation.unavailable.get(word, mitigation.unavailable.get(EVERY))
            if word in mitigation.changes:
                trials.append(Trial(word, mitigation.name, mitigation.changes[word]))
            elif lack is not None:
                idle.append(Trial(word, mitigation.name, BackendChange(), problems=(lack,)))
    return [*base, *run_trials(request, trials, context), *idle]


def check_labels(runs: Sequence[Run], labels: Mapping[str, int]) -> None:
    """Raise InputError for a sample's right class that the model has no score for."""
    for result in (result for run in runs for result in run.results if result["outputs"]):
        name, scores = str(result["input"]), math.prod(result["outputs"][0]["shape"])
        if not 0 <= labels.get(name, 0) < max(scores, 1):
            raise InputError(
                f"The right class of sample {name} is {labels[name]}, but the model gives "
                f"{scores} scores, of the classes 0 to {scores - 1}. Give the labels of this model."
            )


def without_needless(
    base: Sequence[Trial], chosen: Sequence[Mitigation], measurer: Measurer
) -> tuple[list[Mitigation], str]:
    """Return the mitigations that may remove a difference which there is, and why others cannot.

    Where each backend gives the same bits in all its runs, only what changes several of them can
    make all agree; where all agree already, nothing is left to remove.
    """
    ran = [trial for trial in base if trial.runs]
    several = [trial for trial in ran if len(trial.runs) > 1]
    consistent = all(measure_consistency(each.runs, measurer).classes == 1 for each in several)
    if not several or len(several) < len(ran) or not consistent:
        return list(chosen), ""
    together = measure_consistency([run for trial in ran for run in trial.runs], measurer)
    if together.classes == 1:
        return [], "all backends give the same bits as they are; --mitigations tries some anyway"
    words = {trial.backend for trial in ran}
    kept = [each for each in chosen if len(words & each.changes.keys()) > 1]
    return kept, (
        "every backend gives the same bits in all its runs, so only what changes several backends "
        "is tried; --mitigations tries others anyway"
    )


def run_trials(
    request: RunRequest, trials: Sequence[Trial], context: ExecutionContext
) -> list[Trial]:
    """Carry out trials together; one whose request is refused says why."""
    requests: list[RunRequest | None] = []
    refusals: dict[int, str] = {}
    for place, trial in enumerate(trials):
        try:
            asked = apply_change(request, trial.backend, trial.mitigation, trial.change)
            requests.append(
                dataclasses.replace(asked, purpose="mitigation") if trial.mitigation else asked
            )
        except UsageError as error:
            requests.append(None)
            refusals[place] = str(error)
    wanted = [each for each in requests if each is not None]
    lenient = (UsageError, ModelError, ConversionError, InputError) if _mitigated(trials) else ()
    done = iter(execute_all(wanted, context, lenient))
    return [
        dataclasses.replace(trial, problems=(refusals[place],))
        if requests[place] is None
        else _with_outcome(trial, next(done))
        for place, trial in enumerate(trials)
    ]


def run_float64_reference(
    request: RunRequest, backends: Sequence[str], context: ExecutionContext
) -> Run | None:
    """Return the run that others are judged by: float64 in the first backend that can, natively.

    None where none is installed, or none can.
    """
    for word in backends:
        if not registry.is_available(registry.backend(word)):
            continue
        alone = dataclasses.replace(
            request,
            backends=(word,),
            platforms=("native",),
            precisions=(REFERENCE,),
            threads=(1,),
            settings=(),
            repeats=1,
            faithful_taps_for=(),
            purpose="reference",
        )
        (records,) = execute_all([alone], context, (ModelError, ConversionError))
        runs = [] if isinstance(records, Exception) else [read_run(row) for row in records]
        if runs and runs[0].ok:
            return runs[0]
    return None


def _mitigated(trials: Sequence[Trial]) -> bool:
    return any(trial.mitigation for trial in trials)


def _with_outcome(trial: Trial, answer: list[Record] | Exception) -> Trial:
    """Return a trial with its runs, and what went wrong."""
    if isinstance(answer, Exception):
        return dataclasses.replace(trial, problems=(str(answer),))
    runs = tuple(run for run in map(read_run, answer) if run.ok)
    failures: dict[str, list[str]] = {}
    for record in answer:
        if record["status"] != "ok":
            where = str(record["platform"])
            failures.setdefault(str(record["error"]["message"]), []).append(where)
    return dataclasses.replace(
        trial,
        runs=runs,
        problems=tuple(_failure(said, places, bool(runs)) for said, places in failures.items()),
        failed=sum(record["status"] == "failed" for record in answer),
    )


def _failure(said: str, places: Sequence[str], some: bool) -> str:
    """Return why runs failed, and where, if they did not fail everywhere."""
    return f"on {', '.join(dict.fromkeys(places))}: {said}" if some else said


def all_mitigations(
    request: RunRequest, backends: Sequence[str], plain: Sequence[Trial] = ()
) -> list[Mitigation]:
    """Return every mitigation that the entry points name, for what was seen of the platforms."""
    seen = [run.row["hardware"] for trial in plain for run in trial.runs]
    formats = frozenset(find_model(request.model).files)
    return registry.mitigations(
        MitigationContext(
            tuple(backends), request.platforms, _shared_flags(seen), request.threads, formats
        )
    )


def _shared_flags(hardware: Sequence[Record]) -> frozenset[str]:
    """Return the flags that all processors have; those of ARM share none with x86's."""
    flags = [frozenset(map(str, each.get("flags") or ())) for each in hardware]
    return frozenset.intersection(*flags) if flags else frozenset()
