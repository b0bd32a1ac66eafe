"""Who is nearest to float64, and where runs lose accuracy or leave the numbers altogether."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from xbackend.comparison.findings import ReferenceComparison, ReferenceComparisonRow


@dataclass(frozen=True)
class LayerLoss:
    """A layer that costs a run accuracy."""

    tap: str
    layer: int
    operator: str
    bits: float | None
    """Bits by norm; None where nothing is left, as NaN or infinity stands against a number."""


@dataclass(frozen=True)
class AccuracyFacts:
    """One row of a comparison with float64."""

    row: ReferenceComparisonRow
    overflows: tuple[LayerLoss, ...]
    """Layers that make NaN or infinity where float64 has none, or the reverse, of inputs without;
    in graph order."""
    lost: LayerLoss | None
    """Of the others that which costs most; None where none costs anything."""
    overtaken: bool
    """Whether accuracy is lost by an overflow, so that `lost` is not the most."""


def accuracy_facts(found: ReferenceComparison) -> tuple[AccuracyFacts, ...]:
    """Return the facts of each row, the nearest first."""
    return tuple(map(_facts, found.rows))


def _facts(row: ReferenceComparisonRow) -> AccuracyFacts:
    layers = {str(layer["tap"]): layer for layer in row.first.layers}
    over = tuple(_loss(layer, None) for layer in row.first.layers if _overflows(layer, row, layers))
    largest = next(((tap, bits) for tap, bits in row.lost if bits > 0 and tap in layers), None)
    return AccuracyFacts(
        row=row,
        overflows=over,
        lost=None if largest is None else _loss(layers[largest[0]], largest[1]),
        overtaken=bool(over),
    )


def _loss(layer: Mapping[str, Any], bits: float | None) -> LayerLoss:
    return LayerLoss(str(layer["tap"]), int(layer["layer"]), str(layer["operator"]), bits)


def _overflows(
    layer: Mapping[str, Any], row: ReferenceComparisonRow, layers: Mapping[str, Any]
) -> bool:
    """Tell whether a layer's error is not finite while that of all that it reads is.

    A layer of which an input was not recorded, or whose edges are not known, is not blamed.
    """
    mine, reads = row.taps.get(str(layer["tap"])), layer.get("inputs")
    if mine is None or mine.max_abs is not None or reads is None:
        return False
    computed = [str(name) for name in reads if str(name) in layers]
    return all(
        (one := row.taps.get(name)) is not None and one.max_abs is not None for name in computed
    )
