"""Convolutions and matrix products of floats: products rounded, added in the order of sums.py.

A convolution sums in the order in which the elements of an output channel's weights lie in the
ONNX tensor: input channel, then kernel row, then kernel column. Padding is zeros like any other.
The bias is added last. A matrix product sums along the common axis, from the first element on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xbackend.worker.geometry.conv_transpose import spread_of
from xbackend.worker.geometry.slices import cut_and_padded
from xbackend.worker.geometry.sliding_window import Window, kernel_positions, window_of

from ..operands import given, need
from ..sums import product

if TYPE_CHECKING:
    from typing import Callable, Dict, List, Optional, Sequence, Tuple

    from xbackend.worker.geometry.conv_transpose import Spread
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
    spread = spread_of(node, x.shape[2:], weight.shape[2:])
    padded, window = _reach(_with_zeros(x, spread.strides), weight.shape[2:], spread)
    turned = np.flip(weight, tuple(range(2, weight.ndim)))
    split = turned.reshape(groups, -1, *turned.shape[1:]).swapaxes(1, 2)
    total = convolve(padded, split.reshape(-1, *split.shape[2:]), groups, window)
    return [_add_bias(total, given(inputs, 2))]


def _with_zeros(x: Array, strides: Sequence[int]) -> Array:
    """Put zeros between neighbours along the spatial axes."""
    extents = [(n - 1) * s + 1 for n, s in zip(x.shape[2:], strides)]
    result = np.zeros((*x.shape[:2], *extents), x.dtype)
    index = (slice(None), slice(None), *(slice(None, None, s) for s in strides))
    result[index] = x
    return result


def _reach(x: Array, kernel: Tuple[int, ...], spread: Spread) -> Tuple[Array, Window]:
    """Pad, or cut where a pad is negative, so that the window's places just fit."""
    begins = tuple(span - 1 - begin for span, begin in zip(spread.spans, spread.begins))
    ones = (1,) * len(kernel)
    window = Window(x.shape[2:], kernel, ones, spread.dilations, begins, ones, spread.extents)
    pads = ((0, 0), (0, 0), *zip(begins, window.fitting_ends))
    cut, around = cut_and_padded(x.shape, pads)
    return np.pad(x[cut], around), window


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
