"""Poolings: the greatest of a window, and averages of floats and of quantized tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xbackend.worker.geometry.sliding_window import Window, kernel_positions, window_of

from .. import arithmetic
from ..operands import MICROSOFT, need, scale_of
from ..sums import fold
from .elementwise import greater
from .reduction import worst

if TYPE_CHECKING:
    from typing import Callable, Dict, List, Optional, Tuple

    from xbackend.worker.graph import Node

    from ..operands import Scale

    Array = np.ndarray[Any, Any]
    Inputs = List[Optional[Array]]


def max_pool(node: Node, inputs: Inputs) -> List[Array]:
    """MaxPool over any number of spatial axes."""
    x = need(inputs, 0)
    window = window_of(node, x.shape[2:], node.attributes["kernel_shape"])
    lowest = worst(x.dtype, least=False)
    padded = window.pad(x, lowest)
    best = np.full(x.shape[:2] + window.extents, lowest, x.dtype)
    for _, index in kernel_positions(window):
        best = greater(best, padded[index])
    return [best]


def global_max_pool(node: Node, inputs: Inputs) -> List[Array]:
    """GlobalMaxPool, the first of equals."""
    x = need(inputs, 0)
    places = x.reshape(*x.shape[:2], -1)
    index = places.argmax(axis=2)[..., None]
    best = np.take_along_axis(places, index, axis=2)
    return [best.reshape(*x.shape[:2], *[1] * (x.ndim - 2))]


def average_pool(node: Node, inputs: Inputs) -> List[Array]:
    """AveragePool: the sum over the window, row by row in the order of sums.py, by the count.

    Padding adds zeros, which count where the node says so; what lies beyond it never does.
    """
    x = need(inputs, 0)
    window = window_of(node, x.shape[2:], node.attributes["kernel_shape"])
    counts = _seen(window, bool(node.attributes.get("count_include_pad", 0)), x.dtype)
    with np.errstate(all="ignore"):
        total = _ordered_sum(window, window.pad(x, 0.0))
        return [np.asarray(total / counts)]


def _seen(window: Window, with_pads: bool, dtype: np.dtype[Any]) -> Array:
    """Return how many elements each place of a window sees."""
    return np.array(window.counts(with_pads)).astype(dtype).reshape(window.extents)


def _ordered_sum(window: Window, padded: Array) -> Array:
    places = [index for _, index in kernel_positions(window)]
    return fold(lambda index: np.asarray(padded[places[index]]), 0, len(places))


def qlinear_global_average_pool(node: Node, inputs: Inputs) -> List[Array]:
    """QLinearGlobalAveragePool: the exact sum times x_scale / (y_scale * count)."""
    x = need(inputs, 0)
    return [_global_average(x, *(scale_of(inputs, i, x.dtype.name) for i in (1, 3)))]


def _global_average(values: Array, source: Scale, target: Scale) -> Array:
    axes = tuple(range(2, values.ndim))
    count = np.float32(np.prod(values.shape[2:], dtype=np.int64))
    total = source.centre(values).sum(axis=axes, keepdims=True)
    scale = source.scale / (target.scale * count)
    return arithmetic.requantize(arithmetic.int32(total), scale, target.zero_point, target.dtype)


def qlinear_average_pool(node: Node, inputs: Inputs) -> List[Array]:
    """QLinearAveragePool, in ONNX Runtime's steps: dequantize, sum in order, divide, quantize.

    Every step is one float32 operation for each element. A window that covers the whole image is
    a global average, in integers.
    """
    x = need(inputs, 0)
    source, target = (scale_of(inputs, i, x.dtype.name) for i in (1, 3))
    window = window_of(node, x.shape[2:], node.attributes["kernel_shape"])
    if window.kernel == x.shape[2:] and not any(window.begins + window.ends):
        return [_global_average(x, source, target)]
    mean = _window_sum(window, source.dequantize(x)) / _counts(node, window)
    scaled = mean / target.scale + target.zero_point.astype(np.float32)
    return [arithmetic.narrow(scaled, target.dtype)]


def _counts(node: Node, window: Window) -> Array:
    if node.attributes.get("count_include_pad", 0):
        return np.asarray(np.prod(window.kernel, dtype=np.int64), np.float32)
    return _seen(window, False, np.dtype(np.float32))


def _window_sum(window: Window, values: Array) -> Array:
    """Sum float32 values over each place of a window, in the order of the elements."""
    padded = window.pad(values, 0.0)
    total = np.zeros(values.shape[:2] + window.extents, np.float32)
    for _, index in kernel_positions(window):
        total = total + padded[index]
    return total


OPERATORS: Dict[Tuple[str, str], Callable[[Any, Any], Any]] = {
    ("", "AveragePool"): average_pool,
    ("", "MaxPool"): max_pool,
    ("", "GlobalMaxPool"): global_max_pool,
    (MICROSOFT, "QLinearAveragePool"): qlinear_average_pool,
    (MICROSOFT, "QLinearGlobalAveragePool"): qlinear_global_average_pool,
}
"""The operator of each domain and name."""
