"""What computes nothing: operators that move, choose or compare, whose values must be the same."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from .bound import COPY, DOUBLE, NOTHING, Array, Bound, Layer, Rule
from .sums import usual_size

NAMES = """
    Slice Split Concat Gather GatherElements
    GatherND ScatterElements ScatterND Expand Tile Pad DepthToSpace SpaceToDepth Where Neg Abs
    Max Min
    MaxPool GlobalMaxPool ReduceMax ReduceMin Clip Equal Greater Less GreaterOrEqual
    LessOrEqual Not And Or Xor Sign Floor Ceil Round IsNaN IsInf Compress Trilu Constant
    ConstantOfShape Shape Size Range OneHot NonZero EyeLike ReverseSequence BitShift
    CenterCropPad Scatter
"""
RESHAPING = "Identity Reshape Flatten Squeeze Unsqueeze"
PROBABILITY_MASK = 1
"""The output of Dropout that tells what it kept."""


def moved(layer: Layer) -> Bound:
    """Allow no other value."""
    if layer.operator == "MaxPool" and layer.output:
        raise LookupError("which of equal elements a pooling names is not defined")
    return Bound(1.0, 0.0, 0.0, terms=0, underflows=0.0, moves=True, rounds_once=True)


def reshaped(layer: Layer) -> Bound:
    """Pass on what is read, in another shape or order of axes, or without what is negative."""
    x = layer.input(0)
    if layer.operator == "Transpose":
        exact = x.transpose(layer.attributes.get("perm") or range(x.ndim)[::-1])
    elif layer.operator == "Relu":
        exact = np.maximum(x, 0)
    else:
        exact = x.reshape(layer.shape)
    return Bound(1.0, 0.0, 0.0, terms=0, underflows=0.0, exact=exact, moves=True, rounds_once=True)


def dropout(layer: Layer) -> Bound:
    """Pass on what is read, as in inference."""
    if layer.output == PROBABILITY_MASK:
        raise LookupError("the mask of Dropout is not defined in inference")
    if layer.has(2) and bool(layer.input(2).any()):
        raise LookupError("it drops elements at random")
    return Bound(1.0, 0.0, 0.0, 0, underflows=0.0, exact=layer.input(0), moves=True)


def extreme_index(layer: Layer) -> Bound:
    """Ask whether the element that an index names equals the largest or smallest."""
    x, found = layer.input(0), layer.recorded
    assert found is not None
    axis = int(layer.attributes.get("axis", 0)) % x.ndim
    kept = bool(layer.attributes.get("keepdims", 1))
    places = found.astype(np.int64) if kept else np.expand_dims(found.astype(np.int64), axis)
    inside = (places >= 0) & (places < x.shape[axis])
    named = np.take_along_axis(x, np.where(inside, places, 0), axis)
    best = (x.max if layer.operator == "ArgMax" else x.min)(axis=axis, keepdims=True)
    right = inside & ((named == best) | np.isnan(best))
    truth = np.where(
        right,
        places,
        (x.argmax if layer.operator == "ArgMax" else x.argmin)(axis=axis, keepdims=True),
    )
    return _whole(truth if kept else np.squeeze(truth, axis))


def _whole(truth: Array) -> Bound:
    return Bound(1.0, 0.0, 0.0, 0, underflows=0.0, exact=truth.astype(np.float64), moves=True)


def top(layer: Layer) -> Bound:
    """Compare the values of TopK; its indices by the values that they name."""
    x, found = layer.input(0), layer.recorded
    assert found is not None
    axis = int(layer.attributes.get("axis", -1)) % x.ndim
    count = found.shape[axis]
    ordered = np.sort(x, axis=axis)
    if int(layer.attributes.get("largest", 1)):
        ordered = np.flip(ordered, axis)
    best = np.take(ordered, range(count), axis=axis)
    if not int(layer.attributes.get("sorted", 1)):
        raise LookupError("the order of its results is not defined")
    if not layer.output:
        return _whole(best)
    named = np.take_along_axis(x, np.clip(found.astype(np.int64), 0, x.shape[axis] - 1), axis)
    return _whole(np.where(named == best, found, -1))


def cast(layer: Layer) -> Bound:
    """Round once to the other format; what an integer cannot hold is not defined."""
    x = layer.input(0)
    dtype = layer.dtype
    if np.issubdtype(np.dtype(dtype if dtype != "bfloat16" else "float32"), np.floating):
        return Bound(1.0, 0.0, 0.0, 0, exact=x.astype(np.float64), moves=True, rounds_once=True)
    if dtype == "bool":
        return _whole(x != 0)
    if x.dtype.kind != "f":  # the lowest bits are kept
        return replace(_whole(x), exact=x.astype(dtype))
    limits = np.iinfo(dtype)
    whole = np.trunc(x)
    assert layer.recorded is not None
    with np.errstate(invalid="ignore"):
        defined = (whole >= float(limits.min)) & (whole < float(limits.max) + 1)
        exact = np.where(defined, whole.astype(dtype), layer.recorded)
    left = int(defined.size - np.count_nonzero(defined))
    return replace(_whole(whole), exact=exact, undefined=left)


def hardmax(layer: Layer) -> Bound:
    """Ask for 1 at the first of the greatest, and 0 elsewhere."""
    x = layer.input(0)
    whole = bool(layer.attributes.get("coerce_2d"))
    axis = int(layer.attributes.get("axis", 1 if whole else -1)) % max(x.ndim, 1)
    rows = x.reshape((math.prod(x.shape[:axis]), -1)) if whole else np.moveaxis(x, axis, -1)
    chosen = rows.argmax(-1)[..., None] == np.arange(rows.shape[-1])
    return _whole(chosen.reshape(x.shape) if whole else np.moveaxis(chosen, -1, axis))


def resize(layer: Layer) -> Bound:
    """Move the nearest element, or weigh neighbours by coordinates that are rounded themselves."""
    if str(layer.attributes.get("mode", "nearest")) == "nearest":
        return Bound(1.0, 0.0, 0.0, 0, underflows=0.0, moves=True)
    x = layer.input(0)
    cubic = str(layer.attributes.get("mode")) == "cubic"
    extents = [size for size, out in zip(x.shape, layer.shape, strict=True) if size != out]
    taps = (4 if cubic else 2) ** len(extents)
    peak = np.full(1, np.abs(x).max(initial=0.0))
    steps = 4.0 * sum(extents) + 4 * taps
    return Bound(peak, steps, 2 * usual_size(sum(extents)), taps)


def bitwise(layer: Layer) -> Bound:
    """Combine the bits of integers."""
    operands = [layer.input(place) for place in range(len(layer.shapes))]
    return _whole(np.asarray(BITWISE[layer.operator](*operands)))


def grid_sample(layer: Layer) -> Bound:
    """Weigh neighbours by coordinates of a grid, which are scaled and rounded."""
    if str(layer.attributes.get("mode", "linear")) == "nearest":
        raise LookupError("where its coordinates round decides which element it takes")
    x, reach = layer.input(0), 1 + float(np.abs(layer.input(1)).max(initial=0.0))
    cubic = "cubic" in str(layer.attributes.get("mode", "linear"))
    taps = (4 if cubic else 2) ** (x.ndim - 2)
    extents = sum(x.shape[2:])
    peak = np.full(1, np.abs(x).max(initial=0.0))
    return Bound(peak, 4.0 * reach * extents + 4 * taps, 2 * usual_size(extents), taps)


BITWISE: Mapping[str, Callable[..., Any]] = {
    "BitwiseAnd": np.bitwise_and, "BitwiseOr": np.bitwise_or,
    "BitwiseXor": np.bitwise_xor, "BitwiseNot": np.invert,
}  # fmt: skip
RULES: Mapping[str, Rule] = {
    **{name: Rule(bitwise, NOTHING, reads=True) for name in BITWISE},
    "GridSample": Rule(grid_sample, DOUBLE, reads=True),
    **{name: Rule(moved, COPY) for name in NAMES.split()},
    **{name: Rule(reshaped, NOTHING, reads=True) for name in RESHAPING.split()},
    "Transpose": Rule(reshaped, NOTHING, reads=True),
    "Relu": Rule(reshaped, NOTHING, reads=True),
    "Dropout": Rule(dropout, NOTHING, reads=True),
    "ArgMax": Rule(extreme_index, NOTHING, reads=True),
    "ArgMin": Rule(extreme_index, NOTHING, reads=True),
    "Hardmax": Rule(hardmax, NOTHING, reads=True),
    "TopK": Rule(top, NOTHING, reads=True),
    "Cast": Rule(cast, NOTHING, reads=True),
    "CastLike": Rule(cast, NOTHING, reads=True),
    "Resize": Rule(resize, DOUBLE, reads=True),
}
