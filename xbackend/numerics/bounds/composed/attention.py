"""Bounds of Attention, two products with a mask and a Softmax between, and RotaryEmbedding."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from xbackend.numerics.bounds.bound import NOTHING, Array, Bound, Layer, Rule
from xbackend.numerics.bounds.composed.tracked import Steps, Tracked, exactly

QUERY, KEY, VALUE, MASK, PAST_KEY, PAST_VALUE, LENGTHS = range(7)
"""Places of the inputs."""
PRESENT_KEY, PRESENT_VALUE, SCORES = 1, 2, 3
"""Places of the outputs after the first."""
RAW, SHARES = 0, 3
"""What `qk_matmul_output_mode` gives out of the products, where all versions of ONNX agree."""
RANK_OF_FLAT = 3
"""Axes of operands whose heads are not parted: sample, position, feature."""


@dataclass(frozen=True)
class Heads:
    """Operands of an attention, each of sample, head, position and feature."""

    query: Array
    key: Array
    value: Array
    """Keys and values with those of the past before them, as often as queries share them."""
    present: tuple[Array, Array]
    """Keys and values as they are given on, each once."""


def attention(layer: Layer) -> Bound:
    """Carry errors through the products of queries and keys, the Softmax and that with values."""
    _check(layer)
    heads = _heads(layer)
    if layer.output in (PRESENT_KEY, PRESENT_VALUE):
        kept = heads.present[layer.output - PRESENT_KEY]
        return Bound(1.0, 0.0, 0.0, 0, underflows=0.0, exact=kept, moves=True, rounds_once=True)
    steps = Steps(layer.dtype)
    mask = _mask(layer, heads)
    scores = _scores(layer, steps, heads)
    mode = int(layer.attributes.get("qk_matmul_output_mode", 0)) if layer.output == SCORES else -1
    capped = _capped(layer, steps, scores)
    masked = steps.add(capped, exactly(np.broadcast_to(mask, capped.value.shape)))
    shares = steps.softmax(masked, waves=True)
    terms = heads.query.shape[-1] + heads.key.shape[2]
    if mode >= 0:
        if mode != SHARES and (mode != RAW or layer.attributes.get("softcap")):
            raise LookupError("versions of ONNX differ in what it gives of its products")
        return steps.bound(scores if mode == RAW else shares, terms, terms + 16.0)
    found = steps.matmul(shares, exactly(heads.value), 2)
    found = _without_masked(layer, found, np.isneginf(mask.max(-1, keepdims=True)))
    return steps.bound(found, terms, terms + 32.0)


def _without_masked(layer: Layer, found: Tracked, masked: Array) -> Tracked:
    """Take what was recorded where every key is masked, of which versions of ONNX differ."""
    flat = len(layer.shape) == RANK_OF_FLAT
    value, where = found.value, np.broadcast_to(masked, found.value.shape)
    if flat:
        value, where = _flat(value), _flat(where)
    assert layer.recorded is not None
    error = _flat(found.error) if flat else found.error
    return Tracked(np.where(where, layer.recorded, value), np.where(where, 0.0, error))


def _check(layer: Layer) -> None:
    """Raise LookupError for what is defined otherwise in other versions."""
    for name in ("left_window_size", "right_window_size"):
        if int(layer.attributes.get(name, -1)) >= 0:
            raise LookupError("its window slides")
    past_and_mask = layer.has(MASK) and layer.has(PAST_KEY)
    if past_and_mask and layer.input(MASK).shape[-1] != _keys(layer):
        raise LookupError("its mask is shorter than the keys")


def _keys(layer: Layer) -> int:
    key, past = layer.shapes[KEY] or (), layer.shapes[PAST_KEY] if layer.has(PAST_KEY) else None
    own = key[1] if len(key) == RANK_OF_FLAT else key[2]
    return own + (past[2] if past else 0)


def _heads(layer: Layer) -> Heads:
    told = layer.attributes
    query = _split(layer.input(QUERY), int(told.get("q_num_heads") or 0))
    held = [_split(layer.input(n), int(told.get("kv_num_heads") or 0)) for n in (KEY, VALUE)]
    if layer.has(PAST_KEY):
        past = (layer.input(PAST_KEY), layer.input(PAST_VALUE))
        held = [np.concatenate(pair, 2) for pair in zip(past, held, strict=True)]
    shared = [np.repeat(each, query.shape[1] // each.shape[1], 1) for each in held]
    return Heads(query, shared[0], shared[1], (held[0], held[1]))


def _split(x: Array, heads: int) -> Array:
    """Part features into heads where they are not yet."""
    if x.ndim != RANK_OF_FLAT:
        return x
    return x.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)


def _flat(x: Array) -> Array:
    return x.transpose(0, 2, 1, 3).reshape(x.shape[0], x.shape[2], -1)


def _scores(layer: Layer, steps: Steps, heads: Heads) -> Tracked:
    """Multiply queries by keys and scale, before or after or both by the root."""
    told = layer.attributes.get("scale")
    scale = float(told) if told else 1 / math.sqrt(heads.query.shape[-1])
    query, key = exactly(heads.query * scale), exactly(heads.key.transpose(0, 1, 3, 2))
    return steps.matmul(query, key, 8)


def _capped(layer: Layer, steps: Steps, scores: Tracked) -> Tracked:
    cap = float(layer.attributes.get("softcap") or 0.0)
    if not cap:
        return scores
    bent = steps.rising(np.tanh, steps.divide(scores, exactly(cap)))
    return steps.multiply(bent, exactly(cap))


def _mask(layer: Layer, heads: Heads) -> Array:
    """Return what is added to the products: 0, a number, or minus infinity."""
    queries, keys = heads.query.shape[2], heads.key.shape[2]
    mask = np.zeros((queries, keys))
    if layer.has(MASK):
        told = layer.input(MASK)
        short = keys - told.shape[-1]
        edges = [(0, 0)] * (told.ndim - 1) + [(0, short)]
        is_bool = told.dtype == np.bool_
        padded = np.pad(told, edges, constant_values=False if is_bool else -np.inf)
        mask = mask + (np.where(padded, 0.0, -np.inf) if is_bool else padded)
    lengths = layer.input(LENGTHS).reshape(-1, 1, 1, 1) if layer.has(LENGTHS) else None
    places = np.arange(keys)
    if int(layer.attributes.get("is_causal") or 0):
        past = (layer.shapes[PAST_KEY] or (0, 0, 0))[2] if layer.has(PAST_KEY) else 0
        first = past if lengths is None else lengths - queries
        mask = mask + np.where(places <= np.arange(queries)[:, None] + first, 0.0, -np.inf)
    if lengths is not None:
        mask = mask + np.where(places < lengths, 0.0, -np.inf)
    return mask


def rotary(layer: Layer) -> Bound:
    """Turn pairs of features: two products and a sum; what is not turned is moved."""
    told, x = layer.attributes, layer.input(0)
    flat = x.ndim == RANK_OF_FLAT
    rows = _split(x, int(told.get("num_heads") or 0)).transpose(0, 2, 1, 3)
    size = int(told.get("rotary_embedding_dim") or 0) or rows.shape[-1]
    cos, sin = (_chosen(layer, place)[:, :, None] for place in (1, 2))
    pairs = bool(told.get("interleaved"))
    turned = rows[..., :size]
    one, two = (turned[..., ::2], turned[..., 1::2]) if pairs else np.split(turned, 2, -1)
    exact = _paired(cos * one - sin * two, sin * one + cos * two, pairs)
    cosine, sine = np.abs(cos), np.abs(sin)
    first = cosine * np.abs(one) + sine * np.abs(two)
    scale = _paired(first, sine * np.abs(one) + cosine * np.abs(two), pairs)
    rest = rows[..., size:]
    whole = np.concatenate([exact, rest], -1), np.concatenate([scale, np.zeros_like(rest)], -1)
    shaped = [v.reshape(x.shape) if flat else v.transpose(0, 2, 1, 3) for v in whole]
    return Bound(shaped[1], 3.0, 2.0, 2, exact=shaped[0])


def _chosen(layer: Layer, place: int) -> Array:
    """Return cosines or sines of each sample and position."""
    held = layer.input(place)
    return held[layer.input(3).astype(np.int64)] if layer.has(3) else held


def _paired(one: Array, two: Array, pairs: bool) -> Array:
    if not pairs:
        return np.concatenate([one, two], -1)
    return np.stack([one, two], -1).reshape(*one.shape[:-1], -1)


RULES: dict[str, Rule] = {
    "Attention": Rule(attention, NOTHING, reads=True),
    "RotaryEmbedding": Rule(rotary, NOTHING, reads=True),
}
