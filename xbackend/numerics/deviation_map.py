"""Where in a tensor elements deviate: counts by channel and position, in a few bins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

CHANNELS, POSITIONS = 16, 24
"""Most bins along either axis."""


@dataclass(frozen=True)
class DeviationMap:
    """How many elements deviate in each bin."""

    channels: int
    """Extent of the axis of channels, the second one; 1 where there is none."""
    positions: int
    """Elements of a channel."""
    rows: int
    """Bins of channels; channel `c` falls into `c * rows // channels`."""
    columns: int
    """Bins of positions, likewise."""
    counts: tuple[int, ...]
    """Of deviating elements, row by row."""
    totals: tuple[int, ...]
    """Of all elements."""


@dataclass
class DeviationCounts:
    """What was seen so far, block after block."""

    shape: tuple[int, ...]
    counts: Array = field(init=False)

    def __post_init__(self) -> None:
        """Begin with nothing seen."""
        shape = self.shape
        self.channels = shape[1] if len(shape) > 1 else 1
        self.positions = prod(shape[2:]) if len(shape) > 1 else prod(shape)
        self.rows = min(self.channels, CHANNELS)
        self.columns = min(self.positions, POSITIONS)
        self.counts = np.zeros(self.rows * self.columns, np.int64)

    def add(self, deviating: Array, start: int) -> None:
        """Take in which elements of a span deviate, the first of them being `start`."""
        places = np.flatnonzero(deviating) + start
        if places.size:
            self.counts += np.bincount(self._bins(places), minlength=self.counts.size)

    def _bins(self, places: Array) -> Array:
        position = places % self.positions
        channel = places // self.positions % self.channels
        row = channel * self.rows // self.channels
        found: Array = row * self.columns + position * self.columns // self.positions
        return found

    def map(self) -> DeviationMap | None:
        """Return the counts; None of a tensor without elements."""
        if not self.counts.size:
            return None
        batch = prod(self.shape) // (self.channels * self.positions)
        down = _sizes(self.channels, self.rows)
        across = _sizes(self.positions, self.columns)
        totals = np.outer(down, across).ravel() * batch
        return DeviationMap(
            self.channels,
            self.positions,
            self.rows,
            self.columns,
            tuple(self.counts.tolist()),
            tuple(totals.tolist()),
        )


def _sizes(extent: int, bins: int) -> Array:
    """Return how many places fall into each bin, where place `n` is in `n * bins // extent`.

    >>> _sizes(5, 2).tolist()
    [3, 2]
    """
    edges = [-(-at * extent // bins) for at in range(bins + 1)]
    return np.diff(edges)


def deviation_map(shape: Sequence[int], deviating: Array) -> DeviationMap | None:
    """Return where elements of a whole tensor deviate.

    >>> found = deviation_map((1, 2, 3), np.array([0, 0, 1, 0, 0, 1], bool))
    >>> found.rows, found.columns, found.counts, found.totals
    (2, 3, (0, 0, 1, 0, 0, 1), (1, 1, 1, 1, 1, 1))
    """
    counts = DeviationCounts(tuple(shape))
    counts.add(deviating, 0)
    return counts.map()
