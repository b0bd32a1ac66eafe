"""Runs in Polygraphy's environment: both comparisons of the same arrays, taking turns."""

from __future__ import annotations

import json
import os
import sys
from contextlib import redirect_stdout
from functools import partial

from polygraphy.comparator import CompareFunc, IterationResult  # type: ignore[import-untyped]
from polygraphy.logger import G_LOGGER  # type: ignore[import-untyped]

from xbackend.differ import measure, remaining_precision

from .distances import blocks, pairs
from .timing import take_turns

ELEMENTS = 10**7


def main(rounds: int) -> None:
    """Print the seconds of each contestant as JSON; what Polygraphy logs is thrown away."""
    first, second = pairs(ELEMENTS)["three last bits differ"]
    tensors = blocks(first, second)
    results = IterationResult({"y": first}), IterationResult({"y": second})

    def told() -> None:
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
            CompareFunc.simple()(*results)

    def quiet() -> None:
        with G_LOGGER.verbosity(G_LOGGER.CRITICAL):
            CompareFunc.simple()(*results)

    seconds = take_turns(
        {
            "told": told,
            "quiet": quiet,
            "all": partial(measure, tensors),
            "bits": partial(remaining_precision, tensors),
        },
        rounds,
    )
    print(json.dumps(seconds))


if __name__ == "__main__":
    main(int(sys.argv[1]))
