"""Rounding is never taken for a fault: random layers, summed in random orders, with NumPy."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from xbackend.numerics.bounds.bound import Layer
from xbackend.numerics.bounds.judge import judge
from xbackend.numerics.bounds.judgement import BEYOND, Judgement
from xbackend.numerics.bounds.rules import rule_for

Array = np.ndarray[Any, Any]
Random = np.random.Generator
LAYERS = int(os.environ.get("XBACKEND_RANDOM_LAYERS", "3000"))
"""How many layers are drawn; a hundred thousand take some minutes."""
F32 = np.float32
NARROW = {"float32": np.float32, "float16": np.float16}


def in_order(terms: Array, random: Random) -> Array:
    """Add up the last axis in the terms' own format, in one of the orders that kernels take."""
    way = random.integers(5)
    if way == 0:
        return np.add.accumulate(terms, axis=-1)[..., -1]
    if way == 1:
        return np.add.accumulate(terms[..., random.permutation(terms.shape[-1])], axis=-1)[..., -1]
    if way == 2:
        return np.add.accumulate(terms[..., ::-1], axis=-1)[..., -1]
    width = int(random.integers(2, 17))
    if way == 3:
        cut = range(0, terms.shape[-1], width)
        parts = [np.add.accumulate(terms[..., n : n + width], axis=-1)[..., -1] for n in cut]
        return np.add.accumulate(np.stack(parts, -1), axis=-1)[..., -1]
    while terms.shape[-1] > 1:
        odd = terms[..., -1:] if terms.shape[-1] % 2 else terms[..., :0]
        even = terms[..., : terms.shape[-1] // 2 * 2]
        terms = np.concatenate([even[..., ::2] + even[..., 1::2], odd], -1)
    return terms[..., 0]


def fused(a: Array, b: Array) -> Array:
    """Add up products with one rounding each, in float32: the product is exact in float64."""
    total = np.zeros(np.broadcast_shapes(a.shape, b.shape)[:-1], F32)
    for k in range(a.shape[-1]):
        total = (a[..., k].astype(np.float64) * b[..., k] + total).astype(F32)
    return total


def numbers(random: Random, *shape: int, dtype: Any = F32) -> Array:
    """Draw numbers of one scale, some of them offset, some of them zero."""
    scale = 10.0 ** random.integers(-2, 3)
    offset = scale * random.integers(-3, 4) * (random.random() < 0.3)
    found = random.standard_normal(shape) * scale + offset
    return np.where(random.random(shape) < 0.1 * random.integers(2), 0, found).astype(dtype)


def wide(array: Array) -> Array:
    return array.astype(np.float64)


def layer(operator: str, inputs: list[Array], recorded: Array, **more: Any) -> Layer:
    attributes = more.pop("attributes", {})
    return Layer(
        operator=operator,
        attributes=attributes,
        inputs=[wide(each) if each.dtype.kind == "f" else each for each in inputs],
        shapes=[each.shape for each in inputs],
        shape=recorded.shape,
        dtype=recorded.dtype.name,
        recorded=wide(recorded) if recorded.dtype.kind == "f" else recorded,
        **more,
    )


def matmul(random: Random) -> Layer:
    dtype = F32 if random.random() < 0.8 else np.float16
    terms, rows, columns = (int(n) for n in random.integers(1, (400, 4, 6)))
    x = numbers(random, rows, terms, dtype=dtype) / dtype(8)
    w = numbers(random, terms, columns, dtype=dtype) / dtype(64)
    left, right = x[:, None, :], w.T[None]
    if dtype is F32 and random.random() < 0.4:
        given = fused(left, right)
    else:
        given = in_order(left * right, random)
    exact, size = wide(x) @ wide(w), np.abs(wide(x)) @ np.abs(wide(w))
    return layer("MatMul", [x, w], given, exact=exact, magnitude=size)


def gemm(random: Random) -> Layer:
    terms, rows, columns = (int(n) for n in random.integers(1, (300, 4, 6)))
    x, w, c = (numbers(random, *shape) for shape in ((rows, terms), (terms, columns), (columns,)))
    products = x[:, None, :] * w.T[None]
    bias = np.broadcast_to(c[None, :, None], (rows, columns, 1))
    if random.random() < 0.5:
        given = in_order(products, random) + c
    else:
        given = in_order(np.concatenate([bias, products], -1), random)
    exact = wide(x) @ wide(w) + wide(c)
    size = np.abs(wide(x)) @ np.abs(wide(w)) + np.abs(wide(c))
    return layer("Gemm", [x, w, c], given.astype(F32), exact=exact, magnitude=size)


def conv(random: Random) -> Layer:
    channels, filters, side, kernel = (int(n) for n in random.integers((1, 1, 4, 1), (9, 5, 8, 4)))
    x = numbers(random, 1, channels, side, side)
    w = numbers(random, filters, channels, kernel, kernel)
    out = side - kernel + 1
    places = [(i, j) for i in range(out) for j in range(out)]
    cuts = np.stack([x[0, :, i : i + kernel, j : j + kernel].ravel() for i, j in places])
    flat = w.reshape(filters, -1)
    products = flat[:, None, :] * cuts[None]
    given = fused(flat[:, None, :], cuts[None]) if random.random() < 0.3 else None
    given = in_order(products, random) if given is None else given
    shape = (1, filters, out, out)
    exact = (wide(flat) @ wide(cuts).T).reshape(shape)
    size = (np.abs(wide(flat)) @ np.abs(wide(cuts)).T).reshape(shape)
    return layer("Conv", [x, w], given.reshape(shape), exact=exact, magnitude=size)


def mean(random: Random) -> Layer:
    x = numbers(random, 3, int(random.integers(1, 500)))
    total, count = in_order(x, random), F32(x.shape[-1])
    given = total / count if random.random() < 0.5 else total * (F32(1) / count)
    exact, size = wide(x).mean(-1), np.abs(wide(x)).mean(-1)
    return layer("ReduceMean", [x], given.astype(F32), exact=exact, magnitude=size)


def batch_norm(random: Random) -> Layer:
    x = numbers(random, 2, 3, 4, 4)
    scale, shift, middle = (numbers(random, 3) for _ in range(3))
    variance = np.abs(numbers(random, 3)) + F32(1e-3)
    epsilon = F32(1e-5)
    a, b, m, v = (each.reshape(1, 3, 1, 1) for each in (scale, shift, middle, variance))
    factor = a / np.sqrt(v + epsilon)
    given = (x - m) * factor + b if random.random() < 0.5 else x * factor + (b - m * factor)
    wides = [wide(each) for each in (x, a, b, m, v)]
    exact = (wides[0] - wides[3]) * wides[1] / np.sqrt(wides[4] + float(epsilon)) + wides[2]
    told = {"epsilon": float(epsilon)}
    inputs = [x, scale, shift, middle, variance]
    return layer("BatchNormalization", inputs, given, attributes=told, exact=exact)


def layer_norm(random: Random) -> Layer:
    x = numbers(random, 3, int(random.integers(2, 400)))
    scale, shift = numbers(random, x.shape[1]), numbers(random, x.shape[1])
    epsilon, count = F32(1e-5), F32(x.shape[1])
    middle = (in_order(x, random) / count)[:, None]
    apart = x - middle
    if random.random() < 0.5:
        variance = (in_order(apart * apart, random) / count)[:, None]
    else:
        squares = (in_order(x * x, random) / count)[:, None]
        variance = np.maximum(squares - middle * middle, F32(0))
    given = apart / np.sqrt(variance + epsilon) * scale + shift
    d = wide(x) - wide(x).mean(1, keepdims=True)
    root = np.sqrt((d * d).mean(1, keepdims=True) + float(epsilon))
    exact = d / root * wide(scale) + wide(shift)
    told = {"epsilon": float(epsilon), "axis": 1}
    return layer("LayerNormalization", [x, scale, shift], given, attributes=told, exact=exact)


def softmax(random: Random) -> Layer:
    x = numbers(random, 3, int(random.integers(1, 300)))
    powers = np.exp(x - x.max(1, keepdims=True))
    given = powers / in_order(powers, random)[:, None]
    e = np.exp(wide(x) - wide(x).max(1, keepdims=True))
    exact = e / e.sum(1, keepdims=True)
    return layer("Softmax", [x], given, attributes={"axis": 1}, exact=exact)


def log_softmax(random: Random) -> Layer:
    x = numbers(random, 3, int(random.integers(1, 300)))
    apart = x - x.max(1, keepdims=True)
    given = apart - np.log(in_order(np.exp(apart), random))[:, None]
    d = wide(x) - wide(x).max(1, keepdims=True)
    exact = d - np.log(np.exp(d).sum(1, keepdims=True))
    return layer("LogSoftmax", [x], given, attributes={"axis": 1}, exact=exact)


def sigmoid(random: Random) -> Layer:
    x = numbers(random, 40)
    one, half = F32(1), F32(0.5)
    with np.errstate(over="ignore"):
        ways = (one / (one + np.exp(-x)), half * np.tanh(half * x) + half)
    exact = 1 / (1 + np.exp(-wide(x)))
    return layer("Sigmoid", [x], ways[random.integers(2)], exact=exact)


def softplus(random: Random) -> Layer:
    x = np.clip(numbers(random, 40), F32(-60), F32(60))
    ways = (np.log(F32(1) + np.exp(x)), np.maximum(x, F32(0)) + np.log1p(np.exp(-np.abs(x))))
    return layer("Softplus", [x], ways[random.integers(2)], exact=np.logaddexp(0, wide(x)))


def elu(random: Random) -> Layer:
    x = numbers(random, 40)
    with np.errstate(over="ignore"):
        ways = (np.exp(x) - F32(1), np.expm1(x))
    given = np.where(x > 0, x, ways[random.integers(2)])
    exact = np.where(x > 0, wide(x), np.expm1(np.minimum(wide(x), 0)))
    return layer("Elu", [x], given, attributes={"alpha": 1.0}, exact=exact)


def arithmetic(random: Random) -> Layer:
    operator = str(random.choice(["Add", "Sub", "Mul", "Div"]))
    name = {"Add": "add", "Sub": "subtract", "Mul": "multiply", "Div": "divide"}[operator]
    dtype = NARROW[str(random.choice(list(NARROW)))]
    a, b = numbers(random, 40, dtype=dtype), numbers(random, 40, dtype=dtype)
    b = np.where(b == 0, dtype(1), b)
    with np.errstate(over="ignore", under="ignore"):
        given = getattr(np, name)(a, b)
    return layer(operator, [a, b], given, exact=getattr(np, name)(wide(a), wide(b)))


def contraction(random: Random) -> Layer:
    a, b, c = (numbers(random, 40) for _ in range(3))
    product = a * b
    given = (wide(a) * wide(b) + wide(c)).astype(F32)
    return layer("Add", [product, c], given, exact=wide(product) + wide(c), products=(True, False))


def quantized(random: Random) -> Layer:
    terms = int(random.integers(1, 60))
    a = random.integers(0, 256, (3, terms)).astype(np.uint8)
    b = random.integers(-128, 128, (terms, 4)).astype(np.int8)
    scales = [F32(2.0 ** random.uniform(-9, -3)) for _ in range(2)]
    out = F32(scales[0] * scales[1] * terms * random.uniform(20, 200))
    zero = np.uint8(random.integers(0, 256))
    total = (a.astype(np.int64) - 128) @ b.astype(np.int64)
    ratio = scales[0] * scales[1] / out
    ways = (total.astype(F32) * ratio, total.astype(F32) * scales[0] * scales[1] / out)
    given = np.clip(np.rint(ways[random.integers(2)]) + F32(zero), 0, 255).astype(np.uint8)
    zeros = np.uint8(128), np.int8(0)
    inputs = [a, scales[0], zeros[0], b, scales[1], zeros[1], out, zero]
    return layer("QLinearMatMul", list(map(np.asarray, inputs)), given, exact=wide(total))


MAKERS: tuple[Callable[[Random], Layer], ...] = (
    matmul, gemm, conv, mean, batch_norm, layer_norm, softmax, log_softmax, sigmoid, softplus,
    elu, arithmetic, contraction, quantized,
)  # fmt: skip


def judged(one: Layer) -> Judgement:
    rule = rule_for(one.operator)
    assert rule is not None
    return judge(one, rule.bound(one))


@pytest.mark.parametrize("maker", MAKERS, ids=lambda maker: maker.__name__)
def test_no_order_of_summation_is_a_fault(maker: Callable[[Random], Layer]) -> None:
    random = np.random.default_rng(MAKERS.index(maker))
    faults = []
    for _ in range(LAYERS // len(MAKERS) + 1):
        with np.errstate(under="ignore"):
            found = judged(maker(random))
        if found.verdict == BEYOND:
            faults.append(found)
    assert faults == []
