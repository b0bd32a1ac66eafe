"""The report for programs: one JSON object, schema_version 1."""

from __future__ import annotations

import json

from xbackend.comparison.activations import activation_totals, activations
from xbackend.comparison.comparison import Comparison
from xbackend.comparison.export import export_judgements
from xbackend.comparison.summary import summaries


def render(comparison: Comparison) -> str:
    """Write the comparison's document, and more that sums it up. No NaN, no infinity.

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
    }
    document = {
        **comparison.to_dict(),
        "sections": [summary.to_dict() for summary in summaries(comparison)],
        "activations": [passage.to_dict() for passage in passages],
        "activation_totals": [total.to_dict() for total in activation_totals(passages)],
        **{key: of for key, of in parts.items() if of},
    }
    return json.dumps(document, indent=1, allow_nan=False)
