"""GroupQueryAttention: attention with fewer heads of keys than of queries, and a past."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .body import NotSpelled
from .transformer import rotated

if TYPE_CHECKING:
    from .body import Body


def group_query_attention(body: Body) -> None:
    """GroupQueryAttention of unpacked inputs, whose past is as long as its tensor says.

    So sequences of one batch are of one length, and no buffer is longer than what it holds.
    """
    _refuse(body)
    heads, groups = body.attribute("num_heads"), body.attribute("kv_num_heads")
    size = body.extent(body.input(0), 2) // heads
    q, k, v = (
        body.add("Reshape", body.input(place), body.integers(0, 0, count, size))
        for place, count in enumerate((heads, groups, groups))
    )
    before = _past_length(body)
    if body.attribute("do_rotary", 0):
        q, k = (_turned(body, each, before, size) for each in (q, k))
    q, k, v = (body.add("Transpose", each, perm=[0, 2, 1, 3]) for each in (q, k, v))
    if body.input(3):
        k, v = (
            body.add("Concat", body.input(3 + place), each, axis=2)
            for place, each in enumerate((k, v))
        )
    body.give(1, k)
    body.give(2, v)
    if groups != heads:
        k, v = (_repeated(body, each, heads, heads // groups, size) for each in (k, v))
    scale = body.attribute("scale", 0.0) or 1.0 / float(np.sqrt(size))
    _attend(body, (q, k, v), scale, before)


def _refuse(body: Body) -> None:
    if not body.input(1) or any(body.input(place) for place in (9, 10, 11)):
        raise NotSpelled("Its inputs are packed, or it has positions, a bias or a sink.")
    given = ("smooth_softmax", "qk_output", "k_quant_type", "v_quant_type")
    if any(body.attribute(key, 0) not in (0, "NONE") for key in given):
        raise NotSpelled("It has a softmax, an output or a past of another form.")


def _past_length(body: Body) -> str:
    """Return how many keys there are already."""
    if not body.input(3):
        return body.constant(0, "int64")
    return body.add("Squeeze", body.add("Shape", body.input(3), start=2, end=3), body.integers(0))


def _counted(body: Body, value: str, axis: int) -> str:
    extent = body.add(
        "Squeeze", body.add("Shape", value, start=axis, end=axis + 1), body.integers(0)
    )
    return body.add("Range", body.constant(0, "int64"), extent, body.constant(1, "int64"))


def _turned(body: Body, x: str, before: str, size: int) -> str:
    """Turn pairs by their positions, which begin after the past."""
    half = body.extent(body.input(7), 1)
    positions = body.add(
        "Unsqueeze", body.add("Add", _counted(body, x, 1), before), body.integers(0)
    )
    interleaved = bool(body.attribute("rotary_interleaved", 0))
    caches = (body.input(7), body.input(8))
    return rotated(body, x, positions, caches, half, interleaved, 2 * half < size)


def _repeated(body: Body, x: str, heads: int, times: int, size: int) -> str:
    """Give each head of queries its own copy of the keys of its group."""
    wide = body.add("Unsqueeze", x, body.integers(2))
    shape = body.integers(1, 1, times, 1, 1)
    repeated = body.add("Expand", wide, shape)
    return body.add("Reshape", repeated, body.integers(0, heads, -1, size))


def _attend(body: Body, parts: tuple[str, str, str], scale: float, before: str) -> None:
    q, k, v = parts
    dtype = body.dtype(body.input(0))
    scores = body.add("MatMul", q, body.add("Transpose", k, perm=[0, 1, 3, 2]))
    scores = body.add("Mul", scores, body.constant(scale, dtype))
    cap = body.attribute("softcap", 0.0)
    if cap:
        limit = body.constant(cap, dtype)
        scores = body.add("Mul", body.add("Tanh", body.add("Div", scores, limit)), limit)
    place = body.add("Unsqueeze", body.add("Add", _counted(body, q, 2), before), body.integers(1))
    keys = body.add("Unsqueeze", _counted(body, k, 2), body.integers(0))
    seen = body.add("LessOrEqual", keys, place)
    window = body.attribute("local_window_size", -1)
    if window > 0:
        first = body.add("Sub", place, body.constant(window, "int64"))
        seen = body.add("And", seen, body.add("Greater", keys, first))
    low = float(np.finfo(dtype).min) if dtype != "bfloat16" else -3.0e38
    scores = body.add("Where", seen, scores, body.constant(low, dtype))
    made = body.add("MatMul", body.add("Softmax", scores, axis=-1), v)
    turned = body.add("Transpose", made, perm=[0, 2, 1, 3])
    body.add("Reshape", turned, body.integers(0, 0, -1), out=0)


FUNCTIONS = {"com.microsoft.GroupQueryAttention": group_query_attention}
