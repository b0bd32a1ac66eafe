"""Which weights survive a conversion with all their bits."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from itertools import permutations
from typing import Any

import numpy as np

from xbackend.plugins.converter import WeightReport

Array = np.ndarray[Any, Any]


def compare_weights(source: Mapping[str, Array], target: Iterable[Array]) -> WeightReport:
    """Tell for each weight of the source whether the target holds its bits.

    A weight counts as identical if some array of the target has the same dtype and, after a
    permutation of the source's axes, the same elements in C order (so a transposition or a
    reshaping is no change). Arrays of more than five axes are compared unpermuted only.
    """
    held = {_digest(array) for array in target}
    identical = tuple(name for name, array in source.items() if _is_held(array, held))
    changed = tuple(name for name in source if name not in set(identical))
    return WeightReport(identical, changed)


def _is_held(array: Array, held: set[tuple[str, str]]) -> bool:
    orders = permutations(range(array.ndim)) if array.ndim <= 5 else [tuple(range(array.ndim))]
    return any(_digest(array.transpose(order)) in held for order in orders)


def _digest(array: Array) -> tuple[str, str]:
    return array.dtype.name, hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
