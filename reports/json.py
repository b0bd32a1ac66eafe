"""The report for programs: one JSON object, schema_version 1."""

from __future__ import annotations

import json
from typing import Any

from xbackend.comparison.activations import activation_totals, activations
from xbackend.comparison.comparison import Comparison
from xbackend.comparison.export import export_judgements
from xbackend.comparison.summary import Summary, summaries
from xbackend.facts.agreement import output_agreement
from xbackend.facts.answer.tolerance import tolerance
from xbackend.facts.certified import cohort_certified
from xbackend.facts.label_accuracy import label_accuracies


def render(comparison: Comparison) -> str:
    """Write the comparison's document. No NaN, no infinity."""
    return json.dumps(document(comparison), indent=1, allow_nan=False)


def document(comparison: Comparison) -> dict[str, Any]:
    """Return the comparison's document, and more that sums it up.

    `sections`, and what activations do: `activations` and `activation_totals`; `accuracy`,
    `isolations`, `pairs` and `certificates` are there if they were asked for.
    """
    passages = activations(comparison)
    about = {
        key: {
            "group": samples[0].cohort.group,
            "model": samples[0].cohort.model,
            "inputs_digest": samples[0].cohort.inputs_digest,
        }
        for key, samples in comparison.sections.items()
    }
    parts = {
        "accuracy": [each.to_dict() for each in comparison.reference_comparisons],
        "exports": [each.to_dict() for each in export_judgements(comparison)],
        "isolations": [each.to_dict() for each in comparison.isolations],
        "pairs": [{**about[pair.cohort], **pair.to_dict()} for pair in comparison.pairs],
        "certificates": [each.to_dict() for each in comparison.certificates],
        "mitigations": list(comparison.mitigations),
    }
    return {
        **comparison.to_dict(),
        "sections": [_section(summary, comparison) for summary in summaries(comparison)],
        "activations": [passage.to_dict() for passage in passages],
        "activation_totals": [total.to_dict() for total in activation_totals(passages)],
        **{key: of for key, of in parts.items() if of},
    }


def _section(summary: Summary, comparison: Comparison) -> dict[str, Any]:
    """Return what sums up a section.

    `rounding`, `agreement`, `label_accuracy` and `tolerance` are there where they are known.
    """
    certified = cohort_certified(comparison, summary.cohort)
    agreement = output_agreement(summary, comparison.store)
    right = [each.to_dict() for each in label_accuracies(summary, comparison.store)]
    holds = tolerance(summary, comparison.store)
    return {
        **summary.to_dict(),
        **({} if certified is None else {"rounding": certified.to_dict()}),
        **({} if agreement is None else {"agreement": agreement.to_dict()}),
        **({"label_accuracy": right} if right else {}),
        **({} if holds is None else {"tolerance": holds.to_dict()}),
    }
