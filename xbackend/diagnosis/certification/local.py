"""Right values of the commonest operators by NumPy, in this process: no worker, no files.

A convolution is a product of matrices, a block of output rows at a time, so that its memory does
not grow with the image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xbackend.diagnosis.certification.layers import GraphIndex, LayerSubject
from xbackend.numerics.bounds.arithmetic import roundoff
from xbackend.numerics.bounds.bound import COPY, DOUBLE, NOTHING, SUM
from xbackend.worker.geometry.sliding_window import Window, kernel_positions, window_of
from xbackend.worker.graph import Node

Array = np.ndarray[Any, Any]
Inputs = Sequence[Array | None]
BLOCK_BYTES = 1 << 22
"""What the windows of one block of output rows take."""
SAFE = 1e30
"""The most that magnitudes in float32 may reach before they are added up in float64."""
PLANE_AXES = 2
PAD_INPUTS = 3
"""Inputs of a Pad of all axes: the fourth names some."""


@dataclass(frozen=True)
class RightValues:
    """What a node gives in float64, and the same on absolute values where it is a sum."""

    exact: Array
    magnitude: Array | None = None


def is_local(subject: LayerSubject, index: GraphIndex) -> bool:
    """Tell whether a layer's right values are computed here.

    All that it reads must be recorded, and nothing be computed together with it.
    """
    node = index.graph.nodes[subject.node]
    known = (not n or n in index.recorded or n in index.graph.constants for n in node.inputs)
    usual = subject.rule.evaluation in (SUM, DOUBLE, COPY)
    if subject.fused or subject.output or node.domain or not usual or not all(known):
        return False
    return node.operator in OPERATORS and _is_plain(node, index)


def needs_worker(subject: LayerSubject, index: GraphIndex) -> bool:
    """Tell whether a layer's right values come from a backend."""
    return subject.rule.evaluation != NOTHING and not is_local(subject, index)


def _is_plain(node: Node, index: GraphIndex) -> bool:
    """Tell whether a node has none of the forms that only frameworks know here."""
    weights = index.graph.constants.get((*node.inputs, "", "")[1])
    if node.operator == "Conv":
        return weights is not None and len(weights.shape) == PLANE_AXES + 2
    if node.operator.startswith("Reduce"):
        return len(node.inputs) == 1 or weights is not None
    if node.operator == "Pad":
        mode = str(node.attributes.get("mode") or "constant")
        return weights is not None and len(node.inputs) <= PAD_INPUTS and mode == "constant"
    if node.operator == "Clip":
        return "min" not in node.attributes and "max" not in node.attributes
    return True


def right_values(node: Node, inputs: Inputs, weights: LocalWeights) -> RightValues:
    """Compute a node in float64 from inputs in float64."""
    return OPERATORS[node.operator](node, inputs, weights)


class LocalWeights:
    """What is made of a layer's weights once for all samples."""

    def __init__(self) -> None:
        self.held: dict[str, Array] = {}

    def get(self, key: str, make: Callable[[], Array]) -> Array:
        """Return what was made before, or make it."""
        if key not in self.held:
            self.held[key] = make()
        return self.held[key]


def _conv(node: Node, inputs: Inputs, weights: LocalWeights) -> RightValues:
    x, w = _two(inputs)
    group = int(node.attributes.get("group") or 1)
    window = window_of(node, x.shape[2:], w.shape[2:], ceil=False)
    padded = window.pad(x, 0.0)
    shape = (len(x), len(w), *window.extents)
    exact, size = np.empty(shape), np.empty(shape)
    flat = w.reshape(group, len(w) // group, -1)
    narrow = _is_safe(x, w)
    kind = np.float32 if narrow else np.float64
    sizes = weights.get(f"sizes {kind.__name__}", lambda: np.abs(flat).astype(kind))
    for n in range(len(x)):
        for g in range(group):
            own = slice(g * w.shape[1], (g + 1) * w.shape[1])
            made = slice(g * flat.shape[1], (g + 1) * flat.shape[1])
            for rows, cut in _columns(padded[n, own], window):
                exact[n, made, rows] = (flat[g] @ cut).reshape(flat.shape[1], -1, shape[3])
                small = cut.astype(kind)
                product = sizes[g] @ np.abs(small, out=small)
                size[n, made, rows] = product.reshape(flat.shape[1], -1, shape[3])
    if narrow:
        _outward(size, flat.shape[2])
    return _with_bias(exact, size, inputs, (1, -1, 1, 1))


def _columns(x: Array, window: Window) -> Sequence[tuple[slice, Array]]:
    """Yield blocks of output rows, and what each place in them sees as a column."""
    spans, rows, columns = window.spans, *window.extents
    cuts = np.lib.stride_tricks.sliding_window_view(x, spans, axis=(1, 2))  # type: ignore[call-overload]  # its stubs know no tuple of any length
    steps, gaps = window.strides, window.dilations
    cuts = cuts[:, :: steps[0], :: steps[1], :: gaps[0], :: gaps[1]][:, :rows, :columns]
    one = cuts.shape[0] * math.prod(window.kernel)
    block = max(1, BLOCK_BYTES // (8 * one * columns))
    starts = range(0, rows, block)
    return _Blocks(cuts, one, [slice(start, min(start + block, rows)) for start in starts])


class _Blocks(Sequence[tuple[slice, Array]]):
    """Blocks of rows that are copied when they are asked for."""

    def __init__(self, cuts: Array, extent: int, rows: Sequence[slice]) -> None:
        self.cuts, self.extent, self.rows = cuts, extent, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: Any) -> Any:
        rows = self.rows[place]
        part = self.cuts[:, rows].transpose(0, 3, 4, 1, 2)
        return rows, part.reshape(self.extent, -1)


def _is_safe(x: Array, w: Array) -> bool:
    """Tell whether magnitudes can be added up in float32, whose rounding is allowed for."""
    reach = float(np.abs(x).max(initial=0.0)) * float(np.abs(w).max(initial=0.0))
    return bool(reach * math.prod(w.shape[1:]) < SAFE)


def _outward(size: Array, terms: int) -> None:
    """Make sums of magnitudes in float32 no smaller than they are, in place."""
    size *= 1 + 2 * (terms + 2) * roundoff("float32")
    size += (terms + 2) * 2.0**-126


def _with_bias(exact: Array, size: Array, inputs: Inputs, shape: tuple[int, ...]) -> RightValues:
    bias = inputs[2] if len(inputs) > 2 else None  # the third is a bias
    if bias is not None:
        exact += bias.reshape(shape)
        size += np.abs(bias).reshape(shape)
    return RightValues(exact, size)


def _two(inputs: Inputs) -> tuple[Array, Array]:
    x, w = inputs[:2]
    if x is None or w is None:
        raise LookupError("an input of it was not recorded")
    return x, w


def _matmul(node: Node, inputs: Inputs, weights: LocalWeights) -> RightValues:
    del node, weights
    x, w = _two(inputs)
    return RightValues(x @ w, np.asarray(np.abs(x) @ np.abs(w)))


def _gemm(node: Node, inputs: Inputs, weights: LocalWeights) -> RightValues:
    del weights
    told = node.attributes
    x, w = _two(inputs)
    x, w = x.T if told.get("transA") else x, w.T if told.get("transB") else w
    alpha, beta = float(told.get("alpha", 1.0)), float(told.get("beta", 1.0))
    exact, size = alpha * (x @ w), abs(alpha) * (np.abs(x) @ np.abs(w))
    bias = inputs[2] if len(inputs) > 2 else None  # the third is a bias
    if bias is not None:
        exact, size = exact + beta * bias, size + abs(beta) * np.abs(bias)
    return RightValues(exact, size)


def _average(node: Node, inputs: Inputs, weights: LocalWeights) -> RightValues:
    del weights
    x = _one(inputs)
    window = window_of(node, x.shape[2:], node.attributes["kernel_shape"])
    with_pads = bool(node.attributes.get("count_include_pad", 0))
    counts = np.asarray(window.counts(with_pads), np.float64).reshape(window.extents)
    return RightValues(_seen(x, window) / counts, _seen(np.abs(x), window) / counts)


def _seen(x: Array, window: Window) -> Array:
    padded = window.pad(x, 0.0)
    return np.asarray(sum(padded[index] for _, index in kernel_positions(window)))


def _one(inputs: Inputs) -> Array:
    (x, *_) = inputs
    if x is None:
        raise LookupError("an input of it was not recorded")
    return x


def _global_average(node: Node, inputs: Inputs, weights: LocalWeights) -> RightValues:
    del node, weights
    x = _one(inputs)
    axes = tuple(range(2, x.ndim))
    return RightValues(x.mean(axes, keepdims=True), np.abs(x).mean(axes, keepdims=True))


def _reduced(node: Node, inputs: Inputs, weights: LocalWeights) -> RightValues:
    del weights
    x = _one(inputs)
    told = inputs[1] if len(inputs) > 1 else node.attributes.get("axes")
    empty = told is None or not np.size(told)
    if empty and node.attributes.get("noop_with_empty_axes"):
        return RightValues(x, np.abs(x))
    axes = None if empty else tuple(int(n) % x.ndim for n in np.ravel(np.asarray(told)))
    kept = bool(node.attributes.get("keepdims", 1))
    how = np.mean if node.operator == "ReduceMean" else np.sum
    whole = (how(each, axis=axes, keepdims=kept) for each in (x, np.abs(x)))
    return RightValues(*(np.asarray(each) for each in whole))


def _largest(node: Node, inputs: Inputs, weights: LocalWeights) -> RightValues:
    del weights
    x = np.asarray(_one(inputs), np.float64)  # integers have no infinity to pad with
    window = window_of(node, x.shape[2:], node.attributes["kernel_shape"])
    padded = window.pad(x, -np.inf)
    found = None
    for _, index in kernel_positions(window):
        found = padded[index] if found is None else np.maximum(found, padded[index])
    return RightValues(np.asarray(found))


def _softmax(node: Node, inputs: Inputs, weights: LocalWeights) -> RightValues:
    del weights
    x = _one(inputs)
    whole = bool(node.attributes.get("coerce_2d"))
    axis = int(node.attributes.get("axis", 1 if whole else -1)) % x.ndim
    axes = tuple(range(axis, x.ndim)) if whole else (axis,)
    powers = np.exp(x - x.max(axes, keepdims=True))
    return RightValues(powers / powers.sum(axes, keepdims=True))


def _padded(node: Node, inputs: Inputs, weights: LocalWeights) -> RightValues:
    del node, weights
    x, pads = _two(inputs)
    fill = inputs[2] if len(inputs) > 2 else None  # the third is what fills
    widths = pads.reshape(2, -1).T
    ends = zip(x.shape, widths, strict=True)
    kept = tuple(slice(-min(low, 0), n + min(high, 0)) for n, (low, high) in ends)
    value = 0.0 if fill is None else float(fill.reshape(()))
    return RightValues(np.pad(x[kept], np.maximum(widths, 0), constant_values=value))


def _joined(node: Node, inputs: Inputs, weights: LocalWeights) -> RightValues:
    del weights
    parts = [each for each in inputs if each is not None]
    return RightValues(np.concatenate(parts, int(node.attributes["axis"])))


def _clipped(node: Node, inputs: Inputs, weights: LocalWeights) -> RightValues:
    del node, weights
    x, ends = _one(inputs), inputs[1:]
    low, high = (None if n is None else n.reshape(()) for n in (*ends, None, None)[:2])
    found = x if low is None else np.maximum(x, low)
    return RightValues(found if high is None else np.minimum(found, high))


def _elements(function: Callable[[Array], Array]) -> Operator:
    """Return what computes a function of single elements."""

    def compute(node: Node, inputs: Inputs, weights: LocalWeights) -> RightValues:
        del node, weights
        with np.errstate(all="ignore"):
            return RightValues(function(_one(inputs)))

    return compute


def _logistic(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def _leaky(node: Node, inputs: Inputs, weights: LocalWeights) -> RightValues:
    del weights
    x = _one(inputs)
    return RightValues(np.where(x < 0, x * float(node.attributes.get("alpha", 0.01)), x))


Operator = Callable[[Node, Inputs, LocalWeights], RightValues]
OPERATORS: Mapping[str, Operator] = {
    "Conv": _conv,
    "MatMul": _matmul,
    "Gemm": _gemm,
    "AveragePool": _average,
    "GlobalAveragePool": _global_average,
    "ReduceMean": _reduced,
    "ReduceSum": _reduced,
    "MaxPool": _largest,
    "Softmax": _softmax,
    "Pad": _padded,
    "Concat": _joined,
    "Clip": _clipped,
    "LeakyRelu": _leaky,
    "Sigmoid": _elements(_logistic),
    "Tanh": _elements(np.tanh),
    "Exp": _elements(np.exp),
    "Log": _elements(np.log),
    "Neg": _elements(np.negative),
    "Abs": _elements(np.abs),
}
"""What is computed here; all else by a worker."""
