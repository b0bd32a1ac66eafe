"""The one order in which floats are summed: blocks of 16 from left to right, blocks as a tree.

A sum of n terms is defined by recursion. Up to 16 terms are added from left to right, beginning
with the first. More are split behind the longest run that is 16 times a power of two and shorter
than n; the sum is that of the left part plus that of the right. Every addition is rounded to the
format of the terms. No sum begins with a zero, so that one of negative zeros is negative zero;
only a sum of no terms is 0.

As many additions as from left to right, but the error grows with log(n), not with n. Where terms
are products, each is rounded before it is added: there is no fused multiply-add.

Only additions and multiplications of whole arrays are used, which are single IEEE 754 operations
on each element: NumPy's own sums and products of matrices add in an order that depends on the
width of vectors and on BLAS.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from typing import Callable, Iterable, Iterator, Sequence, Tuple

    Array = np.ndarray[Any, Any]
    Term = Callable[[int], Array]
    Step = Callable[..., Array]
    """A function of NumPy for two arrays, such as `np.add`."""
    Rectangle = Tuple[slice, slice]

BLOCK = 16
"""So many terms are added from left to right."""

ROOM = 1 << 15
"""Elements of a product that are worked on at a time, so that they stay in a cache."""


def split(count: int) -> int:
    """Return behind how many of more than 16 terms a sum is split.

    >>> split(17), split(32), split(33), split(4608)
    (16, 16, 32, 4096)
    """
    blocks = -(-count // BLOCK)
    return BLOCK << ((blocks - 1).bit_length() - 1)


def fold(term: Term, begin: int, end: int, step: Step = np.add) -> Array:
    """Sum what a function gives for each index from `begin` up to `end`, of which there is one.

    The function may use the same memory for each term.
    """
    if end - begin > BLOCK:
        middle = begin + split(end - begin)
        left = fold(term, begin, middle, step)
        step(left, fold(term, middle, end, step), out=left)
        return left
    result = np.array(term(begin))
    for index in range(begin + 1, end):
        step(result, term(index), out=result)
    return result


def total(values: Array, axes: Sequence[int], step: Step = np.add) -> Array:
    """Sum an array over axes, their elements in row-major order; the axes stay, of extent 1.

    With another step, such as `np.multiply`, they are combined by it in the same order.
    """
    places = sorted({axis % values.ndim for axis in axes})
    shape = [1 if axis in places else extent for axis, extent in enumerate(values.shape)]
    if not places:
        return values
    moved = np.moveaxis(values, places, range(len(places)))
    count = int(np.prod(moved.shape[: len(places)], dtype=np.int64))
    if not values.size:
        return np.full(shape, int(step is np.multiply), values.dtype)
    rows = moved.reshape(count, *moved.shape[len(places) :])
    return _total_of_rows(rows, step).reshape(shape)


def _total_of_rows(rows: Array, step: Step) -> Array:
    """Combine over the first axis: all blocks side by side, then neighbours, level by level.

    On each level an odd one out is carried to the next, which is what the recursion says.
    """
    whole = len(rows) // BLOCK * BLOCK
    blocks = rows[:whole].reshape(-1, BLOCK, *rows.shape[1:])
    sums = fold(lambda index: np.asarray(blocks[:, index]), 0, BLOCK, step)
    if whole < len(rows):
        rest = fold(lambda index: np.asarray(rows[index]), whole, len(rows), step)
        sums = np.concatenate([sums, rest[None]])
    while len(sums) > 1:
        pairs = len(sums) // 2 * 2
        sums = np.concatenate([step(sums[0:pairs:2], sums[1:pairs:2]), sums[pairs:]])
    return np.asarray(sums[0])


def product(left: Array, right: Array) -> Array:
    """Multiply stacks of matrices (B, M, K) and (B, K, N) of floats.

    Each element is the sum of K products in the order of K. Rectangles of the result are shared
    out among as many threads as the worker was given, which changes no sum.
    """
    batch, rows, count = left.shape
    columns = right.shape[2]
    if columns < rows:
        swapped = product(np.swapaxes(right, 1, 2), np.swapaxes(left, 1, 2))
        return np.swapaxes(swapped, 1, 2)
    result = np.zeros((batch, rows, columns), left.dtype)
    if not count or not result.size:
        return result
    lefts = np.ascontiguousarray(np.moveaxis(left, 2, 0))[..., None]
    rights = np.ascontiguousarray(np.moveaxis(right, 1, 0))[:, :, None]

    def compute(part: Rectangle) -> None:
        first, second = lefts[:, part[0], part[1]], rights[:, part[0]]
        scratch = np.empty(result[part].shape, result.dtype)
        with np.errstate(all="ignore"):
            result[part] = fold(
                lambda index: np.multiply(first[index], second[index], out=scratch), 0, count
            )

    _share_out(compute, _rectangles(batch, rows, columns))
    return result


def _rectangles(batch: int, rows: int, columns: int) -> Iterator[Rectangle]:
    """Cut (B, M, N) into parts of about ROOM elements, along B and M."""
    high = max(ROOM // columns, 1)
    deep = max(high // rows, 1)
    for first in range(0, batch, deep):
        for second in range(0, rows, high):
            yield slice(first, first + deep), slice(second, second + high)


def _share_out(compute: Callable[[Rectangle], None], parts: Iterable[Rectangle]) -> None:
    threads = int(os.environ.get("OMP_NUM_THREADS") or 1)
    if threads == 1:
        for part in parts:
            compute(part)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(compute, parts))
