"""Bounds of normalisations and of Softmax, composed from their steps (running error analysis)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from .bound import NOTHING, Array, Bound, Layer, Rule
from .elements import ESTIMATED, FUNCTION
from .sums import usual_size

STEPS = 6.0
"""Roundings of a root, its reciprocal, two products and two sums."""
MEAN_VARIANCE_FLOOR = 1e-9
"""What MeanVarianceNormalization adds to a standard deviation."""


def _per_channel(values: Array, rank: int) -> Array:
    return values.reshape((1, -1, *(1,) * (rank - 2)))


def batch_normalization(layer: Layer) -> Bound:
    """Bound (x - mean) a + b, or x a + (b - mean a), with a = scale / sqrt(variance + epsilon)."""
    if layer.attributes.get("training_mode"):
        raise LookupError("it computes statistics of the batch")
    x = layer.input(0)
    scale, shift, mean, variance = (_per_channel(layer.input(n), x.ndim) for n in range(1, 5))
    signed = scale / np.sqrt(variance + float(layer.attributes["epsilon"]))
    exact, factor = signed * (x - mean) + shift, np.abs(signed)
    size = factor * (np.abs(x) + np.abs(mean)) + np.abs(shift)
    flushed = 4 * max(1.0, float(factor.max(initial=1.0)))
    return Bound(
        size, STEPS + 2, 3.0, underflows=flushed, condition=factor * np.abs(x), exact=exact
    )


def _statistics(layer: Layer, x: Array, axes: Sequence[int], epsilon: float) -> Bound:
    """Bound d / sqrt(mean(d^2) + epsilon) with d = x - mean(x), before scale and shift.

    The rigorous part allows the variance in one pass, E[x^2] - E[x]^2, which cancels; the usual
    size is that of two passes.
    """
    terms = math.prod(x.shape[axis] for axis in axes)
    pair = tuple(axes)
    centred = layer.operator != "RMSNormalization"
    mean = np.mean(x, pair, keepdims=True) if centred else np.zeros((1,) * x.ndim)
    size = np.mean(np.abs(x), pair, keepdims=True)
    spread = np.abs(x - mean)
    variance = np.mean(spread * spread, pair, keepdims=True)
    share = 1 / (variance + epsilon)
    squares = np.mean(x * x, pair, keepdims=True)
    one_pass = (terms + 4) * (squares + mean * mean) * share / 2
    two = usual_size(terms)
    limit = (terms + 2) * size + spread * (one_pass + STEPS)
    usual = two * size + spread * (two * variance * share / 2 + STEPS)
    scale = np.maximum(spread + size, np.finfo(np.float64).tiny)
    return Bound(scale * np.sqrt(share), limit / scale, usual / scale, terms)


def _scaled(layer: Layer, inner: Bound, scale: Array, shift: Array | float) -> Bound:
    """Bound what is scaled and shifted afterwards."""
    size = np.abs(scale) * inner.scale + np.abs(shift)
    size = np.maximum(size, np.finfo(np.float64).tiny)
    share = np.abs(scale) * inner.scale / size
    return Bound(
        scale=size,
        limit=share * inner.limit + 3,
        usual=share * inner.usual + 3,
        terms=inner.terms,
        underflows=4.0 * inner.terms * max(1.0, float(np.abs(scale).max(initial=1.0))),
    )


def layer_normalization(layer: Layer) -> Bound:
    """Normalise over the last axes; what is given beside are the mean and the reciprocal root."""
    x = layer.input(0)
    axis = int(layer.attributes.get("axis", -1)) % x.ndim
    epsilon = float(layer.attributes.get("epsilon", 1e-5))
    if layer.output:
        return _beside(layer, x, tuple(range(axis, x.ndim)))
    inner = _statistics(layer, x, range(axis, x.ndim), epsilon)
    shift = layer.input(2) if layer.has(2) else 0.0
    return _scaled(layer, inner, layer.input(1), shift)


def _beside(layer: Layer, x: Array, axes: tuple[int, ...]) -> Bound:
    """Bound the mean, or 1 / sqrt(variance + epsilon) with the variance in one pass or two."""
    terms = math.prod(x.shape[axis] for axis in axes)
    if layer.output == 1:
        size = np.mean(np.abs(x), axes, keepdims=True)
        return Bound(size, terms + 1, usual_size(terms), terms, underflows=terms)
    squares = np.mean(x * x, axes, keepdims=True)
    mean = np.mean(x, axes, keepdims=True)
    relative = (terms + 4) * (squares + mean * mean) / 2 * layer.truth * layer.truth
    limit = relative + STEPS
    return Bound(np.abs(layer.truth), limit, usual_size(terms) + STEPS, terms, underflows=terms)


def instance_normalization(layer: Layer) -> Bound:
    """Normalise each plane."""
    x = layer.input(0)
    epsilon = float(layer.attributes.get("epsilon", 1e-5))
    inner = _statistics(layer, x, range(2, x.ndim), epsilon)
    scale, shift = (_per_channel(layer.input(n), x.ndim) for n in (1, 2))
    return _scaled(layer, inner, scale, shift)


def group_normalization(layer: Layer) -> Bound:
    """Normalise the planes of some channels together."""
    x = layer.input(0)
    groups = int(layer.attributes["num_groups"])
    split = x.reshape((x.shape[0], groups, -1))
    inner = _statistics(layer, split, [2], float(layer.attributes.get("epsilon", 1e-5)))
    whole = Bound(
        inner.scale.reshape(x.shape),  # type: ignore[union-attr]  # an array here
        inner.limit.reshape(x.shape),  # type: ignore[union-attr]  # likewise
        inner.usual.reshape(x.shape),  # type: ignore[union-attr]  # likewise
        inner.terms,
    )
    scale, shift = layer.input(1), layer.input(2)
    if scale.size != x.shape[1]:
        scale, shift = (np.repeat(each, x.shape[1] // groups) for each in (scale, shift))
    return _scaled(layer, whole, _per_channel(scale, x.ndim), _per_channel(shift, x.ndim))


def local_response(layer: Layer) -> Bound:
    """Bound x / (bias + alpha / size * sum of squares)^beta."""
    x, truth = layer.input(0), layer.truth
    size, beta = int(layer.attributes["size"]), float(layer.attributes.get("beta", 0.75))
    with np.errstate(divide="ignore", invalid="ignore"):
        power = np.where(truth != 0, np.abs(x / np.where(truth != 0, truth, 1.0)), 1.0)
        turns = np.abs(np.log(np.maximum(power, 1e-300)))
    return Bound(
        np.abs(truth), beta * (size + 4) + 3 * turns + FUNCTION + 2, FUNCTION / 2 + turns, size
    )


def _axes(layer: Layer) -> tuple[int, ...]:
    rank = len(layer.shape)
    default = 1 if layer.attributes.get("coerce_2d") else -1
    axis = int(layer.attributes.get("axis", default)) % max(rank, 1)
    return tuple(range(axis, rank)) if layer.attributes.get("coerce_2d") else (axis,)


def _exponents(layer: Layer) -> tuple[Array, Array, int]:
    """Return how far each element is below the largest, the mean such distance, and the terms."""
    x, axes = layer.input(0), _axes(layer)
    with np.errstate(invalid="ignore", over="ignore"):
        below = np.nan_to_num(x.max(axes, keepdims=True) - x, nan=0.0, posinf=0.0)
        weights = np.exp(-below)
        mean = (weights * below).sum(axes, keepdims=True) / weights.sum(axes, keepdims=True)
    return below, mean, math.prod(x.shape[axis] for axis in axes)


def softmax(layer: Layer) -> Bound:
    """Compose exp(x - max) / sum: difference, function, sum and quotient."""
    below, mean, terms = _exponents(layer)
    limit = below + mean + 2 * FUNCTION + terms + 2
    usual = below + FUNCTION + usual_size(terms)
    size, reach = np.abs(layer.truth), np.abs(layer.input(0)).max(_axes(layer), keepdims=True)
    condition = size * 2 * reach
    return Bound(size, limit, usual, terms, underflows=terms, condition=condition)


def log_softmax(layer: Layer) -> Bound:
    """Compose x - max - log(sum), whose sum errs relative to itself."""
    below, mean, terms = _exponents(layer)
    size = below + np.abs(layer.truth) + 1.0
    return Bound(size, mean + 2 * FUNCTION + terms + 3, FUNCTION + usual_size(terms), terms)


def log_sum_exp(layer: Layer) -> Bound:
    """Compose max + log(sum of exp(x - max))."""
    x = layer.input(0)
    terms = max(1, x.size // max(1, math.prod(layer.shape)))
    size = np.abs(layer.truth) + float(np.abs(x).max(initial=0.0)) + 1.0
    return Bound(size, 2 * FUNCTION + terms + 3, FUNCTION + usual_size(terms), terms)


def log_sum(layer: Layer) -> Bound:
    """Compose log(sum of x): the sum errs relative to its magnitudes, the logarithm near 0."""
    x = np.abs(layer.input(0))
    terms = max(1, x.size // max(1, math.prod(layer.shape)))
    with np.errstate(over="ignore"):
        share = terms * float(x.max(initial=0.0)) / np.exp(layer.truth)
    size = np.abs(layer.truth) + 0.5 + np.where(bool((layer.input(0) < 0).any()), share, 1.0)
    return Bound(size, FUNCTION + terms, FUNCTION + usual_size(terms), terms)


def lp_normalization(layer: Layer) -> Bound:
    """Divide by the sum of magnitudes, or by the root of the sum of squares: all are positive."""
    x, axis = layer.input(0), int(layer.attributes.get("axis", -1))
    whole = int(layer.attributes.get("p", 2)) == 1
    sums = (np.abs(x) if whole else x * x).sum(axis, keepdims=True)
    norm = sums if whole else np.sqrt(sums)
    exact = np.where(norm == 0, 0.0, x / np.where(norm == 0, 1.0, norm))
    if layer.recorded is not None:  # 0 / 0 is not defined
        exact = np.where(norm == 0, layer.recorded, exact)
    terms = x.shape[axis]
    limit = (terms if whole else terms / 2 + ESTIMATED) + ESTIMATED + 1
    return Bound(np.abs(exact), limit, usual_size(terms) + 3, terms, exact=exact)


def mean_variance(layer: Layer) -> Bound:
    """Bound (x - mean) / (standard deviation + 1e-9), the variance in one pass or two."""
    x = layer.input(0)
    axes = tuple(int(axis) % x.ndim for axis in layer.attributes.get("axes") or (0, 2, 3))
    apart = x - x.mean(axes, keepdims=True)
    root = np.sqrt((apart * apart).mean(axes, keepdims=True))
    inner = _statistics(layer, x, axes, MEAN_VARIANCE_FLOOR**2)
    exact = apart / (root + MEAN_VARIANCE_FLOOR)
    return replace(inner, limit=inner.limit + 2, exact=exact)


RULES: Mapping[str, Rule] = {
    "BatchNormalization": Rule(batch_normalization, NOTHING, reads=True),
    "LayerNormalization": Rule(layer_normalization, reads=True),
    "RMSNormalization": Rule(layer_normalization, reads=True),
    "InstanceNormalization": Rule(instance_normalization, reads=True),
    "GroupNormalization": Rule(group_normalization, reads=True),
    "LRN": Rule(local_response, reads=True),
    "Softmax": Rule(softmax, reads=True),
    "LogSoftmax": Rule(log_softmax, reads=True),
    "ReduceLogSumExp": Rule(log_sum_exp, reads=True),
    "ReduceLogSum": Rule(log_sum, reads=True),
    "LpNormalization": Rule(lp_normalization, NOTHING, reads=True),
    "MeanVarianceNormalization": Rule(mean_variance, NOTHING, reads=True),
}
