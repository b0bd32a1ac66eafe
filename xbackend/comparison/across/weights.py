"""Which weights of two files are the same bits, rounded, quantized, or other numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np

from xbackend.comparison.across.tensors import Array, TensorReader
from xbackend.store.records import Record, Run
from xbackend.worker.graph import Graph
from xbackend.worker.tensor import Tensor, cast, from_numpy

SAME, ROUNDED, QUANTIZED, OTHER = "same bits", "rounded", "quantized", "other numbers"
LEAST = 2
"""Numbers of a weight at least: single ones are settings, such as an epsilon."""
NEAR = 0.02
"""Largest difference of sorted numbers, over the largest number, of weights that may be one."""
SAME_WEIGHT = 0.2
"""Largest root mean square of the difference, over that of the weight, of `other numbers`."""
MOST_AXES = 5
ROUNDINGS = ("bfloat16", "float16")
"""Formats that a float32 may have been rounded to, the coarser first."""
INTEGERS = ("int8", "uint8", "int16", "int32")


@dataclass(frozen=True)
class WeightPair:
    """A weight of the first file, and what the other file holds for it."""

    name: str
    other: str
    kind: str
    """`same bits`, `rounded`, `quantized` or `other numbers`."""
    format: str
    """What it was rounded or quantized to; else its own format."""
    distance: float
    """Root mean square of the difference over that of the weight."""


@dataclass(frozen=True)
class WeightComparison:
    """The weights of two files."""

    one: str
    """Digest of the first file."""
    other: str
    pairs: tuple[WeightPair, ...]
    missing: tuple[str, ...]
    """Weights of the first file of which the other holds nothing alike."""
    extra: tuple[str, ...]
    """Weights of the other file that are none of the first's."""

    def of_kind(self, kind: str) -> tuple[WeightPair, ...]:
        """Return the pairs of a kind."""
        return tuple(pair for pair in self.pairs if pair.kind == kind)

    def to_dict(self) -> Record:
        """Return JSON values."""
        return {
            "one": self.one,
            "other": self.other,
            "pairs": [vars(pair) for pair in self.pairs],
            "missing": list(self.missing),
            "extra": list(self.extra),
        }


@dataclass(frozen=True)
class Weight:
    """A constant of a graph, as the reals that it stands for."""

    name: str
    array: Array
    format: str
    """That of its elements in the file."""
    step: Array | None = None
    """What one step of its integers stands for, of the array's shape or one number."""


def compare_weights(
    one: Run, other: Run, reader: TensorReader, siblings: Sequence[Run]
) -> WeightComparison | None:
    """Compare the weights of the files of two runs; None where the graph of one is not kept.

    Of a model whose own source ran, the graph of a sibling run is read.
    """
    graphs = [_graph(run, reader, siblings) for run in (one, other)]
    if graphs[0] is None or graphs[1] is None:
        return None
    ours, theirs = (weights_of(graph) for graph in graphs if graph is not None)
    pairs = pair_weights(ours, theirs)
    named, others = {pair.name for pair in pairs}, {pair.other for pair in pairs}
    return WeightComparison(
        one=str(one.row["model_digest"]),
        other=str(other.row["model_digest"]),
        pairs=tuple(pairs),
        missing=tuple(each.name for each in ours if each.name not in named),
        extra=tuple(each.name for each in theirs if each.name not in others),
    )


def _graph(run: Run, reader: TensorReader, siblings: Sequence[Run]) -> Graph | None:
    alike = [each for each in siblings if each.row["model_digest"] == run.row["model_digest"]]
    for each in (run, *alike):
        digest = str((each.row.get("artifact") or {}).get("digest"))
        found = reader.graph(digest) or reader.hub(digest, str(run.row["model_digest"]))
        if found is not None:
            return found
    return None


def weights_of(graph: Graph) -> list[Weight]:
    """Return the constants that hold weights, with what DequantizeLinear makes of integers."""
    found: dict[str, Weight] = {}
    for node in graph.nodes:
        if node.operator == "DequantizeLinear" and node.inputs[0] in graph.constants:
            weight = _dequantized(node.inputs, node.attributes, graph.constants)
            if weight is not None:
                found[weight.name] = weight
    steps = {
        name
        for node in graph.nodes
        if node.operator in ("QuantizeLinear", "DequantizeLinear")
        for name in node.inputs[1:]
    }
    for name, tensor in graph.constants.items():
        if (
            name not in found
            and name not in steps
            and tensor.dtype in ("float16", "bfloat16", "float32", "float64")
        ):
            array = cast(tensor, "float32").array if tensor.dtype == "bfloat16" else tensor.array
            found[name] = Weight(name, array, tensor.dtype)
    return [each for each in found.values() if each.array.size >= LEAST]


def _dequantized(
    inputs: Sequence[str], attributes: Mapping[str, Any], constants: Mapping[str, Tensor]
) -> Weight | None:
    """Return integers as the reals that they stand for; None where that is not constant."""
    integers, scale = constants[inputs[0]], constants.get(inputs[1])
    zero = constants.get(inputs[2]) if len(inputs) > 2 and inputs[2] else None
    if scale is None or integers.dtype not in INTEGERS:
        return None
    array, axis = integers.array.astype(np.float64), int(attributes.get("axis", 1))
    shape = [1] * array.ndim
    if scale.array.size > 1:
        shape[axis] = scale.array.size
    step = scale.array.astype(np.float64).reshape(shape)
    start = 0.0 if zero is None else zero.array.astype(np.float64).reshape(shape)
    real = ((array - start) * step).astype(np.float32)
    return Weight(inputs[0], real, integers.dtype, np.broadcast_to(step, array.shape))


def pair_weights(ours: Sequence[Weight], theirs: Sequence[Weight]) -> list[WeightPair]:
    """Pair weights by their numbers, whatever the order of their axes; each at most once."""
    left = {id(each): each for each in theirs}
    found: dict[str, WeightPair] = {}
    held: dict[str, list[Weight]] = {}
    for each in theirs:
        held.setdefault(_bits(each.array), []).append(each)
    for weight in ours:
        for order in _orders(weight.array):
            alike = [w for w in held.get(_bits(order), ()) if id(w) in left]
            if alike and alike[0].step is None:
                del left[id(alike[0])]
                found[weight.name] = WeightPair(
                    weight.name, alike[0].name, SAME, weight.format, 0.0
                )
                break
    rest = [weight for weight in ours if weight.name not in found]
    options = sorted(
        (pair for weight in rest for pair in _options(weight, left.values())),
        key=lambda each: each[0].distance,
    )
    for pair, other in options:
        if pair.name not in found and id(other) in left:
            del left[id(other)]
            found[pair.name] = pair
    return [found[weight.name] for weight in ours if weight.name in found]


def _bits(array: Array) -> str:
    data = np.ascontiguousarray(array)
    return f"{data.dtype.name} {hashlib.sha256(data.tobytes()).hexdigest()}"


def _orders(array: Array) -> Iterable[Array]:
    """Yield an array with its axes in each order, those of one element left out."""
    flat = array.squeeze()
    orders = permutations(range(flat.ndim)) if flat.ndim <= MOST_AXES else [tuple(range(flat.ndim))]
    return (flat.transpose(order) for order in orders)


def _options(weight: Weight, theirs: Iterable[Weight]) -> Iterable[tuple[WeightPair, Weight]]:
    """Yield the weights that may be this one, each in the order of axes that is nearest."""
    ours = np.sort(weight.array, axis=None).astype(np.float64)
    size = float(np.max(np.abs(ours), initial=0.0))
    for other in theirs:
        if other.array.size != weight.array.size or not np.isfinite(size) or not size:
            continue
        sorted_other = np.sort(other.array, axis=None).astype(np.float64)
        widest = 0.0 if other.step is None else float(np.max(other.step))
        if np.max(np.abs(ours - sorted_other)) <= max(NEAR * size, widest):
            pair = _nearest(weight, other)
            if pair.distance <= SAME_WEIGHT or pair.kind == QUANTIZED:
                yield pair, other


def _nearest(weight: Weight, other: Weight) -> WeightPair:
    """Return the pair in the order of axes with the least difference."""
    target = other.array.reshape(-1).astype(np.float64)
    norm = float(np.sqrt(np.mean(np.square(weight.array, dtype=np.float64))))
    best, least = weight.array, np.inf
    for order in _orders(weight.array):
        flat = order.reshape(-1)
        far = float(np.sqrt(np.mean(np.square(flat - target))))
        if far < least:
            best, least = flat, far
    kind, form = _kind(best.reshape(-1), other)
    return WeightPair(weight.name, other.name, kind, form, least / norm if norm else np.inf)


def _kind(ours: Array, other: Weight) -> tuple[str, str]:
    """Return what was done to a weight, and the format that it was brought into."""
    theirs = other.array.reshape(-1)
    if other.step is not None:
        half = other.step.reshape(-1) * (0.5 + 1e-6)
        within = np.abs(ours.astype(np.float64) - theirs) <= half
        return (QUANTIZED if bool(np.mean(within) > 0.99) else OTHER), other.format
    for form in ROUNDINGS:
        rounded = cast(cast(from_numpy(ours), form), ours.dtype.name).array
        if rounded.tobytes() == theirs.astype(ours.dtype).tobytes():
            return ROUNDED, form
    if ours.dtype != theirs.dtype and ours.astype(theirs.dtype).tobytes() == theirs.tobytes():
        return ROUNDED, theirs.dtype.name
    return OTHER, other.format
