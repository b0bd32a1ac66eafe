"""The report for programs: one JSON object, schema_version 1."""

from __future__ import annotations

import json

from xbackend.comparison import Comparison
from xbackend.summary import summaries


def render(comparison: Comparison) -> str:
    """Write the comparison's document, with `sections` that sum it up. No NaN, no infinity."""
    sections = [summary.document() for summary in summaries(comparison)]
    document = {**comparison.document(), "sections": sections}
    return json.dumps(document, indent=1, allow_nan=False)
