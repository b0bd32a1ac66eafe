"""Exact accumulators: sums of products of 8-bit integers, with zero points taken off.

A factor is at most 255 in magnitude, so K products sum to less than K * 2**16. Below 2**53 every
partial sum is a float64 without rounding, whatever the order, fused or not: a float64 matrix
product of BLAS is exact. That holds for K below 2**37, more than fits into memory; it is checked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .windows import Window, positions

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]

LONGEST = 1 << 37
"""So many products of two numbers below 2**8 sum to less than 2**53."""


def centred(values: Array, zero_point: Array) -> Array:
    """Take the zero point off 8-bit integers, as float64 that hold integers."""
    return values.astype(np.float64) - zero_point.astype(np.float64)


def matmul(left: Array, right: Array) -> Array:
    """Multiply matrices of centred integers; the result is exact, int64."""
    _check(left.shape[-1])
    return np.asarray(np.matmul(left, right)).astype(np.int64)


def convolve(image: Array, kernel: Array, groups: int, window: Window) -> Array:
    """Convolve a centred image (N, C, …) with a centred kernel (M, C / groups, …); exact, int64.

    One matrix product for each position in the kernel: the padding is zero, which is what a pixel
    equal to the zero point is once it is centred.
    """
    _check(int(np.prod(kernel.shape[1:], dtype=np.int64)))
    batch, outputs = image.shape[0], kernel.shape[0]
    padded = window.pad(image, 0.0)
    matrices = kernel.reshape(groups, outputs // groups, *kernel.shape[1:])
    whole = (slice(None),) * 3
    pixels = int(np.prod(window.extents, dtype=np.int64))
    total = np.zeros((batch, groups, outputs // groups, pixels))
    for place, index in positions(window):
        seen = padded[index]
        seen = seen.reshape(batch, groups, kernel.shape[1], pixels)
        total += np.matmul(matrices[whole + place], seen)
    return total.reshape(batch, outputs, *window.extents).astype(np.int64)


def _check(length: int) -> None:
    if length >= LONGEST:
        raise OverflowError(f"A sum of {length} products may not fit into 53 bits.")
