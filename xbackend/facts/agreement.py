"""How far apart the classes of outputs are by norm, which no single element near zero decides."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from xbackend.comparison.comparison import SampleComparison
from xbackend.comparison.measurement import Measurer
from xbackend.comparison.summary import Summary
from xbackend.facts.pairs import class_pairs
from xbackend.numerics.floats import FORMATS
from xbackend.numerics.pair_metrics import PairMetrics, WorstElement
from xbackend.store.store import Store


@dataclass(frozen=True)
class OutputAgreement:
    """The two classes of an output that are furthest apart by norm."""

    tap: str
    input: str
    """Name of the sample."""
    runs: tuple[str, str]
    """Ids of a run of each."""
    bits: float | None
    """-log2 of the norm of the difference over that of the first; None where NaN or infinity
    stands on a side, or where norms tell nothing."""
    worst: WorstElement | None
    """The element that is furthest apart absolutely."""

    def to_dict(self) -> Mapping[str, Any]:
        """Return the entry `agreement` of a section in the JSON report."""
        return asdict(self)


def output_agreement(summary: Summary, store: Store) -> OutputAgreement | None:
    """Return the classes of float outputs that are furthest apart; None where none differ.

    Reads outputs from the store. Raises StoreError for a damaged one.
    """
    measurer = Measurer(store)
    found = [each for sample in summary.samples for each in _agreements(sample, measurer)]
    return min(found, key=lambda each: -math.inf if each.bits is None else each.bits, default=None)


def _agreements(sample: SampleComparison, measurer: Measurer) -> Iterator[OutputAgreement]:
    floats = [output for output in sample.outputs if output.dtype in FORMATS]
    for pair in class_pairs(sample, floats, measurer):
        if pair.metrics is not None and pair.metrics.worst_abs:
            bits, worst = bits_by_norm(pair.metrics), pair.metrics.worst_abs[0]
            yield OutputAgreement(pair.tap, sample.input, pair.runs, bits, worst)


def bits_by_norm(found: PairMetrics) -> float | None:
    """Return the bits to which tensors agree by norm; None where nothing can be said."""
    if found.not_finite or not found.relative:
        return None
    return max(0.0, -math.log2(found.relative))
