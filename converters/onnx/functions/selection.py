"""Operators that pick and move elements, by others that do."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from .body import NotSpelled

if TYPE_CHECKING:
    from .body import Body

INT64, BOOL = 7, 9
"""ONNX's numbers of the formats."""


def scatter(body: Body) -> None:
    """Scatter, which is called ScatterElements since opset 11."""
    body.add("ScatterElements", *body.node.input, axis=body.attribute("axis", 0), out=0)


def compress(body: Body) -> None:
    """Compress: Gather of the places where the condition holds; of all elements without an axis."""
    axis, x = body.attribute("axis"), body.input(0)
    if axis is None:
        x, axis = body.add("Reshape", x, body.integers(-1)), 0
    places = body.add("NonZero", body.input(1))
    body.add("Gather", x, body.add("Squeeze", places, body.integers(0)), axis=axis, out=0)


def eye_like(body: Body) -> None:
    """EyeLike: ones where the column less the row is k."""
    x = body.input(0)
    down, across = (_counted(body, x, axis) for axis in (0, 1))
    row = body.add("Unsqueeze", down, body.integers(1))
    moved = body.add("Add", row, body.constant(body.attribute("k", 0), "int64"))
    same = body.add("Equal", moved, body.add("Unsqueeze", across, body.integers(0)))
    number = body.attribute("dtype")
    if number is None:
        number = body.context.types[x].tensor_type.elem_type if x in body.context.types else 1
    body.add("Cast", same, to=number, out=0)


def _counted(body: Body, x: str, axis: int) -> str:
    """Return 0, 1, 2 … along an axis of a value."""
    extent = body.add("Squeeze", body.add("Shape", x, start=axis, end=axis + 1), body.integers(0))
    return body.add("Range", body.constant(0, "int64"), extent, body.constant(1, "int64"))


def hardmax(body: Body) -> None:
    """Hardmax since opset 13: 1 at the first of the greatest, 0 elsewhere."""
    x, axis = body.input(0), body.attribute("axis", -1)
    place = body.add("ArgMax", x, axis=axis, keepdims=0)
    rank = len(body.shape(x))
    extent = body.add("Shape", x, start=axis % rank, end=axis % rank + 1)
    ends = body.constant([0.0, 1.0], body.dtype(x))
    body.add("OneHot", place, extent, ends, axis=axis, out=0)


def reverse_sequence(body: Body) -> None:
    """ReverseSequence: GatherElements of the places counted from each sequence's own end."""
    x, time = body.input(0), body.attribute("time_axis", 0)
    steps = body.add("Unsqueeze", _counted(body, x, time), body.integers(1))
    lengths = body.add("Unsqueeze", body.input(1), body.integers(0))
    back = body.add("Sub", body.add("Sub", lengths, body.constant(1, "int64")), steps)
    places = body.add("Where", body.add("Less", steps, lengths), back, steps)
    if time == 1:
        places = body.add("Transpose", places, perm=[1, 0])
    rank = len(body.shape(x))
    if rank > 2:
        places = body.add("Reshape", places, _padded_shape(body, places, rank))
        places = body.add("Expand", places, body.add("Shape", x))
    body.add("GatherElements", x, places, axis=time, out=0)


def _padded_shape(body: Body, value: str, rank: int) -> str:
    return body.add("Concat", body.add("Shape", value), body.integers(*[1] * (rank - 2)), axis=0)


def global_lp_pool(body: Body) -> None:
    """GlobalLpPool of p 1 or 2."""
    x = body.input(0)
    axes = body.integers(*range(2, len(body.shape(x))))
    p = body.attribute("p", 2)
    if p in (1, 2):
        body.add(f"ReduceL{p}", x, axes, out=0)
        return
    power = body.constant(float(p), body.dtype(x))
    total = body.add("ReduceSum", body.add("Pow", body.add("Abs", x), power), axes)
    body.add("Pow", total, body.constant(1.0 / p, body.dtype(x)), out=0)


def lp_pool(body: Body) -> None:
    """LpPool: the mean over each window of powers, padding among them, times their number."""
    x, p, kernel = body.input(0), body.attribute("p", 2), body.attribute("kernel_shape")
    dtype = body.dtype(x)
    if body.attribute("ceil_mode", 0):
        raise NotSpelled("Its last windows may reach beyond the padding.")
    size = body.add("Abs", x)
    powers = size if p == 1 else body.add("Pow", size, body.constant(float(p), dtype))
    keys = ("auto_pad", "dilations", "pads", "strides")
    kept = {key: body.attribute(key) for key in keys}
    mean = body.add("AveragePool", powers, kernel_shape=kernel, count_include_pad=1, **kept)
    total = body.add("Mul", mean, body.constant(float(prod(kernel)), dtype))
    if p == 1:
        body.give(0, total)
    elif p == 2:
        body.add("Sqrt", total, out=0)
    else:
        body.add("Pow", total, body.constant(1.0 / p, dtype), out=0)


FUNCTIONS = {
    "Compress": compress,
    "EyeLike": eye_like,
    "GlobalLpPool": global_lp_pool,
    "Hardmax": hardmax,
    "LpPool": lp_pool,
    "ReverseSequence": reverse_sequence,
    "Scatter": scatter,
}
