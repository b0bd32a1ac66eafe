"""Whether a network's answer flips: the index of the highest value along the last axis."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from xbackend.numerics.blocks import Bits, TensorBlocks, unsigned_dtype, view_as_numbers
from xbackend.worker.tensor import Tensor, from_numpy  # noqa: F401 (of is for the example)

POSITIONS = frozenset({"int32", "int64", "uint32", "uint64"})
"""Formats of indices and counts, which are no scores."""
ELEMENTS = 1 << 16
"""How many elements are looked at in one go, or one row if that has more."""


def label_flips(tensors: Sequence[TensorBlocks]) -> list[bool]:
    """Tell for each tensor whether any of its labels is not the first tensor's.

    The label of a row is the index of its highest value along the last axis: the first such index
    where several are equal, and that of the first NaN where there is one. A tensor of another
    shape, but for axes of extent 1, flips. For what has no label see `has_label`.
    """
    return [_flips(tensors[0], tensor) for tensor in tensors]


def has_label(dtype: str, shape: Sequence[int]) -> bool:
    """Tell whether a tensor is what a classifier gives: one row of scores a sample, two or more.

    An image, a sequence, a single number and positions in a list are no scores.

    >>> (
    ...     has_label("float32", (1, 10)),
    ...     has_label("float32", (1, 3, 8, 8)),
    ...     has_label("int64", (1, 5)),
    ... )
    (True, False, False)
    """
    extents = tuple(shape[:2]) if all(extent == 1 for extent in shape[2:]) else tuple(shape)
    return dtype not in POSITIONS and 1 <= len(extents) <= 2 and extents[-1] >= 2


def argmax_label(tensor: Tensor) -> int:
    """Return the index of a tensor's highest value, the first of several.

    >>> argmax_label(from_numpy(np.float32([[0.1, 0.7, 0.2]])))
    1
    """
    bits = np.ascontiguousarray(tensor.array).view(unsigned_dtype(tensor.dtype)).reshape(-1)
    return int(view_as_numbers(tensor.dtype, bits).argmax())


def _flips(first: TensorBlocks, other: TensorBlocks) -> bool:
    if _squeezed(first) != _squeezed(other):
        return has_label(first.dtype, first.shape)
    row = _squeezed(first)[-1] if _squeezed(first) else 1
    if first is other or not has_label(first.dtype, first.shape):
        return False
    rows = prod(first.shape) // row
    step = max(1, ELEMENTS // row)
    return any(
        _differ(first, other, row, start * row, min(start + step, rows) * row)
        for start in range(0, rows, step)
    )


def _differ(first: TensorBlocks, other: TensorBlocks, row: int, start: int, stop: int) -> bool:
    one = _labels(first.dtype, first.bits(start, stop), row)
    return not np.array_equal(one, _labels(other.dtype, other.bits(start, stop), row))


def _labels(dtype: str, bits: Bits, row: int) -> Bits:
    labels: Bits = view_as_numbers(dtype, bits).reshape(-1, row).argmax(axis=1)
    return labels


def _squeezed(tensor: TensorBlocks) -> tuple[int, ...]:
    return tuple(extent for extent in tensor.shape if extent != 1)


def row_labels(tensor: TensorBlocks) -> tuple[int, ...]:
    """Return the label of each row, in order; for what has none see `has_label`.

    >>> from xbackend.numerics.blocks import blocks_of_tensor
    >>> row_labels(blocks_of_tensor(from_numpy(np.float32([[0, 1], [3, 2]]))))
    (1, 0)
    """
    row = _squeezed(tensor)[-1] if _squeezed(tensor) else 1
    bits = tensor.bits(0, prod(tensor.shape))
    return tuple(int(label) for label in _labels(tensor.dtype, bits, row))
