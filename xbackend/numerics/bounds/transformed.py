"""The bound of convolutions that are no plain sums: Winograd's minimal filtering and FFT.

Their errors do not follow the sum of magnitudes: what is large anywhere in a tile spoils all of it.
They follow the root of the sum of squares over the tile (Barabasz, Anderson, Soodhalter and Gregg,
Error Analysis and Improving the Accuracy of Winograd Convolution for Deep Neural Networks, 2018;
Higham, Accuracy and Stability of Numerical Algorithms, 24.1, for the FFT), by a factor that
grows with the norms of the tile's three matrices. Worst cases of these would hide every fault, so
the factor here is twice the largest error that float32 was seen to make.
"""

from __future__ import annotations

import math

import numpy as np

from xbackend.worker.geometry.sliding_window import Window, window_of
from xbackend.worker.graph import Node

from .arithmetic import Arithmetic, Array
from .bound import Bound, Layer

TRANSFORMED = Arithmetic("float32 (as of a Winograd or FFT convolution)", "float32")
TILE_FACTOR = 64.0
"""Units of u times the norms over a tile, for the largest tile in use, F(6x6, 3x3); F(4x4, 3x3)
needs less than half of it and F(2x2, 3x3) less than a tenth."""
CHANNEL_SHARE = 4.0
"""Sums over C channels have 1 + sqrt(C) / this times that error."""
LARGEST_TILE = 6
"""Outputs of a tile along an axis."""
LARGEST_KERNEL = 5
"""Weights along an axis of the kernels that tiles are used for."""
PLANE_FACTOR = 4.0
"""Units of u times the norms over the whole plane, for an FFT of all of it."""
PLANE_AXES = 2


def transformed_bound(layer: Layer) -> Bound | None:
    """Return the bound of a convolution in float32 that may have been transformed, or None.

    Kernels do so of planes, with strides and dilations of 1 and more than one weight.
    """
    weights, told = layer.inputs[1], layer.attributes
    if weights is None or weights.ndim != PLANE_AXES + 2 or layer.dtype != "float32":
        return None
    ones = all(n == 1 for key in ("strides", "dilations") for n in told.get(key) or (1,))
    if not ones or math.prod(weights.shape[2:]) == 1:
        return None
    x = layer.input(0)
    node = Node(layer.operator, "", "", (), (), dict(told))
    window = window_of(node, x.shape[2:], weights.shape[2:], ceil=False)
    group = int(told.get("group") or 1)
    limit = TILE_FACTOR * (1 + math.sqrt(weights.shape[1]) / CHANNEL_SHARE)
    scale = _norms((x * x).sum((2, 3), keepdims=True), weights, group) * (PLANE_FACTOR / limit)
    if max(weights.shape[2:]) <= LARGEST_KERNEL:
        scale = np.maximum(scale, _norms(_around(x, window), weights, group))
    bias = np.abs(layer.input(2)).reshape(1, -1, 1, 1) if layer.has(2) else 0.0
    scale = scale + 2 * (np.abs(layer.truth) + bias) / limit
    return Bound(scale, limit, limit / 4, math.prod(weights.shape[1:]), underflows=limit)


def _norms(squares: Array, weights: Array, group: int) -> Array:
    """Return the root of the sum of squares of inputs times weights, over channels."""
    energy = (weights * weights).sum((2, 3))
    parts = zip(np.split(squares, group, 1), np.split(energy, group, 0), strict=True)
    sums = [np.einsum("ncij,kc->nkij", square, weight) for square, weight in parts]
    return np.asarray(np.sqrt(np.maximum(np.concatenate(sums, 1), 0.0)))


def _around(x: Array, window: Window) -> Array:
    """Return of each output the sum of squares of all that any tile with it reads."""
    reach = LARGEST_TILE - 1
    padded = np.pad(window.pad(x, 0.0), ((0, 0), (0, 0), (reach, reach), (reach, reach)))
    sums = padded * padded
    for axis, (size, count) in enumerate(zip(window.kernel, window.extents, strict=True), 2):
        total = np.cumsum(sums, axis)
        total = np.insert(total, 0, 0.0, axis)
        last = np.arange(count) + size + 2 * reach
        sums = total.take(last, axis) - total.take(np.arange(count), axis)
    return np.asarray(sums)
