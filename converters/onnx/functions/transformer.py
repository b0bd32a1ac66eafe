"""Operators of com.microsoft that optimisers of transformers write, in ONNX's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .body import NotSpelled

if TYPE_CHECKING:
    from .body import Body

MASKED = -10000.0
"""What ONNX Runtime's Attention adds where nothing is to be seen, unless it is told otherwise."""


def fused_matmul(body: Body) -> None:
    """FusedMatMul: alpha times a product whose factors may be transposed."""
    if body.attribute("transBatchA", 0) or body.attribute("transBatchB", 0):
        raise NotSpelled("Batches are transposed, too.")
    a, b = (
        _turned(body, body.input(place)) if body.attribute(key, 0) else body.input(place)
        for place, key in enumerate(("transA", "transB"))
    )
    alpha = body.attribute("alpha", 1.0)
    if alpha == 1.0:
        body.add("MatMul", a, b, out=0)
        return
    factor = body.constant(alpha, body.dtype(body.input(0)))
    body.add("Mul", body.add("MatMul", a, b), factor, out=0)


def _turned(body: Body, name: str) -> str:
    rank = len(body.shape(name))
    return body.add("Transpose", name, perm=[*range(rank - 2), rank - 1, rank - 2])


def gelu(body: Body) -> None:
    """Gelu, exact, of a sum with a bias where there is one: BiasGelu."""
    x = body.input(0)
    x = body.add("Add", x, body.input(1)) if body.input(1) else x
    body.add("Gelu", x, out=0)


def fast_gelu(body: Body) -> None:
    """FastGelu: by tanh, of a sum with a bias where there is one."""
    x = body.input(0)
    x = body.add("Add", x, body.input(1)) if body.input(1) else x
    body.add("Gelu", x, approximate="tanh", out=0)


def quick_gelu(body: Body) -> None:
    """QuickGelu: x times the logistic function of alpha x."""
    x = body.input(0)
    scaled = body.add("Mul", x, body.constant(body.attribute("alpha", 1.702), body.dtype(x)))
    body.add("Mul", x, body.add("Sigmoid", scaled), out=0)


def skip_layer_normalization(body: Body) -> None:
    """SkipLayerNormalization: input, skip, gamma, beta, bias."""
    total = _skipped(body, 4)
    scale = [body.input(2)] + [body.input(3)] * bool(body.input(3))
    epsilon = body.attribute("epsilon", 1e-12)
    if body.wants(1) or body.wants(2):
        raise NotSpelled("Mean and deviation are wanted.")
    body.add("LayerNormalization", total, *scale, epsilon=epsilon, axis=-1, out=0)


def skip_simplified(body: Body) -> None:
    """SkipSimplifiedLayerNormalization: input, skip, gamma, bias."""
    _rms(body, _skipped(body, 3), body.input(2), body.attribute("epsilon", 1e-12))


def simplified(body: Body) -> None:
    """SimplifiedLayerNormalization over the last axis: input, scale."""
    rank = len(body.shape(body.input(0)))
    if body.attribute("axis", -1) not in (-1, rank - 1):
        raise NotSpelled("It goes over several axes.")
    _rms(body, body.input(0), body.input(1), body.attribute("epsilon", 1e-5))


def _skipped(body: Body, bias: int) -> str:
    """Return the sum of input, skip and bias, which is an output too where it is wanted."""
    total = body.add("Add", body.input(0), body.input(1))
    total = body.add("Add", total, body.input(bias)) if body.input(bias) else total
    body.give(3, total)
    return total


def _rms(body: Body, x: str, scale: str, epsilon: float) -> None:
    if body.wants(1) or body.wants(2):
        raise NotSpelled("The deviation is wanted.")
    square = body.add("ReduceMean", body.add("Mul", x, x), body.integers(-1), keepdims=1)
    root = body.add("Sqrt", body.add("Add", square, body.constant(epsilon, body.dtype(x))))
    body.add("Mul", body.add("Div", x, root), scale, out=0)


def rotary_embedding(body: Body) -> None:
    """RotaryEmbedding: input, positions or the first of them, caches of cosines and sines."""
    if body.attribute("is_packed_batching", 0) or body.attribute("scale", 1.0) != 1.0:
        raise NotSpelled("Batches are packed, or positions are scaled.")
    x, positions = body.input(0), body.input(1)
    half = body.extent(body.input(2), 1)
    heads, dims = body.attribute("num_heads", 0), len(body.shape(x))
    rotary = body.attribute("rotary_embedding_dim", 0)
    if dims == 4:
        x = body.add("Transpose", x, perm=[0, 2, 1, 3])
    else:
        size = [heads, -1] if heads else [-1, 2 * half]
        x = body.add("Reshape", x, body.integers(0, 0, *size))
    if len(body.shape(positions)) == 1:
        positions = _from_offset(body, x, positions)
    interleaved = bool(body.attribute("interleaved", 0))
    cosines, sines = (body.input(2), body.input(3))
    turned = rotated(body, x, positions, (cosines, sines), half, interleaved, bool(rotary))
    if dims == 4:
        body.add("Transpose", turned, perm=[0, 2, 1, 3], out=0)
    else:
        body.add("Reshape", turned, body.integers(0, 0, -1), out=0)


def _from_offset(body: Body, x: str, first: str) -> str:
    """Return positions counted from the first, in one row for all of the batch."""
    steps = body.add("Squeeze", body.add("Shape", x, start=1, end=2), body.integers(0))
    count = body.add("Range", body.constant(0, "int64"), steps, body.constant(1, "int64"))
    return body.add("Unsqueeze", body.add("Add", count, first), body.integers(0))


def rotated(
    body: Body,
    x: str,
    positions: str,
    caches: tuple[str, str],
    half: int,
    interleaved: bool,
    partly: bool,
) -> str:
    """Turn pairs of [batch, steps, heads, size] by the angles of their positions."""
    wide = [
        body.add("Unsqueeze", body.add("Gather", cache, positions, axis=0), body.integers(2))
        for cache in caches
    ]
    rest = ""
    if partly:
        ends = body.constant([2 * half], "int64"), body.constant([1 << 40], "int64")
        rest = body.add("Slice", x, ends[0], ends[1], body.integers(-1))
        x = body.add("Slice", x, body.integers(0), ends[0], body.integers(-1))
    if interleaved:
        pairs = body.add("Reshape", x, body.integers(0, 0, 0, half, 2))
        split = body.add_several("Split", pairs, count=2, axis=-1, num_outputs=2)
        left, right = (body.add("Squeeze", each, body.integers(-1)) for each in split)
    else:
        left, right = body.add_several("Split", x, count=2, axis=-1, num_outputs=2)
    cosine, sine = wide
    real = body.add("Sub", body.add("Mul", left, cosine), body.add("Mul", right, sine))
    other = body.add("Add", body.add("Mul", right, cosine), body.add("Mul", left, sine))
    if interleaved:
        parts = [body.add("Unsqueeze", each, body.integers(-1)) for each in (real, other)]
        joined = body.add(
            "Reshape", body.add("Concat", *parts, axis=-1), body.integers(0, 0, 0, -1)
        )
    else:
        joined = body.add("Concat", real, other, axis=-1)
    return body.add("Concat", joined, rest, axis=-1) if rest else joined


def attention(body: Body) -> None:
    """Attention: input, weights, bias, mask, past, attention bias; Q, K and V by one product."""
    if body.input(4) or body.wants(1) or body.attribute("do_rotary", 0):
        raise NotSpelled("It has a past, or turns its queries.")
    if body.attribute("qkv_hidden_sizes"):
        raise NotSpelled("Queries, keys and values differ in size.")
    heads = body.attribute("num_heads")
    total = body.add("MatMul", body.input(0), body.input(1))
    total = body.add("Add", total, body.input(2)) if body.input(2) else total
    q, k, v = (
        _by_heads(body, part, heads)
        for part in body.add_several("Split", total, count=3, axis=-1, num_outputs=3)
    )
    size = body.extent(body.input(1), 1) // 3 // heads
    biases = [_mask(body, body.input(3), k)] if body.input(3) else []
    if body.attribute("unidirectional", 0):
        biases.append(_causal(body, q, k))
    if body.input(5):
        biases.append(body.input(5))
    scale = body.attribute("scale", 0.0) or 1.0 / float(np.sqrt(size))
    _give_attention(body, (q, k, v), scale, biases)


def multi_head_attention(body: Body) -> None:
    """MultiHeadAttention of three inputs [batch, steps, hidden], a bias of all, attention bias."""
    if body.input(4) or body.input(6) or body.wants(1) or not body.input(2):
        raise NotSpelled("It has a past, a padding mask, or packed inputs.")
    if any(len(body.shape(body.input(place))) != 3 for place in range(3)):
        raise NotSpelled("Keys or values come by heads.")
    heads, parts = body.attribute("num_heads"), [body.input(place) for place in range(3)]
    if body.input(3):
        biases = body.add_several("Split", body.input(3), count=3, axis=0, num_outputs=3)
        parts = [body.add("Add", part, bias) for part, bias in zip(parts, biases, strict=True)]
    size = body.extent(body.input(0), 2) // heads
    q, k, v = (_by_heads(body, part, heads) for part in parts)
    more = [body.input(5)] if body.input(5) else []
    if body.attribute("unidirectional", 0):
        more.append(_causal(body, q, k))
    scale = body.attribute("scale", 0.0) or 1.0 / float(np.sqrt(size))
    _give_attention(body, (q, k, v), scale, more)


def _by_heads(body: Body, x: str, heads: int) -> str:
    """Lay [batch, steps, hidden] out as [batch, heads, steps, size]."""
    wide = body.add("Reshape", x, body.integers(0, 0, heads, -1))
    return body.add("Transpose", wide, perm=[0, 2, 1, 3])


def _give_attention(
    body: Body, parts: tuple[str, str, str], scale: float, biases: list[str]
) -> None:
    q, k, v = parts
    dtype = body.dtype(body.input(0))
    scores = body.add("MatMul", q, body.add("Transpose", k, perm=[0, 1, 3, 2]))
    scores = body.add("Mul", scores, body.constant(scale, dtype))
    for bias in biases:
        scores = body.add("Add", scores, bias)
    seen = body.add("MatMul", body.add("Softmax", scores, axis=-1), v)
    turned = body.add("Transpose", seen, perm=[0, 2, 1, 3])
    body.add("Reshape", turned, body.integers(0, 0, -1), out=0)


def _mask(body: Body, mask: str, keys: str) -> str:
    """Return what is added for a mask: of lengths, of keys, or of queries and keys."""
    dtype = body.dtype(body.input(0))
    rank = len(body.shape(mask))
    if rank == 1:
        steps = body.add("Squeeze", body.add("Shape", keys, start=2, end=3), body.integers(0))
        count = body.add("Range", body.constant(0, "int32"), body.add("Cast", steps, to=6),
                         body.constant(1, "int32"))  # fmt: skip
        mask = body.add("Less", count, body.add("Unsqueeze", mask, body.integers(1)))
    elif rank > 3:
        raise NotSpelled("The mask has four axes.")
    kept = body.add("Cast", mask, to=1)
    kept = body.add("Cast", kept, to=10) if dtype == "float16" else kept
    hidden = body.add("Sub", body.constant(1.0, dtype), kept)
    value = body.attribute("mask_filter_value", MASKED)
    bias = body.add("Mul", hidden, body.constant(value, dtype))
    return body.add("Unsqueeze", bias, body.integers(1) if rank == 3 else body.integers(1, 2))


def _causal(body: Body, q: str, k: str) -> str:
    """Return what is added so that no query sees later keys."""
    dtype = body.dtype(body.input(0))
    ends = [body.add("Shape", each, start=2, end=3) for each in (q, k)]
    low = float(np.finfo(dtype).min) if dtype != "bfloat16" else -3.0e38
    whole = body.add("Expand", body.constant(low, dtype), body.add("Concat", *ends, axis=0))
    later = body.add("Sub", body.add("Sub", ends[1], ends[0]), body.constant([-1], "int64"))
    return body.add("Trilu", whole, body.add("Squeeze", later, body.integers(0)), upper=1)


def matmul_n_bits(body: Body) -> None:
    """MatMulNBits: a, packed weights by blocks, scales, zero points; then MatMul in floats."""
    bits, block = body.attribute("bits", 4), body.attribute("block_size")
    wide, rows = body.attribute("K"), body.attribute("N")
    if bits not in (4, 8) or body.input(4):
        raise NotSpelled("Only 4 and 8 bits in order are known.")
    dtype, blocks = body.dtype(body.input(0)), -(-wide // block)
    number = {"float32": 1, "float16": 10, "bfloat16": 16}[dtype]
    levels = _unpacked(body, body.input(1), bits, (rows, blocks, block))
    levels = body.add("Cast", levels, to=number)
    if body.input(3):
        zero = _zeros(body, body.input(3), bits, (rows, blocks), number)
    else:
        zero = body.constant(float(1 << (bits - 1)), dtype)
    scales = body.add("Reshape", body.input(2), body.integers(rows, blocks, 1))
    weight = body.add("Mul", body.add("Sub", levels, zero), scales)
    weight = body.add("Reshape", weight, body.integers(rows, blocks * block))
    if blocks * block > wide:
        weight = body.add("Slice", weight, body.integers(0), body.integers(wide), body.integers(1))
    turned = body.add("Transpose", weight, perm=[1, 0])
    result = body.add("MatMul", body.input(0), turned, out=None if body.input(5) else 0)
    if body.input(5):
        body.add("Add", result, body.input(5), out=0)


def _unpacked(body: Body, packed: str, bits: int, shape: tuple[int, ...]) -> str:
    """Return the levels of packed bytes, the lower half of a byte first."""
    if bits == 8:
        return body.add("Reshape", packed, body.integers(*shape))
    low = body.add("BitwiseAnd", packed, body.constant(15, "uint8"))
    high = body.add("BitShift", packed, body.constant(4, "uint8"), direction="RIGHT")
    parts = [body.add("Unsqueeze", each, body.integers(-1)) for each in (low, high)]
    return body.add("Reshape", body.add("Concat", *parts, axis=-1), body.integers(*shape))


def _zeros(body: Body, given: str, bits: int, shape: tuple[int, int], number: int) -> str:
    """Return the zero point of each block, packed by rows of whole bytes or as a float."""
    rows, blocks = shape
    if body.dtype(given) == "uint8":
        even = blocks + (blocks % 2 if bits == 4 else 0)
        given = _unpacked(body, given, bits, (rows, even))
        given = body.add("Slice", given, body.integers(0), body.integers(blocks), body.integers(1))
        given = body.add("Cast", given, to=number)
    return body.add("Reshape", given, body.integers(rows, blocks, 1))


FUNCTIONS = {
    "SimplifiedLayerNormalization": simplified,
    "com.microsoft.Attention": attention,
    "com.microsoft.BiasGelu": gelu,
    "com.microsoft.FastGelu": fast_gelu,
    "com.microsoft.FusedMatMul": fused_matmul,
    "com.microsoft.Gelu": gelu,
    "com.microsoft.MatMulNBits": matmul_n_bits,
    "com.microsoft.MultiHeadAttention": multi_head_attention,
    "com.microsoft.QuickGelu": quick_gelu,
    "com.microsoft.RotaryEmbedding": rotary_embedding,
    "com.microsoft.SimplifiedLayerNormalization": simplified,
    "com.microsoft.SkipLayerNormalization": skip_layer_normalization,
    "com.microsoft.SkipSimplifiedLayerNormalization": skip_simplified,
}
