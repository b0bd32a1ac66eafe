"""The report for programs: one JSON object, schema_version 1."""

from __future__ import annotations

import json

from xbackend.comparison import Comparison
from xbackend.summary import summaries


def render(comparison: Comparison) -> str:
    """Write the comparison's document, with `sections` that sum it up. No NaN, no infinity.

    `accuracy` and `isolations` are there if they were asked for.
    """
    parts = {
        "accuracy": [each.document() for each in comparison.accuracy],
        "isolations": [each.document() for each in comparison.isolations],
    }
    document = {
        **comparison.document(),
        "sections": [summary.document() for summary in summaries(comparison)],
        **{key: of for key, of in parts.items() if of},
    }
    return json.dumps(document, indent=1, allow_nan=False)
