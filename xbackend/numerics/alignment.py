"""Which tensor of a flat graph is which value of the ONNX graph, told by what they compute.

Both graphs are run on the same inputs. A tensor and a value are the same if they agree in shape
and elements, up to the order of axes. Names only break ties: a name that says `Relu` was found on
the value before it, and fused layers carry several.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Perm = tuple[int, ...]

FLOAT_TOLERANCE = 1e-4
"""Largest difference of two elements, relative to the value's largest magnitude."""

QUANTIZED_TOLERANCE = 0.1
"""Root mean square of the differences, relative to that of the value: the noise of 8 bits."""

DATA_MOVEMENT_OPERATORS = frozenset(
    "Transpose Reshape Flatten Squeeze Unsqueeze Identity Dropout Cast QuantizeLinear "
    "DequantizeLinear RESHAPE TRANSPOSE SQUEEZE EXPAND_DIMS QUANTIZE DEQUANTIZE CAST".split()
)
"""Operators of both graphs that move or relabel elements, and so repeat another's values."""


@dataclass(frozen=True)
class RecordedTensor:
    """One tensor of either graph, and what it was on each of the inputs."""

    name: str
    operator: str
    position: int
    """Place in the order of computation."""
    arrays: tuple[Array, ...]
    """One for each input that was tried; quantized ones as the real numbers they stand for."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape, that of the first input's array."""
        return tuple(self.arrays[0].shape)

    @property
    def only_moves_data(self) -> bool:
        """Whether it only repeats another tensor's elements."""
        return self.operator in DATA_MOVEMENT_OPERATORS


@dataclass(frozen=True)
class Match:
    """A tensor of the flat graph and the ONNX value that it is."""

    flat: RecordedTensor
    value: RecordedTensor
    perm: Perm | None
    """Transposition from the flat tensor to the value; None where none is needed."""
    distance: float


def align(
    flat: Sequence[RecordedTensor], values: Sequence[RecordedTensor], quantized: bool
) -> list[Match]:
    """Match tensors with values, each at most once, in the order of the values.

    Of several values that fit equally well, a computed tensor takes the last one computed, since
    a flat graph fuses what follows; one that only moves elements takes the first that does too.
    """
    options = {id(tensor): _best(tensor, values, quantized) for tensor in flat}
    taken: set[int] = set()
    matches = []
    for tensor in _in_turn(flat, options):
        free = [match for match in options[id(tensor)] if id(match.value) not in taken]
        if free:
            chosen = max(free, key=_preference)
            taken.add(id(chosen.value))
            matches.append(chosen)
    return sorted(matches, key=lambda match: match.value.position)


def perms(source: Sequence[int], target: Sequence[int]) -> Iterable[Perm | None]:
    """Yield the orders of axes that turn one shape into another, channels last to first foremost.

    >>> list(perms((1, 8, 9, 3), (1, 3, 8, 9)))
    [(0, 3, 1, 2)]
    """
    rank = len(source)
    if rank > 2:
        last, middle = rank - 1, range(1, rank - 1)
        for perm in ((0, last, *middle), (0, *middle[1:], last, 1)):
            if tuple(source[axis] for axis in perm) == tuple(target):
                yield perm
    if tuple(source) == tuple(target):
        yield None


def distance(
    tensor: Sequence[Array], value: Sequence[Array], perm: Perm | None, quantized: bool
) -> float:
    """Return how far two tensors are apart over all inputs; infinite where they do not compare."""
    measure = _mean_distance if quantized else _largest_distance
    pairs = zip(tensor, value, strict=True)
    return max(measure(t if perm is None else t.transpose(perm), v) for t, v in pairs)


def _largest_distance(tensor: Array, value: Array) -> float:
    with np.errstate(all="ignore"):
        largest = float(np.max(np.abs(value), initial=0))
        difference = float(np.max(np.abs(tensor - value), initial=0))
    return _ratio(difference, largest)


def _mean_distance(tensor: Array, value: Array) -> float:
    with np.errstate(all="ignore"):
        difference = float(np.sqrt(np.mean(np.square(tensor - value, dtype=np.float64))))
        size = float(np.sqrt(np.mean(np.square(value, dtype=np.float64))))
    return _ratio(difference, size)


def _ratio(difference: float, size: float) -> float:
    if difference == 0:
        return 0.0
    ratio = difference / size if size else np.inf
    return float(ratio) if np.isfinite(ratio) else float("inf")


def _best(tensor: RecordedTensor, values: Sequence[RecordedTensor], quantized: bool) -> list[Match]:
    """Return the values that fit a tensor, but only those that fit as well as the best."""
    limit = QUANTIZED_TOLERANCE if quantized else FLOAT_TOLERANCE
    found = [match for value in values for match in _fits(tensor, value, quantized)]
    least = min((match.distance for match in found), default=np.inf)
    tie = least * 1.001 + 1e-9 if quantized else 4 * least + 2e-6
    return [match for match in found if match.distance <= min(limit, tie)]


def _fits(tensor: RecordedTensor, value: RecordedTensor, quantized: bool) -> Iterable[Match]:
    if not quantized and not _may_fit(tensor.arrays[0], value.arrays[0]):
        return
    for perm in perms(tensor.shape, value.shape):
        yield Match(tensor, value, perm, distance(tensor.arrays, value.arrays, perm, quantized))


def _may_fit(tensor: Array, value: Array) -> bool:
    """Tell quickly, whatever the order of axes, that two arrays cannot be the same."""
    if tensor.size != value.size or not tensor.size:
        return False
    with np.errstate(all="ignore"):
        high, low = float(np.max(value)), float(np.min(value))
        limit = FLOAT_TOLERANCE * max(abs(high), abs(low))
        return bool(abs(np.max(tensor) - high) <= limit and abs(np.min(tensor) - low) <= limit)


def _in_turn(
    flat: Sequence[RecordedTensor], options: dict[int, list[Match]]
) -> list[RecordedTensor]:
    """Order the tensors: named after a value they fit, then computed last to first, then moved."""
    named = [t for t in flat if any(_same_name(match) for match in options[id(t)])]
    rest = [t for t in flat if t not in named]
    computed = [t for t in reversed(rest) if not t.only_moves_data]
    return [*named, *computed, *(t for t in rest if t.only_moves_data)]


def _preference(match: Match) -> tuple[bool, bool, int]:
    same_kind = match.flat.only_moves_data == match.value.only_moves_data
    order = -match.value.position if match.flat.only_moves_data else match.value.position
    return _same_name(match), same_kind, order


def _same_name(match: Match) -> bool:
    """Tell whether the first of a tensor's joined names is the value's."""
    first = match.flat.name.partition(";")[0]
    return bool(first) and first == match.value.name.partition(";")[0].removesuffix(":0")
