"""Which layer of one file is which of another: by name, by values, or by a part of the name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xbackend.comparison.across.tensors import Array, Step, TensorReader
from xbackend.numerics.alignment import Perm, RecordedTensor, align, distance, perms
from xbackend.store.records import Record, Run

MOST_BYTES = 1 << 29
"""Bytes of layers that are held at once; of larger ones fewer samples decide."""
MOST_SAMPLES = 3
NAME, VALUES, PART = "name", "values", "part of the name"
"""How a layer was matched; `part of the name` only where values do not speak against the shape."""


@dataclass(frozen=True)
class LayerMatch:
    """A tensor of one run and what the first file calls it."""

    theirs: str
    ours: str
    perm: Perm | None
    """Order of axes that brings it into the first file's layout."""
    step: Step | None
    """What its integers stand for."""
    by: str
    """`name`, `values` or `part of the name`."""


@dataclass(frozen=True)
class Taps:
    """What runs of one file recorded: for each sample the tensors by name."""

    samples: tuple[Mapping[str, tuple[Record, Step | None]], ...]
    operators: Mapping[str, str]
    """Operator and, as the order of names, place in the graph."""


def taps_of(runs: Sequence[Run], reader: TensorReader, order: Sequence[Sequence[str]]) -> Taps:
    """Return the layers of some runs of one file; what the first recorded counts.

    `order` names for each run the samples in the order of the first file's.
    """
    samples: list[dict[str, tuple[Record, Step | None]]] = [{} for _ in order[0]]
    operators: dict[str, str] = {}
    for run, names in zip(runs, order, strict=True):
        steps = reader.steps(run)
        results = {str(result["input"]): result for result in run.results}
        outputs = {str(row["name"]) for result in run.results for row in result["outputs"]}
        for layer in run.layers:
            operators.setdefault(str(layer["tap"]), str(layer["operator"]))
        for place, name in enumerate(names):
            for row in results[name]["taps"]:
                tap = str(row["name"])
                if tap not in outputs and reader.has(row):
                    samples[place].setdefault(tap, (row, steps.get(tap)))
    return Taps(tuple(samples), operators)


def match_layers(ours: Taps, theirs: Taps, reader: TensorReader) -> tuple[LayerMatch, ...]:
    """Match each layer of theirs with one of ours at most, in the order of ours."""
    count = _sample_count(ours, theirs)
    one, other = (_recorded(taps, reader, count) for taps in (ours, theirs))
    found = _by_name(one, other)
    for quantized in (False, True):
        left = _without(other, {match.theirs for match in found})
        free = _without(one, {match.ours for match in found})
        found += [
            LayerMatch(each.flat.name, each.value.name, each.perm, None, VALUES)
            for each in align(left, free, quantized)
        ]
    left = _without(other, {match.theirs for match in found})
    found += _by_part(_without(one, {match.ours for match in found}), left)
    places = {tensor.name: tensor.position for tensor in one}
    steps = {name: step for sample in theirs.samples for name, (_, step) in sample.items()}
    return tuple(
        LayerMatch(each.theirs, each.ours, each.perm, steps[each.theirs], each.by)
        for each in sorted(found, key=lambda each: places[each.ours])
    )


def _without(tensors: Sequence[RecordedTensor], names: set[str]) -> list[RecordedTensor]:
    return [tensor for tensor in tensors if tensor.name not in names]


def _sample_count(*both: Taps) -> int:
    """Return how many samples fit into memory, one at least."""
    size = sum(
        int(np.prod(row["shape"], dtype=np.int64)) * 8
        for taps in both
        for row, _ in taps.samples[0].values()
    )
    return max(1, min(MOST_SAMPLES, len(both[0].samples), MOST_BYTES // max(size, 1)))


def _recorded(taps: Taps, reader: TensorReader, count: int) -> list[RecordedTensor]:
    """Return the layers that all samples have, as reals, in the order of the graph."""
    samples = taps.samples[:count]
    order = {name: place for place, name in enumerate(taps.operators)}
    names = [name for name in samples[0] if all(name in sample for sample in samples)]
    names.sort(key=lambda name: order.get(name, len(order)))
    return [
        RecordedTensor(
            name=name,
            operator=taps.operators.get(name, ""),
            position=place,
            arrays=tuple(reader.reals(*sample[name]) for sample in samples),
        )
        for place, name in enumerate(names)
    ]


def _by_name(ours: Sequence[RecordedTensor], theirs: Sequence[RecordedTensor]) -> list[LayerMatch]:
    """Match what has one name and, in some layout, one shape."""
    known = {tensor.name: tensor for tensor in ours}
    pairs = [(tensor, known[tensor.name]) for tensor in theirs if tensor.name in known]
    return [match for pair in pairs for match in _fit(*pair, NAME)]


def _fit(theirs: RecordedTensor, ours: RecordedTensor, by: str) -> list[LayerMatch]:
    """Return the match in the layout in which both are nearest; none where no layout fits."""
    orders = list(perms(theirs.shape, ours.shape))
    if not orders:
        return []
    best = min(orders, key=lambda perm: distance(theirs.arrays, ours.arrays, perm, True))
    return [LayerMatch(theirs.name, ours.name, best, None, by)]


def _by_part(ours: Sequence[RecordedTensor], theirs: Sequence[RecordedTensor]) -> list[LayerMatch]:
    """Match what no values do, where one part of a name is the other's whole name.

    Such as `relu1` and `net/relu1_1/Relu`; only where that is one tensor alone on each side, and
    both are of one operator.
    """
    candidates: dict[str, list[RecordedTensor]] = {}
    for tensor in theirs:
        named = [each for each in ours if _is_part(each.name, tensor.name)]
        named = [each for each in named if _same_operator(each, tensor)]
        if len(named) == 1:
            candidates.setdefault(named[0].name, []).append(tensor)
    known = {tensor.name: tensor for tensor in ours}
    return [
        match
        for name, tensors in candidates.items()
        if len(tensors) == 1
        for match in _fit(tensors[0], known[name], PART)
    ]


def _same_operator(one: RecordedTensor, other: RecordedTensor) -> bool:
    return not one.operator or not other.operator or one.operator == other.operator


def _is_part(ours: str, theirs: str) -> bool:
    """Tell whether a part of a joined name is another's name, but for a number behind it.

    >>> _is_part("relu1", "net/relu1_1/Relu;net/conv1"), _is_part("relu1", "net/relu12")
    (True, False)
    """
    first = theirs.partition(";")[0]
    parts = [part.removesuffix(":0") for part in re.split(r"[/.]", first)]
    return any(re.fullmatch(rf"{re.escape(ours)}(_\d+)?", part) for part in parts)


def orders_of_axes(theirs: Array, ours: Array) -> Perm | bool | None:
    """Return the order of axes in which two arrays have the same bits; False where none does."""
    for perm in perms(theirs.shape, ours.shape):
        turned: Any = theirs if perm is None else theirs.transpose(perm)
        if np.ascontiguousarray(turned).tobytes() == np.ascontiguousarray(ours).tobytes():
            return perm
    return False
