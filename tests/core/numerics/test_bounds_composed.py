"""Attention and recurrent cells: right values by ONNX's own evaluator, float32 in random orders."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from xbackend.numerics.bounds.bound import Layer
from xbackend.numerics.bounds.judge import judge
from xbackend.numerics.bounds.judgement import BEYOND, ROUNDING, Judgement
from xbackend.numerics.bounds.rules import rule_for

Array = np.ndarray[Any, Any]
Random = np.random.Generator
LAYERS = int(os.environ.get("XBACKEND_RANDOM_LAYERS", "3000")) // 20 + 1
"""How many layers of each kind are drawn."""
F32 = np.float32


def total(terms: Array, random: Random) -> Array:
    """Add up the last axis in its own format, in one of some orders."""
    if random.random() < 0.5:
        terms = terms[..., random.permutation(terms.shape[-1])]
    width = int(random.integers(1, terms.shape[-1] + 1))
    cut = range(0, terms.shape[-1], width)
    parts = [np.add.accumulate(terms[..., n : n + width], axis=-1)[..., -1] for n in cut]
    return np.add.accumulate(np.stack(parts, -1), axis=-1)[..., -1]


def product(a: Array, b: Array, random: Random) -> Array:
    """Multiply matrices in the order of a random sum."""
    return total(a[..., :, None, :] * np.swapaxes(b, -1, -2)[..., None, :, :], random)


def layer(operator: str, inputs: list[Array | None], recorded: Array, **more: Any) -> Layer:
    return Layer(
        operator=operator,
        attributes=more.pop("attributes", {}),
        inputs=[None if x is None else x.astype(float) if x.dtype.kind == "f" else x
                for x in inputs],
        shapes=[None if x is None else x.shape for x in inputs],
        shape=recorded.shape,
        dtype=recorded.dtype.name,
        recorded=recorded.astype(float),
        **more,
    )  # fmt: skip


def judged(one: Layer) -> Judgement:
    rule = rule_for(one.operator)
    assert rule is not None
    return judge(one, rule.bound(one))


def normal(random: Random, *shape: int, scale: float = 1.0) -> Array:
    return (random.standard_normal(shape) * scale).astype(F32)


def shares(scores: Array, random: Random) -> Array:
    """Compute a Softmax in two passes; what is minus infinity has no share."""
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return powers / total(powers, random)[..., None]


def in_one_pass(scores: Array, v: Array, random: Random) -> Array:
    """Attend as kernels do that rescale what they have when a greater score comes."""
    width = int(random.integers(32, 65))
    top = np.full((*scores.shape[:-1], 1), -np.inf, F32)
    whole, norm = np.zeros((*scores.shape[:-1], v.shape[-1]), F32), np.zeros_like(top)
    for n in range(0, scores.shape[-1], width):
        part = scores[..., n : n + width]
        new = np.maximum(top, part.max(-1, keepdims=True))
        powers, again = np.exp(part - new), np.exp(top - new)
        whole = whole * again + product(powers, v[..., n : n + width, :], random)
        norm = norm * again + total(powers, random)[..., None]
        top = new
    return whole / norm


def attention(random: Random) -> Layer:
    queries, keys, size, out = (int(n) for n in random.integers((1, 1, 1, 1), (6, 90, 40, 6)))
    heads = int(random.integers(1, 3))
    scale = float(10.0 ** random.uniform(-1, 0.7))
    q = normal(random, 1, heads, queries, size, scale=scale)
    k = normal(random, 1, heads, keys, size)
    v = normal(random, 1, heads, keys, out)
    told: dict[str, Any] = {}
    factor, turned = F32(1 / np.sqrt(size)), k.swapaxes(-1, -2)
    root = np.sqrt(factor)
    ways: tuple[Callable[[], Array], ...] = (
        lambda: product(q, turned, random) * factor,
        lambda: product(q * factor, turned, random),
        lambda: product(q * root, turned * root, random),
    )
    scores = ways[random.integers(3)]()
    if random.random() < 0.3:
        told["softcap"] = cap = 5.0
        scores = np.tanh(scores / F32(cap)) * F32(cap)
    mask = None
    if random.random() < 0.4:
        mask = np.where(random.random((queries, keys)) < 0.3, F32(-1e4), normal(random, 1, 1))
        mask[:, 0] = 0
        scores = scores + mask
    if random.random() < 0.3:
        told["is_causal"] = 1
        scores = np.where(np.arange(keys) <= np.arange(queries)[:, None], scores, F32(-np.inf))
    if random.random() < 0.4:
        given = in_one_pass(scores, v, random)
    else:
        given = product(shares(scores, random), v, random)
    return layer("Attention", [q, k, v, mask], given, attributes=told)


def logistic(x: Array) -> Array:
    return F32(1) / (F32(1) + np.exp(-x))


def cell_inputs(random: Random, gates: int, biases: int) -> tuple[list[Array | None], int]:
    steps, count, features, size = (int(n) for n in random.integers((1, 1, 1, 1), (9, 3, 12, 9)))
    scale = 10.0 ** random.uniform(-1, 0.5)
    w = normal(random, 1, gates * size, features, scale=scale)
    r = normal(random, 1, gates * size, size, scale=scale / 2)
    b = normal(random, 1, biases * size)
    x = normal(random, steps, count, features)
    return [x, w, r, b, None, normal(random, 1, count, size)], size


def lstm(random: Random) -> Layer:
    inputs, size = cell_inputs(random, 4, 8)
    x, w, r, b, _, h0 = (each if each is not None else np.zeros(0) for each in inputs)
    c0 = normal(random, *h0.shape)
    h, c, given = h0[0], c0[0], []
    for one in x:
        own, fed = product(one, w[0].T, random), product(h, r[0].T, random)
        gates = own + fed + (b[0, : 4 * size] + b[0, 4 * size :])
        i, o, f, n = (gates[:, k * size : (k + 1) * size] for k in range(4))
        c = logistic(f) * c + logistic(i) * np.tanh(n)
        h = logistic(o) * np.tanh(c)
        given.append(h)
    return layer("LSTM", [*inputs, c0], np.stack(given)[:, None])


def gru(random: Random) -> Layer:
    inputs, size = cell_inputs(random, 3, 6)
    x, w, r, b, _, h0 = (each if each is not None else np.zeros(0) for each in inputs)
    after = int(random.integers(2))
    h, given = h0[0], []
    own_bias, fed_bias = np.split(b[0], 2)
    new = slice(2 * size, 3 * size)
    for one in x:
        own, fed = product(one, w[0].T, random) + own_bias, product(h, r[0].T, random) + fed_bias
        z, t = (logistic((own + fed)[:, n * size : (n + 1) * size]) for n in range(2))
        back = t * fed[:, new] if after else product(t * h, r[0].T, random)[:, new] + fed_bias[new]
        g = np.tanh(own[:, new] + back)
        h = (F32(1) - z) * g + z * h if random.random() < 0.5 else g + z * (h - g)
        given.append(h)
    told = {"linear_before_reset": after}
    return layer("GRU", inputs, np.stack(given)[:, None], attributes=told)


def rnn(random: Random) -> Layer:
    inputs, _ = cell_inputs(random, 1, 2)
    x, w, r, b, _, h0 = (each if each is not None else np.zeros(0) for each in inputs)
    h, given = h0[0], []
    own_bias, fed_bias = np.split(b[0], 2)
    for one in x:
        fed = product(h, r[0].T, random) + fed_bias
        h = np.tanh(product(one, w[0].T, random) + own_bias + fed)
        given.append(h)
    return layer("RNN", inputs, np.stack(given)[:, None])


def lp_norm(random: Random) -> Layer:
    x, p = normal(random, 3, int(random.integers(1, 300))), int(random.integers(1, 3))
    norm = total(np.abs(x), random) if p == 1 else np.sqrt(total(x * x, random))
    return layer("LpNormalization", [x], x / norm[:, None], attributes={"p": p, "axis": -1})


def mean_variance(random: Random) -> Layer:
    x = normal(random, 2, 3, 4, 5) * F32(10.0 ** random.integers(-1, 3))
    rows = x.transpose(1, 0, 2, 3).reshape(3, -1)
    count, mean = F32(rows.shape[1]), (total(rows, random) / F32(rows.shape[1]))[:, None]
    apart = rows - mean
    if random.random() < 0.5:
        variance = total(apart * apart, random) / count
    else:
        variance = total(rows * rows, random) / count - (mean * mean)[:, 0]
    given = apart / (np.sqrt(np.maximum(variance, 0)) + F32(1e-9))[:, None]
    shaped = given.reshape(3, 2, 4, 5).transpose(1, 0, 2, 3)
    return layer("MeanVarianceNormalization", [x], shaped, attributes={"axes": [0, 2, 3]})


def log_sum(random: Random) -> Layer:
    x = np.abs(normal(random, 3, int(random.integers(1, 200)))) + F32(1e-3)
    exact = np.log(x.astype(float).sum(1))
    return layer("ReduceLogSum", [x], np.log(total(x, random)), exact=exact)


def shrink(random: Random) -> Layer:
    x, told = normal(random, 40), {"lambd": 0.5, "bias": 0.25}
    given = np.where(x < -0.5, x + F32(0.25), np.where(x > 0.5, x - F32(0.25), F32(0)))
    return layer("Shrink", [x], given, attributes=told)


def dynamic(random: Random) -> Layer:
    x, output = normal(random, 60) * F32(10.0 ** random.integers(-2, 3)), int(random.integers(3))
    low, high = np.minimum(x.min(), F32(0)), np.maximum(x.max(), F32(0))
    scale = (high - low) / F32(255)
    zero = np.rint(-low / scale)
    y = np.clip(np.rint(x / scale) + zero, 0, 255).astype(np.uint8)
    given = (y, scale, zero.astype(np.uint8))[output]
    return layer("DynamicQuantizeLinear", [x], np.asarray(given), output=output)


def rotary(random: Random) -> Layer:
    steps, heads, half = (int(n) for n in random.integers(1, (8, 4, 6)))
    told = {"interleaved": int(random.integers(2))}
    x = normal(random, 2, heads, steps, 2 * half)
    angles = normal(random, 2, steps, half)
    cos, sin = np.cos(angles), np.sin(angles)
    one, two = (x[..., ::2], x[..., 1::2]) if told["interleaved"] else np.split(x, 2, -1)
    a, b = (each[:, None] for each in (cos, sin))
    parts = a * one - b * two, b * one + a * two
    if told["interleaved"]:
        given = np.stack(parts, -1).reshape(x.shape)
    else:
        given = np.concatenate(parts, -1)
    return layer("RotaryEmbedding", [x, cos, sin], given, attributes=told)


MAKERS = (
    attention, rotary, lstm, gru, rnn, lp_norm, mean_variance, log_sum, shrink, dynamic,
)  # fmt: skip


@pytest.mark.parametrize("maker", MAKERS, ids=lambda maker: maker.__name__)
def test_no_order_of_the_steps_is_a_fault(maker: Callable[[Random], Layer]) -> None:
    random = np.random.default_rng(MAKERS.index(maker))
    faults = []
    for _ in range(LAYERS):
        with np.errstate(under="ignore", over="ignore"):
            found = judged(maker(random))
        if found.verdict == BEYOND:
            faults.append(found)
    assert faults == []


def reference(one: Layer, opset: int) -> Array:
    """Compute a layer in float64 by ONNX's reference evaluator."""
    names = ["" if shape is None else f"i{n}" for n, shape in enumerate(one.shapes)]
    node = helper.make_node(one.operator, names, ["y"], **one.attributes)
    if one.operator in ("LSTM", "GRU", "RNN"):
        node.attribute.append(helper.make_attribute("hidden_size", one.shape[-1]))
    kind = TensorProto.DOUBLE
    given = {name: x for name, x in zip(names, one.inputs, strict=True) if x is not None}
    ends = [helper.make_tensor_value_info(name, kind, x.shape) for name, x in given.items()]
    out = helper.make_tensor_value_info("y", kind, None)
    graph = helper.make_graph([node], "g", ends, [out])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    (found,) = ReferenceEvaluator(made).run(None, given)
    return np.asarray(found)


@pytest.mark.parametrize(
    "maker", [attention, rotary, lstm, gru, rnn], ids=lambda maker: maker.__name__
)
def test_right_values_are_those_of_onnx(maker: Callable[[Random], Layer]) -> None:
    random = np.random.default_rng(7)
    for _ in range(20):
        one = maker(random)
        rule = rule_for(one.operator)
        assert rule is not None
        found = rule.bound(one).exact
        assert found is not None
        np.testing.assert_allclose(found, reference(one, 24), rtol=1e-9, atol=1e-12)


def faulty(one: Layer, change: Callable[[Layer], Array]) -> Layer:
    """Return a layer that recorded what another function gives, rounded once."""
    given = change(one).astype(F32).astype(float)
    return Layer(**{**vars(one), "recorded": given})


def changed(one: Layer, place: int, by: float) -> Array:
    """Compute a layer with an input off by a factor."""
    inputs = [None if x is None else x.copy() for x in one.inputs]
    target = inputs[place]
    assert target is not None
    target *= by
    rule = rule_for(one.operator)
    assert rule is not None
    found = rule.bound(Layer(**{**vars(one), "inputs": inputs})).exact
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("maker", "place"), [(attention, 2), (lstm, 1), (gru, 2), (rnn, 1)], ids=lambda x: str(x)[:14]
)
def test_an_operand_wrong_by_one_percent_is_found(
    maker: Callable[[Random], Layer], place: int
) -> None:
    random = np.random.default_rng(3)
    for _ in range(10):
        one = maker(random)
        assert judged(faulty(one, lambda each: changed(each, place, 1.0))).verdict == ROUNDING
        assert judged(faulty(one, lambda each: changed(each, place, 1.01))).verdict == BEYOND


def test_a_scale_left_out_of_an_attention_is_found() -> None:
    random = np.random.default_rng(4)
    q, k, v = normal(random, 1, 1, 4, 16), normal(random, 1, 1, 9, 16), normal(random, 1, 1, 9, 5)
    given = product(shares(product(q, k.swapaxes(-1, -2), random), random), v, random)
    assert judged(layer("Attention", [q, k, v], given)).verdict == BEYOND
    told = {"scale": 1.0}
    assert judged(layer("Attention", [q, k, v], given, attributes=told)).verdict == ROUNDING


def test_sequences_end_where_they_are_said_to_and_go_backwards_from_there() -> None:
    x = np.arange(1, 5, dtype=F32).reshape(4, 1, 1)
    ones, lengths = np.ones((1, 1, 1), F32), np.array([3])
    told = {"direction": "reverse", "activations": ["Affine"]}
    one = layer("RNN", [x, ones, ones, None, lengths], np.zeros((4, 1, 1, 1), F32), attributes=told)
    rule = rule_for("RNN")
    assert rule is not None
    found = rule.bound(one).exact
    assert found is not None
    assert found.reshape(-1).tolist() == [6.0, 5.0, 3.0, 0.0]


def test_hardmax_takes_the_first_of_the_greatest() -> None:
    x = np.array([[1.0, 3.0, 3.0]], F32)
    for recorded, verdict in (([[0.0, 1.0, 0.0]], "exact"), ([[0.0, 0.0, 1.0]], BEYOND)):
        assert judged(layer("Hardmax", [x], np.array(recorded, F32))).verdict == verdict


def test_what_a_version_of_onnx_leaves_open_of_an_attention_is_not_judged() -> None:
    x = np.ones((1, 1, 2, 3), F32)
    told = {"qk_matmul_output_mode": 1}
    with pytest.raises(LookupError, match="versions of ONNX differ"):
        judged(layer("Attention", [x, x, x], x, attributes=told, output=3))
