"""Lays out what was switched on an emulated processor, and which of it changes the bits."""

from __future__ import annotations

from xbackend.attribution.ablation import AblationOutcome, AblationResult

from ..wording.fleet import judged_by_layers_text
from ..wording.switches import ablation_text, place_text, switched


def render(result: AblationResult, backend: str, start: str) -> str:
    """Return a table of what was switched, and a sentence that names the causes."""
    from tabulate import tabulate

    rows = [
        [switched(trial.switches), trial.outcome.status, _detail(trial.outcome)]
        for trial in result.trials
    ]
    headers = [f"{backend} on {start}", "bits", "first at, or why not"]
    table = tabulate(rows, headers, maxcolwidths=[44, None, 64])
    notes = [judged_by_layers_text(result.emulated)] if result.emulated else []
    if not all(trial.outcome.neutral for trial in result.trials):
        table += "\n* recording the layers changed the bits of the outputs, so theirs tell nothing"
    return "\n".join([*notes, table, "", ablation_text(backend, start, result), ""])


def _detail(outcome: AblationOutcome) -> str:
    place = place_text(outcome)
    return "; ".join([*([place] if place else []), *outcome.differences]) or outcome.reason
