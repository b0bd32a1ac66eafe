"""Large layers in pieces that fit into a processor's cache, with their bounds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from .bound import Array, Bound, Layer, Shape

PIECE = 1 << 15
"""Elements of a piece, about."""


def pieces_of(layer: Layer, bound: Bound) -> Iterator[tuple[Shape, Layer, Bound]]:
    """Yield where a piece begins, the recorded and right values in it, and their bound."""
    recorded = layer.recorded
    assert recorded is not None
    shape = recorded.shape
    axis = next((n for n, extent in enumerate(shape) if extent > 1), None)
    if axis is None or recorded.size <= PIECE:
        yield (0,) * len(shape), layer, bound
        return
    step = max(1, PIECE * shape[axis] // recorded.size)
    for start in range(0, shape[axis], step):
        where = slice(start, start + step)
        offset = tuple(start if n == axis else 0 for n in range(len(shape)))
        part, own = _cut(layer, bound, where, axis - len(shape))
        yield offset, part, own


def _cut(layer: Layer, bound: Bound, where: slice, axis: int) -> tuple[Layer, Bound]:
    def part(array: Array | float | None) -> Array | None:
        return None if array is None else _part(np.asarray(array), where, axis)

    scale, limit, usual, absolute = (
        _part(np.asarray(each), where, axis)
        for each in (bound.scale, bound.limit, bound.usual, bound.absolute)
    )
    piece = replace(layer, recorded=part(layer.recorded), exact=part(layer.exact))
    kept = (part(bound.condition), part(bound.exact))
    return piece, replace(
        bound,
        scale=scale,
        limit=limit,
        usual=usual,
        absolute=absolute,
        condition=kept[0],
        exact=kept[1],
    )


def _part(array: Array, where: slice, axis: int) -> Array:
    """Cut an axis, counted from the last; one that an array lacks or repeats stays."""
    if array.ndim < -axis or array.shape[axis] == 1:
        return array
    index: list[Any] = [..., where, *[slice(None)] * (-axis - 1)]
    return np.asarray(array[tuple(index)])
