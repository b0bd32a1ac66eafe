"""Which weights keep their values in another precision, and which are too large for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from xbackend.worker.tensor import Tensor, cast


def losses(source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> dict[str, list[str]]:
    """Name the weights that keep their values exactly, and those with a number too large."""
    exact, overflowed = [], []
    for name, before, after in _pairs(source, target):
        back = cast(after, before.dtype).array
        if np.array_equal(back, before.array, equal_nan=True):
            exact.append(name)
        if not np.array_equal(np.isinf(back), np.isinf(before.array)):
            overflowed.append(name)
    return {"same_values": exact, "overflowed": overflowed}


def _pairs(
    source: Mapping[str, Tensor], target: Mapping[str, Tensor]
) -> Iterator[tuple[str, Tensor, Tensor]]:
    for name, before in source.items():
        if before.dtype == "float32" and name in target:
            yield name, before, target[name]
