"""Bounds of sums of products, in any order, with or without fused multiply-add."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from .bound import SUM, Bound, Layer, Rule


def usual_size(terms: float) -> float:
    """Return the roundings of the magnitudes' sum that sums of so many terms err by as a rule.

    >>> usual_size(49)
    9.0
    """
    return math.sqrt(terms) + 2


def sum_bound(layer: Layer, terms: int, more: int = 0, factor: float = 1.0) -> Bound:
    """Bound a sum of products by the same sum of magnitudes; `more` roundings follow it."""
    if layer.magnitude is None:
        raise LookupError("the sum of its terms' magnitudes is not known")
    return Bound(
        scale=layer.magnitude,
        limit=terms + more,
        usual=usual_size(terms),
        terms=terms,
        underflows=(terms + 1) * max(1.0, factor),
        condition=2 * layer.magnitude,
    )


def _weights(layer: Layer) -> float:
    """Return the largest of the weights: what a flushed input may be multiplied by."""
    values = layer.inputs[1] if len(layer.inputs) > 1 else None
    return float(np.abs(values).max(initial=1.0)) if values is not None else 1e3


def _given(layer: Layer, place: int) -> int:
    return int(layer.has(place))


def conv(layer: Layer) -> Bound:
    """Add up input channels of a group times window, then the bias."""
    weights = layer.shapes[1] or ()
    return sum_bound(layer, math.prod(weights[1:]), _given(layer, 2), _weights(layer))


def conv_transpose(layer: Layer) -> Bound:
    """Add up at most the input channels of a group times window, then the bias."""
    weights = layer.shapes[1] or ()
    group = int(layer.attributes.get("group") or 1)
    terms = weights[0] // group * math.prod(weights[2:])
    return sum_bound(layer, terms, _given(layer, 2), _weights(layer))


def gemm(layer: Layer) -> Bound:
    """Add up the common axis, scale, and add what is given."""
    second = layer.shapes[1] or ()
    terms = second[1] if layer.attributes.get("transB") else second[0]
    scaled = sum(layer.attributes.get(key, 1) != 1 for key in ("alpha", "beta"))
    return sum_bound(layer, int(terms), _given(layer, 2) + scaled, _weights(layer))


def matmul(layer: Layer) -> Bound:
    """Add up the common axis."""
    second = layer.shapes[1] or layer.shapes[0] or (1,)
    return sum_bound(layer, int(second[-2:][0]), 0, _weights(layer))


def einsum(layer: Layer) -> Bound:
    """Add up the axes that the result lacks; each operand but one is a factor more."""
    left, arrow, right = str(layer.attributes["equation"]).replace(" ", "").partition("->")
    if not arrow or "." in left:
        raise LookupError("its equation is not spelt out")
    extents: dict[str, int] = {}
    for term, shape in zip(left.split(","), layer.shapes, strict=True):
        extents.update(zip(term, shape or (), strict=True))
    terms = math.prod(size for axis, size in extents.items() if axis not in right)
    return sum_bound(layer, terms, len(layer.shapes) - 1)


def average_pool(layer: Layer) -> Bound:
    """Add up a window, then divide."""
    return sum_bound(layer, math.prod(layer.attributes["kernel_shape"]), 1)


def global_average_pool(layer: Layer) -> Bound:
    """Add up a plane, then divide."""
    return sum_bound(layer, math.prod((layer.shapes[0] or ())[2:]), 1)


def reduced(layer: Layer) -> int:
    """Return how many elements a reduction makes one of."""
    return max(1, math.prod(layer.shapes[0] or ()) // max(1, math.prod(layer.shape)))


def reduce_sum(layer: Layer) -> Bound:
    """Add up axes; a mean divides."""
    return sum_bound(layer, reduced(layer), int(layer.operator == "ReduceMean"))


def reduce_positive(layer: Layer) -> Bound:
    """Add up squares, or multiply: every rounding is relative to the result."""
    terms = reduced(layer)
    halved = terms / 2 + 2 if layer.operator == "ReduceL2" else terms + 1
    size = np.abs(layer.truth)
    factors = terms if layer.operator == "ReduceProd" else 2
    return Bound(size, halved, usual_size(terms), terms, underflows=terms, condition=factors * size)


def cumulative(layer: Layer) -> Bound:
    """Add up at most the longest axis."""
    return sum_bound(layer, max(layer.shape, default=1))


def variadic(layer: Layer) -> Bound:
    """Add up the inputs; a mean divides."""
    terms = len(layer.shapes)
    return sum_bound(layer, terms, int(layer.operator == "Mean"))


RULES: Mapping[str, Rule] = {
    "Conv": Rule(conv, SUM, multiplies=True),
    "ConvTranspose": Rule(conv_transpose, SUM, multiplies=True),
    "Gemm": Rule(gemm, SUM, multiplies=True),
    "MatMul": Rule(matmul, SUM, multiplies=True),
    "Einsum": Rule(einsum, SUM, multiplies=True),
    "AveragePool": Rule(average_pool, SUM),
    "GlobalAveragePool": Rule(global_average_pool, SUM),
    "ReduceSum": Rule(reduce_sum, SUM),
    "ReduceMean": Rule(reduce_sum, SUM),
    "ReduceL1": Rule(reduce_sum, SUM),
    "ReduceSumSquare": Rule(reduce_positive),
    "ReduceL2": Rule(reduce_positive),
    "ReduceProd": Rule(reduce_positive),
    "CumSum": Rule(cumulative, SUM),
    "Sum": Rule(variadic, SUM),
    "Mean": Rule(variadic, SUM),
}
