"""What a page says of the runs that it was made from, so that it can be held against a store."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from xbackend.comparison.comparison import Comparison
from xbackend.store.query import value_of
from xbackend.store.records import Run
from xbackend.worker.version import VERSION

Record = dict[str, Any]
USUAL_KEYS = ("model_digest", "precision", "conversion", "quantizer")
"""Keys that every cohort may have, whatever runs were grouped by."""


def seal(comparison: Comparison) -> Record:
    """Return what `xbackend verify` reads: runs with their digests, how they were chosen.

    `computed` names what running models again has added, which a store alone cannot repeat.
    """
    keys = {key for each in comparison.samples for key in each.cohort.group}
    computed = {
        "certificates": comparison.certificates,
        "isolations": comparison.isolations,
        "accuracy": comparison.reference_comparisons,
        "mitigations": comparison.mitigations,
    }
    return {
        "xbackend": VERSION,
        "runs": {run.id: digest_of(run) for run in comparison.runs},
        "where": list(comparison.filters),
        "group_by": sorted(key for key in keys.difference(USUAL_KEYS) if _is_told(key, comparison)),
        "pairs": len(comparison.pairs),
        "computed": [name for name, of in computed.items() if of],
    }


def _is_told(key: str, comparison: Comparison) -> bool:
    """Tell whether runs have a key, so that somebody may have asked to group them by it."""
    return any(value_of(run, key) is not None for run in comparison.runs)


def digest_of(run: Run) -> str:
    """Return a digest of all that a comparison reads of a run."""
    results = [dict(each) for each in run.results]
    text = json.dumps([run.row, list(run.layers), results], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
