"""Tries what may remove a deviation, measures what it did and costs: from a request to rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xbackend.comparison.measurement import Measurer
from xbackend.errors import UsageError
from xbackend.execution.execute import ExecutionContext
from xbackend.execution.request import RunRequest
from xbackend.mitigation.results import Evaluator, MitigationResult, evaluate_trials
from xbackend.mitigation.search import SearchResult, find_smallest_sets
from xbackend.mitigation.trials import (
    Trial,
    all_mitigations,
    run_float64_reference,
    run_mitigations,
    run_trials,
    select_mitigations,
)
from xbackend.plugins import registry
from xbackend.plugins.mitigation import Mitigation

Record = dict[str, Any]


@dataclass(frozen=True)
class MitigationReport:
    """What every mitigation did to a model's runs."""

    request: RunRequest
    """The model as it is."""
    trials: tuple[Trial, ...]
    """The runs of each backend, as it is and with each mitigation."""
    rows: tuple[MitigationResult, ...]
    """What each mitigation did, those that leave the fewest classes first."""
    sets: tuple[SearchResult, ...]
    """The smallest sets that give one class, if they were searched for."""

    @property
    def advice(self) -> str:
        """What to do, in a sentence."""
        return registry.renderer("mitigation-advice")(self.rows, self.request.model)

    @property
    def failed(self) -> bool:
        """Whether a run of the model as it is failed."""
        return any(trial.failed for trial in self.trials if not trial.mitigation)

    @property
    def dishonoured(self) -> bool:
        """Whether a mitigation was accepted and not carried out."""
        return any(row.dishonoured for row in self.rows)

    def to_dict(self) -> Record:
        """Return JSON values: what `xbackend mitigate --json` prints."""
        return {
            "schema_version": 1,
            "model": self.request.model,
            "platforms": list(self.request.platforms),
            "rows": [row.to_dict() for row in self.rows],
            "search": [found.to_dict() for found in self.sets],
            "advice": self.advice,
        }

    def __str__(self) -> str:
        """Return the text for a terminal."""
        return registry.renderer("mitigations")(self)


def try_mitigations(
    request: RunRequest,
    wanted: Sequence[str],
    labels: Mapping[str, int],
    references: Sequence[str],
    search: bool,
    context: ExecutionContext,
) -> MitigationReport:
    """Run a model as it is and with each mitigation that is wanted, and measure what they did.

    `labels` are the right classes by the sample's name, `references` the backends that may compute
    the model in float64; with `search` the smallest sets are found, too.
    """
    backends = backends_of(request)
    trials = run_mitigations(request, backends, wanted, labels, context)
    reference = run_float64_reference(request, references, context)
    sets = _search_sets(request, trials, wanted, context) if search else []
    rows = evaluate_trials(trials, Evaluator.of(context.store, reference, labels))
    return MitigationReport(request, tuple(trials), tuple(rows), tuple(sets))


def known_mitigations(request: RunRequest) -> list[Mitigation]:
    """Return all mitigations that there are for a request."""
    return all_mitigations(request, backends_of(request))


def _search_sets(
    request: RunRequest, trials: Sequence[Trial], wanted: Sequence[str], context: ExecutionContext
) -> list[SearchResult]:
    """Search for the cheapest sets of the mitigations that are wanted."""
    plain = [trial for trial in trials if not trial.mitigation]
    backends = [trial.backend for trial in plain]
    known = select_mitigations(wanted, all_mitigations(request, backends, plain), backends)

    def run(several: Sequence[Trial]) -> list[Trial]:
        return run_trials(request, several, context)

    return find_smallest_sets(plain, known, run, Measurer(context.store))


def baseline_request(request: RunRequest, emulated_samples: int) -> RunRequest:
    """Return the request for the model as it is: outputs, and what vouches for emulated ones."""
    if emulated_samples < 0:
        raise UsageError(f"'--emulated-samples {emulated_samples}' must not be negative.")
    return dataclasses.replace(
        request,
        taps="outputs",
        emulated_samples=emulated_samples,
        faithful_taps_for=request.backends or tuple(registry.float_backends()),
    )


def backends_of(request: RunRequest) -> list[str]:
    """Return the words of the backends that run, checked."""
    return [registry.backend(word).word for word in request.backends or registry.float_backends()]
