"""Distances of arrays in memory against numpy.array_equal on the same arrays."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from xbackend.numerics.blocks import MemoryBlocks, blocks_of_tensor
from xbackend.numerics.metrics import measure, remaining_precision
from xbackend.worker.tensor import from_numpy

from .timing import Ratio, ratio, time_interleaved

ELEMENTS = 1 << 26
MANY, FEWER = 75, 10**6
REMAINING, ALL = 1.2, 8.0

Array = np.ndarray[Any, Any]


def pairs(elements: int = ELEMENTS) -> dict[str, tuple[Array, Array]]:
    """Return pairs of float32 arrays: the same bits, other last bits, nothing in common."""
    generator = np.random.default_rng(0)
    first = generator.standard_normal(elements, np.float32)
    noise = generator.integers(0, 8, elements, np.int32)
    near = (first.view(np.int32) ^ noise).view(np.float32)
    return {
        "the same bits": (first, first.copy()),
        "three last bits differ": (first, near),
        "nothing in common": (first, generator.standard_normal(elements, np.float32)),
    }


def blocks(*arrays: Array) -> list[MemoryBlocks]:
    """Wrap arrays for the differ."""
    return [blocks_of_tensor(from_numpy(array)) for array in arrays]


def compare_pairs(rounds: int) -> list[Ratio]:
    """Measure pairs of 2^26 elements."""
    found = []
    for name, (first, second) in pairs().items():
        tensors = blocks(first, second)
        seconds = time_interleaved(
            {
                "equal": partial(np.array_equal, first, second),
                "bits": partial(remaining_precision, tensors),
                "all": partial(measure, tensors),
            },
            rounds,
        )
        for contestant, what, limit in (
            ("bits", "remaining precision", REMAINING), ("all", "all metrics", ALL),
        ):  # fmt: skip
            title = f"{what}, 2 x 2^26 float32, {name}"
            peer = "numpy.array_equal"
            found.append(ratio(title, peer, seconds[contestant], seconds["equal"], limit))
    return found


def compare_many(rounds: int) -> list[Ratio]:
    """Measure 75 arrays of 10^6 elements in one pass, against 74 calls of array_equal."""
    generator = np.random.default_rng(0)
    first = generator.standard_normal(FEWER, np.float32)
    noise = (generator.integers(0, 8, FEWER, np.int32) for _ in range(MANY))
    arrays = [(first.view(np.int32) ^ bits).view(np.float32) for bits in noise]
    tensors = blocks(*arrays)

    def equal() -> None:
        for array in arrays[1:]:
            np.array_equal(arrays[0], array)

    seconds = time_interleaved({"equal": equal, "all": partial(measure, tensors)}, rounds)
    title = f"all metrics, {MANY} x 10^6 float32 in one pass"
    peer = f"{MANY - 1} numpy.array_equal"
    return [ratio(title, peer, seconds["all"], seconds["equal"])]
