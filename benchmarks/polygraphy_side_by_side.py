"""Runs in Polygraphy's environment: both comparisons of the same arrays, taking turns."""

from __future__ import annotations

import json
import os
import sys
from contextlib import redirect_stdout
from functools import partial

from polygraphy.comparator import CompareFunc, IterationResult  # type: ignore[import-untyped]
from polygraphy.logger import G_LOGGER  # type: ignore[import-untyped]

from xbackend.numerics.metrics import measure, remaining_precision

from .distances import Array, blocks, pairs
from .timing import time_interleaved

ELEMENTS = 10**7
PAIRS = ("three last bits differ", "nothing in common")


def main(rounds: int) -> None:
    """Print the seconds of each contestant as JSON, for each pair of arrays."""
    made = pairs(ELEMENTS)
    print(json.dumps({name: compare(*made[name], rounds) for name in PAIRS}))


def compare(first: Array, second: Array, rounds: int) -> dict[str, list[float]]:
    """Let all contestants compare two arrays; what Polygraphy logs is thrown away."""
    tensors = blocks(first, second)
    results = IterationResult({"y": first}), IterationResult({"y": second})

    def as_it_is() -> None:
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
            CompareFunc.simple()(*results)

    def logging_off() -> None:
        with G_LOGGER.verbosity(G_LOGGER.CRITICAL):
            CompareFunc.simple()(*results)

    return time_interleaved(
        {
            "as it is": as_it_is,
            "logging off": logging_off,
            "all metrics": partial(measure, tensors),
            "remaining precision": partial(remaining_precision, tensors),
        },
        rounds,
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
