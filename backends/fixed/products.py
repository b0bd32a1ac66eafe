"""Exact accumulators: sums of products of 8-bit integers, with zero points taken off.

A factor is at most 255 in magnitude, so K products sum to less than K * 2**16. Below 2**53 every
partial sum is a float64 without rounding, whatever the order, fused or not: a float64 matrix
product of BLAS is exact. That holds for K below 2**37, more than fits into memory; it is checked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xbackend.worker.geometry.sliding_window import Window, kernel_positions

if TYPE_CHECKING:
    from typing import Iterator, Tuple

    Array = np.ndarray[Any, Any]

LONGEST = 1 << 37
"""So many products of two numbers below 2**8 sum to less than 2**53."""

BUFFER = 1 << 25
"""Bytes of an image or a matrix that are laid out as float64 at a time."""


def centred(values: Array, zero_point: Array) -> Array:
    """Take the zero point off 8-bit integers, as float64 that hold integers."""
    return values.astype(np.float64) - zero_point.astype(np.float64)


def matmul(left: Array, left_zero: Array, right: Array, right_zero: Array) -> Array:
    """Multiply matrices of 8-bit integers, zero points taken off; the result is exact, int64.

    Zero points broadcast against their matrix and have no extent along the axis that is summed.
    """
    length = left.shape[-1]
    _check(length)
    columns = right.shape[-1] if right.ndim > 1 else 1
    step = max(BUFFER // (8 * max(columns, 1)), 1)
    total: Any = 0.0
    for begin in range(0, max(length, 1), step):
        cut = slice(begin, begin + step)
        part = right[..., cut, :] if right.ndim > 1 else right[cut]
        total = total + np.matmul(centred(left[..., cut], left_zero), centred(part, right_zero))
    return np.asarray(total).astype(np.int64)


def convolve(image: Array, kernel: Array, groups: int, window: Window) -> Array:
    """Convolve a centred image (N, C, …) with a centred kernel (M, C / groups, …); exact, int64.

    A pixel equal to the zero point is zero once it is centred, which is what the padding is.
    """
    _check(int(np.prod(kernel.shape[1:], dtype=np.int64)))
    batch, outputs, depth = image.shape[0], kernel.shape[0] // groups, kernel.shape[1]
    pixels = int(np.prod(window.extents, dtype=np.int64))
    matrices = kernel.reshape(groups, outputs, depth, -1).transpose(0, 1, 3, 2)
    total = np.zeros((batch, groups, outputs, pixels))
    begin = 0
    for columns in _columns(window.pad(image, 0.0), window, (batch, groups, depth, pixels)):
        end = begin + columns.shape[2]
        part = matrices[:, :, begin:end].reshape(groups, outputs, -1)
        total += np.matmul(part, columns.reshape(batch, groups, -1, pixels))
        begin = end
    return total.reshape(batch, -1, *window.extents).astype(np.int64)


def _columns(padded: Array, window: Window, shape: Tuple[int, int, int, int]) -> Iterator[Array]:
    """Yield what some of the kernel's elements see: (N, groups, elements, depth, pixels)."""
    room = max(BUFFER // max(8 * int(np.prod(shape, dtype=np.int64)), 1), 1)
    views = [padded[index] for _, index in kernel_positions(window)]
    for begin in range(0, len(views), room):
        seen = [view.reshape(shape) for view in views[begin : begin + room]]
        yield np.stack(seen, axis=2)


def _check(length: int) -> None:
    if length >= LONGEST:
        raise OverflowError(f"A sum of {length} products may not fit into 53 bits.")
