"""Samples that are made up from a seed, the same bits on every machine."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xbackend.errors import InputError
from xbackend.preparation.samples.kinds import RATE, UNIFORM, InputKind
from xbackend.worker.artifact import ValueInfo

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

RANDOM_SAMPLES = 3
"""How many samples are made up where none are given."""

MAX_RANDOM = 1 << 28
"""How many numbers are made up at most for an input: two GiB while they are made."""


@dataclass(frozen=True)
class MadeInput:
    """Several samples of one input."""

    array: Any
    rows: int
    """How many rows along axis 0 make one sample."""
    drop_axis: bool
    """Whether axis 0 only counts samples."""


def made_inputs(
    interface: Sequence[ValueInfo], kinds: Mapping[str, InputKind], seed: int = 0
) -> dict[str, MadeInput]:
    """Make samples for inputs that have no free extents.

    Floats are multiples of 2^-24, uniform in [0, 1); integers are uniform in 0..7, below what they
    index in, or what their kind says. Raises InputError where that would be too many numbers.
    """
    import numpy as np

    length = _longest(interface)
    found = {}
    for index, value in enumerate(interface):
        generator = np.random.Generator(np.random.PCG64([seed, index]))
        shape = tuple(extent or 0 for extent in value.shape or ())
        kind = kinds.get(value.name, UNIFORM)
        stacked = not shape or shape[0] == 0
        whole = (RANDOM_SAMPLES, *shape) if stacked else (RANDOM_SAMPLES * shape[0], *shape[1:])
        _check_size(value, whole)
        array = _array(generator, value, whole, kind, length)
        found[value.name] = MadeInput(array, 1 if stacked else shape[0], stacked)
    return found


def storage_dtype(value: ValueInfo) -> np.dtype[Any]:
    """Return the dtype in which a file holds an input: bfloat16 is rounded from float32 later."""
    import numpy as np

    try:
        held = np.dtype("float32" if value.dtype == "bfloat16" else value.dtype)
    except TypeError:
        held = np.dtype(object)
    if held.kind not in "biufc":
        raise InputError(
            f"The model's input '{value.name}' takes {value.dtype}, which is no format of numbers "
            "that NumPy has. Cut the model after what reads it."
        )
    return held


def _check_size(value: ValueInfo, whole: tuple[int, ...]) -> None:
    if math.prod(whole) > MAX_RANDOM:
        shape = ", ".join(map(str, value.shape or ()))
        raise InputError(
            f"The model's input '{value.name}' takes ({shape}), {math.prod(whole)} numbers "
            f"in {RANDOM_SAMPLES} samples, more than are made up. Give some with --inputs."
        )


def _longest(interface: Sequence[ValueInfo]) -> int:
    """Return what a length is: the second extent of the input that has most numbers."""
    shapes = [value.shape for value in interface if value.shape and len(value.shape) > 1]
    largest = max(shapes, key=lambda shape: math.prod(each or 0 for each in shape), default=(1, 1))
    return largest[1] or 1


def _array(
    generator: np.random.Generator,
    value: ValueInfo,
    shape: tuple[int, ...],
    kind: InputKind,
    length: int,
) -> Array:
    import numpy as np

    held = storage_dtype(value)
    constants = {"mask": 1, "state": 0, "length": length, "rate": RATE}
    if kind.word in constants:
        return np.full(shape, constants[kind.word], held)
    if kind.word == "positions":
        places = np.broadcast_to(np.arange(shape[-1], dtype=np.int64), shape)
        return np.ascontiguousarray(places % (kind.below or places.size + 1)).astype(held)
    if held.kind == "f":
        whole = generator.integers(0, 1 << 24, shape, dtype=np.int64)
        return (whole.astype(np.float64) / (1 << 24)).astype(held)
    if held.kind == "c":
        return generator.integers(0, 8, shape, dtype=np.int64).astype(held)
    below = {"indices": kind.below, "pixels": 256}.get(kind.word, 8)
    return generator.integers(0, 2 if held.kind == "b" else below, shape, dtype=np.int64).astype(
        held
    )
