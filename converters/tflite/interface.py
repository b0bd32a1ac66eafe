"""Pairs the inputs and outputs of a flat graph with those of the ONNX graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, permutations
from pathlib import Path
from typing import Any

import numpy as np

from xbackend.errors import ConversionError, InputError
from xbackend.numerics.alignment import Array, Perm, distance, perms
from xbackend.worker.artifact import ValueInfo

MAX_ORDERS = 24
"""How many orders of inputs or outputs are tried: all, for up to four."""

SAMPLES = 2
"""On how many inputs the graphs are compared."""


@dataclass(frozen=True)
class Port:
    """An input or output of both graphs."""

    index: int
    """The tensor's number in the flat graph."""
    value: ValueInfo
    """The ONNX value, with a dtype that is the flat graph's."""
    perm: Perm | None
    """Transposition from the flat tensor to the value."""
    shape: tuple[int, ...]
    """The value's shape as the flat graph stands, without free extents."""


def own_ports(details: Sequence[dict[str, Any]], names: Sequence[str]) -> list[Port]:
    """Return the flat graph's own interface, for a model without an ONNX graph."""
    return [
        Port(d["index"], ValueInfo(name, _dtype(d), _signature(d)), None, _shape(d))
        for d, name in zip(details, names, strict=True)
    ]


def input_orders(
    values: Sequence[ValueInfo], details: Sequence[dict[str, Any]], path: Path
) -> list[list[Port]]:
    """Return the ways to pair inputs that their shapes allow, the likeliest first.

    That is by name where the names agree, then by place. Raises ConversionError if there is none.
    """
    if len(values) != len(details):
        raise ConversionError(
            f"{path} has {len(details)} inputs and its ONNX graph {len(values)}: they are not "
            "the same model."
        )
    by_name = {plain_name(d["name"]): d for d in details}
    orders = [list(order) for order in islice(permutations(details), MAX_ORDERS)]
    if all(value.name in by_name for value in values):
        orders.insert(0, [by_name[value.name] for value in values])
    found = [ports for order in orders if (ports := _ports(values, order)) is not None]
    if not found:
        raise ConversionError(
            f"The inputs of {path}, {_shapes(details)}, are not those of its ONNX graph, "
            f"{', '.join(f'{v.name} {v.shape}' for v in values)}."
        )
    return found


def output_ports(
    values: Sequence[ValueInfo],
    details: Sequence[dict[str, Any]],
    flat: Mapping[int, Sequence[Array]],
    expected: Mapping[str, Sequence[Array]],
    quantized: bool,
) -> tuple[list[Port], list[float]]:
    """Return the pairing of outputs that computes the same, and how far each is apart.

    `flat` and `expected` hold each graph's outputs on every input. Without `expected`, the
    outputs are paired by place and nothing is known of the distance (NaN).
    """
    best: tuple[list[Port], list[float]] = ([], [float("inf")])
    for order in islice(permutations(details), MAX_ORDERS):
        ports = _ports(values, list(order))
        if ports is None:
            continue
        if not expected:
            return ports, [float("nan")] * len(ports)
        far = [_distance(port, flat[port.index], expected, quantized) for port in ports]
        if max(far) < 0.5 * max(best[1]):
            best = ports, far
    return best


def _distance(
    port: Port,
    flat: Sequence[Array],
    expected: Mapping[str, Sequence[Array]],
    quantized: bool,
) -> float:
    """Return how far an output is apart; 0 for one that no node computes, such as an input."""
    value = expected.get(port.value.name)
    return 0.0 if value is None else distance(flat, value, port.perm, quantized)


def feeds(ports: Sequence[Port], path: Path | None, noise: bool) -> list[dict[str, Array]]:
    """Return the inputs to compare on, by name and in ONNX layout.

    Given samples come first, but for those with NaN or infinity, which tell nothing. With `noise`,
    or without samples, the last is uniform noise over the samples' range, which tells values apart
    that one sample does not. Raises InputError.
    """
    given = {port.value.name: _samples(port, ports, path) for port in ports}
    count = min((len(rows) for rows in given.values()), default=0)
    used = min(count, SAMPLES - 1 if noise else SAMPLES)
    samples = [{name: rows[index] for name, rows in given.items()} for index in range(used)]
    trials = [sample for sample in samples if all(map(_is_finite, sample.values()))]
    if noise or not trials:
        noises = [_noise(port, given[port.value.name], seed) for seed, port in enumerate(ports)]
        trials.append(dict(zip(given, noises, strict=True)))
    return trials


def _is_finite(array: Array) -> bool:
    return array.dtype.kind not in "fc" or bool(np.isfinite(array).all())


def to_flat(port: Port, array: Array) -> Array:
    """Return an array in the flat graph's layout."""
    return array if port.perm is None else array.transpose(np.argsort(port.perm))


def plain_name(name: str) -> str:
    """Return an input's name without what TensorFlow adds to it.

    >>> plain_name("serving_default_image:0")
    'image'
    """
    return name.removeprefix("serving_default_").partition(":")[0]


def _ports(values: Sequence[ValueInfo], details: Sequence[dict[str, Any]]) -> list[Port] | None:
    """Pair values and tensors one by one; None where a shape does not fit."""
    if len(values) != len(details):
        return None
    ports = [_port(value, detail) for value, detail in zip(values, details, strict=True)]
    return None if None in ports else [port for port in ports if port is not None]


def _port(value: ValueInfo, detail: dict[str, Any]) -> Port | None:
    source = _shape(detail)
    shape = value.shape if value.shape is not None else source
    if len(shape) != len(source):
        return None
    for perm in (None, *_turns(source)):
        moved = source if perm is None else tuple(source[axis] for axis in perm)
        if all(want in (None, have) for want, have in zip(shape, moved, strict=True)):
            return Port(detail["index"], _typed(value, detail), perm, moved)
    return None


def _turns(shape: tuple[int, ...]) -> list[Perm]:
    """Return the orders of axes between channels first and last."""
    marked = tuple(range(len(shape)))
    first = (0, *marked[-1:], *marked[1:-1])
    last = (0, *marked[2:], *marked[1:2])
    return [p for t in (first, last) for p in perms(marked, t) if p is not None]


def _typed(value: ValueInfo, detail: dict[str, Any]) -> ValueInfo:
    return ValueInfo(value.name, _dtype(detail), value.shape)


def _dtype(detail: dict[str, Any]) -> str:
    return str(np.dtype(detail["dtype"]).name)


def _shape(detail: dict[str, Any]) -> tuple[int, ...]:
    return tuple(int(extent) for extent in detail["shape"])


def _signature(detail: dict[str, Any]) -> tuple[int | None, ...]:
    return tuple(None if extent < 0 else int(extent) for extent in detail["shape_signature"])


def _shapes(details: Sequence[dict[str, Any]]) -> str:
    return ", ".join(f"{d['name']} {_shape(d)}" for d in details)


def _samples(port: Port, ports: Sequence[Port], path: Path | None) -> list[Array]:
    """Return the given samples of one input. Raises InputError where they do not fit it."""
    if path is None:
        return []
    with np.load(path, allow_pickle=False) as archive:
        held = [name for name in archive.files if name in {p.value.name for p in ports}]
        if port.value.name not in held and not (len(ports) == len(archive.files) == 1):
            raise InputError(f"The sample inputs hold no array '{port.value.name}'.")
        array = archive[port.value.name if held else archive.files[0]]
    rows = array if array.ndim > len(port.shape) else _grouped(array, port.shape)
    samples = [row for row in rows[:SAMPLES] if row.shape == port.shape]
    if not samples:
        raise InputError(
            f"The samples of input '{port.value.name}' have the shape {array.shape}, which "
            f"does not give {port.shape}."
        )
    return samples


def _grouped(array: Array, shape: tuple[int, ...]) -> Array:
    """Cut axis 0 into samples of as many rows as the model takes at a time."""
    rows = shape[0] if shape else 1
    count = len(array) // rows if rows and array.ndim else 0
    return array[: count * rows].reshape(count, rows, *array.shape[1:])


def _noise(port: Port, samples: Sequence[Array], seed: int) -> Array:
    """Return reals within the samples' range, the same each time; for integers, a sample."""
    generator = np.random.Generator(np.random.PCG64(seed))
    dtype = np.dtype(port.value.dtype)
    if dtype.kind != "f":
        return samples[0] if samples else generator.integers(0, 2, port.shape).astype(dtype)
    low = min((float(np.nanmin(sample)) for sample in samples), default=0.0)
    high = max((float(np.nanmax(sample)) for sample in samples), default=1.0)
    if not np.isfinite([low, high]).all() or low == high:
        low, high = 0.0, 1.0
    return generator.uniform(low, high, port.shape).astype(dtype)
