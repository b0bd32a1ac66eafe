"""Convolutions and matrix products of floats: products rounded, added in the order of sums.py.

A convolution sums in the order in which the elements of an output channel's weights lie in the
ONNX tensor: input channel, then kernel row, then kernel column. Padding is zeros like any other.
The bias is added last. A matrix product sums along the common axis, from the first element on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xbackend.worker.sliding_window import Window, kernel_positions, window_of

from .operands import given, need
from .sums import product

if TYPE_CHECKING:
    from typing import Callable, Dict, List, Optional, Sequence, Tuple

    from xbackend.worker.graph import Node

    Array = np.ndarray[Any, Any]
    Inputs = List[Optional[Array]]


def conv(node: Node, inputs: Inputs) -> List[Array]:
    """Conv over any number of spatial axes, in groups."""
    x, weight = need(inputs, 0), need(inputs, 1)
    window = window_of(node, x.shape[2:], weight.shape[2:])
    total = convolve(window.pad(x, 0.0), weight, int(node.attributes.get("group", 1)), window)
    return [_add_bias(total, given(inputs, 2))]


def convolve(padded: Array, weight: Array, groups: int, window: Window) -> Array:
    """Convolve a padded (N, C, …) with (M, C / groups, …), one sample at a time."""
    matrices = weight.reshape(groups, weight.shape[0] // groups, -1)
    samples = [product(matrices, _columns(sample, window, groups)) for sample in padded]
    shape = (len(padded), weight.shape[0], *window.extents)
    return np.asarray(np.stack(samples)).reshape(shape)


def _columns(sample: Array, window: Window, groups: int) -> Array:
    """Lay out what each weight sees: (groups, C / groups * kernel, places)."""
    seen = [sample[None][index][0] for _, index in kernel_positions(window)]
    stacked: Array = np.stack(seen, axis=1).reshape(groups, -1, len(seen), *window.extents)
    count = int(np.prod(window.extents, dtype=np.int64))
    return stacked.reshape(groups, stacked.shape[1] * len(seen), count)


def _add_bias(total: Array, bias: Optional[Array]) -> Array:
    if bias is None:
        return total
    with np.errstate(all="ignore"):
        return np.asarray(total + bias.reshape(-1, *[1] * (total.ndim - 2)))


def conv_transpose(node: Node, inputs: Inputs) -> List[Array]:
    """ConvTranspose: the convolution of the input, zeros between its elements, with kernels turned.

    It sums over input channels and, in each, over the places of the spread input in their order.
    """
    x, weight = need(inputs, 0), need(inputs, 1)
    groups = int(node.attributes.get("group", 1))
    kernel = weight.shape[2:]
    rank = len(kernel)
    strides = list(node.attributes.get("strides") or [1] * rank)
    dilations = tuple(node.attributes.get("dilations") or [1] * rank)
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations)]
    spread = _spread(x, strides)
    begins, extents = _transposed(node, x.shape[2:], strides, spans)
    ones = (1,) * rank
    window = Window(kernel, ones, dilations, begins, ones, extents)
    padded = _reach(spread, [s - 1 - b for s, b in zip(spans, begins)], window)
    turned = np.flip(weight, tuple(range(2, weight.ndim)))
    split = turned.reshape(groups, -1, *turned.shape[1:]).swapaxes(1, 2)
    total = convolve(padded, split.reshape(-1, *split.shape[2:]), groups, window)
    return [_add_bias(total, given(inputs, 2))]


def _spread(x: Array, strides: Sequence[int]) -> Array:
    """Put zeros between neighbours along the spatial axes."""
    extents = [(n - 1) * s + 1 for n, s in zip(x.shape[2:], strides)]
    result = np.zeros((*x.shape[:2], *extents), x.dtype)
    index = (slice(None), slice(None), *(slice(None, None, s) for s in strides))
    result[index] = x
    return result


def _reach(spread: Array, before: Sequence[int], window: Window) -> Array:
    """Pad, or cut where a pad is negative, so that the window's places just fit."""
    result = spread
    for axis, begin in enumerate(before):
        place = axis + 2
        size = result.shape[place]
        end = window.extents[axis] + window.span(axis) - 1 - size - begin
        cut = [slice(None)] * result.ndim
        cut[place] = slice(max(-begin, 0), size - max(-end, 0))
        widths = [(0, 0)] * result.ndim
        widths[place] = (max(begin, 0), max(end, 0))
        result = np.pad(result[tuple(cut)], widths)
    return result


def _transposed(
    node: Node, spatial: Sequence[int], strides: Sequence[int], spans: Sequence[int]
) -> Tuple[Tuple[int, ...], Tuple[int, ...]]:
    """Return how much is cut off before each axis, and the extents of the result."""
    rank = len(spans)
    extra = list(node.attributes.get("output_padding") or [0] * rank)
    full = [(n - 1) * s + e + k for n, s, k, e in zip(spatial, strides, spans, extra)]
    mode = node.attributes.get("auto_pad", "NOTSET")
    wanted = list(node.attributes.get("output_shape") or [])[-rank:]
    if not wanted and mode in ("NOTSET", "VALID"):
        pads = list(node.attributes.get("pads") or [0] * 2 * rank) if mode == "NOTSET" else []
        pads = pads or [0] * 2 * rank
        extents = [f - b - e for f, b, e in zip(full, pads[:rank], pads[rank:])]
        return tuple(pads[:rank]), tuple(extents)
    wanted = wanted or [n * s for n, s in zip(spatial, strides)]
    totals = [max(have - want, 0) for have, want in zip(full, wanted)]
    upper = mode == "SAME_UPPER"
    return tuple(t // 2 if upper else t - t // 2 for t in totals), tuple(wanted)


def matmul(node: Node, inputs: Inputs) -> List[Array]:
    """MatMul with NumPy's rules for vectors and for stacks."""
    left, right = need(inputs, 0), need(inputs, 1)
    first, second = left, right
    if left.ndim == 1:
        first = left[None]
    if right.ndim == 1:
        second = right[:, None]
    stacks = np.broadcast(
        np.empty(first.shape[:-2], np.bool_), np.empty(second.shape[:-2], np.bool_)
    ).shape
    pair = (np.broadcast_to(a, stacks + a.shape[-2:]) for a in (first, second))
    flat = [a.reshape(-1, *a.shape[-2:]) for a in pair]
    total = product(*flat).reshape((*stacks, first.shape[-2], second.shape[-1]))
    dropped = [axis for axis, a in ((-2, left), (-1, right)) if a.ndim == 1]
    return [np.squeeze(total, tuple(dropped)) if dropped else total]


def gemm(node: Node, inputs: Inputs) -> List[Array]:
    """Gemm: the sums times alpha, then plus beta times C, each step rounded."""
    left, right, bias = need(inputs, 0), need(inputs, 1), given(inputs, 2)
    left = left.T if node.attributes.get("transA", 0) else left
    right = right.T if node.attributes.get("transB", 0) else right
    alpha, beta = (
        np.array(node.attributes.get(key, 1.0)).astype(left.dtype) for key in ("alpha", "beta")
    )
    with np.errstate(all="ignore"):
        total = np.asarray(product(left[None], right[None])[0] * alpha)
        return [total if bias is None else total + bias * beta]


OPERATORS: Dict[Tuple[str, str], Callable[[Any, Any], Any]] = {
    ("", "Conv"): conv,
    ("", "ConvTranspose"): conv_transpose,
    ("", "Gemm"): gemm,
    ("", "MatMul"): matmul,
}
"""The operator of each domain and name."""
