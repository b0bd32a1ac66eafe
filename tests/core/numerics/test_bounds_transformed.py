"""Winograd and FFT convolutions in NumPy's float32 are no faults; faults stay faults."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from xbackend.numerics.bounds.bound import Layer
from xbackend.numerics.bounds.judge import judge
from xbackend.numerics.bounds.judgement import BEYOND, ROUNDING
from xbackend.numerics.bounds.rules import rule_for
from xbackend.numerics.bounds.transformed import TRANSFORMED, transformed_bound

Array = np.ndarray[Any, Any]
Random = np.random.Generator
LAYERS = int(os.environ.get("XBACKEND_RANDOM_LAYERS", "3000")) // 50 + 1
"""How many convolutions are drawn for each way to compute them."""
HALF = Fraction(1, 2)
POINTS = {4: (0, 1, -1), 6: (0, 1, -1, 2, -2), 8: (0, 1, -1, 2, -2, HALF, -HALF)}
"""By the tile's extent: where polynomials are evaluated, infinity beside (Lavin and Gray, 2015)."""


def inverse(matrix: list[list[Fraction]]) -> list[list[Fraction]]:
    """Invert a matrix without rounding."""
    size = len(matrix)
    rows = [[*row, *(Fraction(int(i == j)) for j in range(size))] for i, row in enumerate(matrix)]
    for column in range(size):
        pivot = next(i for i in range(column, size) if rows[i][column])
        rows[column], rows[pivot] = rows[pivot], rows[column]
        rows[column] = [value / rows[column][column] for value in rows[column]]
        for i in range(size):
            if i != column:
                factor = rows[i][column]
                rows[i] = [a - factor * b for a, b in zip(rows[i], rows[column], strict=True)]
    return [row[size:] for row in rows]


def matrices(outputs: int, kernel: int) -> tuple[Array, Array, Array]:
    """Return Winograd's matrices A^T, G and B^T of F(outputs, kernel), by Toom and Cook."""
    size = outputs + kernel - 1
    points = [Fraction(point) for point in POINTS[size]]

    def powers(columns: int) -> list[list[Fraction]]:
        at_infinity = [Fraction(int(n == columns - 1)) for n in range(columns)]
        return [[point**n for n in range(columns)] for point in points] + [at_infinity]

    data = [list(row) for row in zip(*inverse(powers(size)), strict=True)]
    weights = powers(kernel)
    for i, point in enumerate(points):
        scale = Fraction(1)
        for j, other in enumerate(points):
            scale *= abs(point - other) if i != j else 1
        data[i] = [value * scale for value in data[i]]
        weights[i] = [value / scale for value in weights[i]]
    result = [list(row) for row in zip(*powers(outputs), strict=True)]
    back, forth, across = (
        np.array([[float(value) for value in row] for row in each])
        for each in (result, weights, data)
    )
    return back, forth, across


def winograd(x: Array, w: Array, outputs: int) -> Array:
    """Convolve tile by tile in the format of the weights, channel after channel."""
    kernel, kind = w.shape[-1], w.dtype
    size = outputs + kernel - 1
    back, forth, across = (each.astype(kind) for each in matrices(outputs, kernel))
    rows, columns = (extent - kernel + 1 for extent in x.shape[1:])
    high, wide = -(-rows // outputs), -(-columns // outputs)
    padded = np.zeros((len(x), high * outputs + kernel - 1, wide * outputs + kernel - 1), kind)
    padded[:, : x.shape[1], : x.shape[2]] = x
    cuts = [slice(n * outputs, n * outputs + size) for n in range(max(high, wide))]
    tiles = np.stack([[padded[:, a, b] for b in cuts[:wide]] for a in cuts[:high]])
    seen, held = across @ tiles @ across.T, forth @ w @ forth.T
    total = np.zeros((high, wide, len(w), size, size), kind)
    for channel in range(len(x)):
        total = total + held[:, channel] * seen[:, :, None, channel]
    found = (back @ total @ back.T).transpose(2, 0, 3, 1, 4)
    whole: Array = found.reshape(len(w), high * outputs, wide * outputs)[:, :rows, :columns]
    return whole


def transform(a: Array, sign: int) -> Array:
    """Compute a discrete Fourier transform of the last axis by Cooley and Tukey, in complex64."""
    size = a.shape[-1]
    if size == 1:
        return a
    even, odd = transform(a[..., ::2], sign), transform(a[..., 1::2], sign)
    angle = sign * 2j * np.pi * np.arange(size // 2) / size
    turned = np.exp(angle).astype(np.complex64) * odd
    return np.concatenate([even + turned, even - turned], -1)


def plane(a: Array, sign: int) -> Array:
    return np.swapaxes(transform(np.swapaxes(transform(a, sign), -1, -2), sign), -1, -2)


def by_fft(x: Array, w: Array) -> Array:
    """Convolve the whole plane by Fourier transforms in float32."""
    size = 1 << max(x.shape[1:]).bit_length()

    def spread(a: Array) -> Array:
        wider = [(0, 0)] * (a.ndim - 2) + [(0, size - extent) for extent in a.shape[-2:]]
        return plane(np.pad(a, wider).astype(np.complex64), -1)

    seen, held = spread(x), spread(w)
    total = np.zeros((len(w), size, size), np.complex64)
    for channel in range(len(x)):
        total = total + seen[channel] * np.conj(held[:, channel])
    found = plane(total, 1).real / np.float32(size * size)
    kernel = w.shape[-1]
    whole: Array = found[:, : x.shape[1] - kernel + 1, : x.shape[2] - kernel + 1]
    return whole


def direct(x: Array, w: Array) -> Array:
    """Convolve by sums of products, in float64."""
    kernel = w.shape[-1]
    cuts = np.lib.stride_tricks.sliding_window_view(x.astype(float), (kernel, kernel), axis=(1, 2))
    found: Array = np.einsum("cijab,kcab->kij", cuts, w.astype(float), optimize=True)
    return found


def drawn(random: Random, kernel: int, channels: int = 0) -> tuple[Array, Array]:
    """Draw an image and weights: even, cut off below 0, or with some numbers far above others."""
    count = channels or int(random.integers(1, 40))
    side = int(random.integers(kernel + 1, 28))
    x = random.standard_normal((count, side, side))
    kind = random.integers(3)
    if kind == 1:
        x = np.maximum(x + random.integers(2), 0)
    if kind == 2:
        x = x * np.exp(2 * random.standard_normal(x.shape))
    w = random.standard_normal((int(random.integers(1, 9)), count, kernel, kernel))
    return x.astype(np.float32), w.astype(np.float32)


def layer(x: Array, w: Array, given: Array) -> Layer:
    return Layer(
        operator="Conv",
        attributes={"pads": [0, 0, 0, 0], "strides": [1, 1], "dilations": [1, 1], "group": 1},
        inputs=[x[None].astype(float), w.astype(float)],
        shapes=[(1, *x.shape), w.shape],
        shape=(1, *given.shape),
        dtype="float32",
        exact=direct(x, w)[None],
        magnitude=direct(np.abs(x), np.abs(w))[None],
        recorded=given[None].astype(float),
    )


def verdicts(one: Layer) -> tuple[str, str]:
    """Return what the direct sum's bound says, and the transformed one's."""
    rule = rule_for("Conv")
    assert rule is not None
    bound = transformed_bound(one)
    assert bound is not None
    return judge(one, rule.bound(one)).verdict, judge(one, bound, (TRANSFORMED,)).verdict


WAYS: dict[str, tuple[int, Callable[[Array, Array], Array]]] = {
    "F(2x2, 3x3)": (3, lambda x, w: winograd(x, w, 2)),
    "F(4x4, 3x3)": (3, lambda x, w: winograd(x, w, 4)),
    "F(6x6, 3x3)": (3, lambda x, w: winograd(x, w, 6)),
    "F(2x2, 5x5)": (5, lambda x, w: winograd(x, w, 2)),
    "F(4x4, 5x5)": (5, lambda x, w: winograd(x, w, 4)),
    "FFT, 3x3": (3, by_fft),
    "FFT, 7x7": (7, by_fft),
}


def test_the_matrices_of_a_tile_are_those_of_lavin_and_gray() -> None:
    back, forth, across = matrices(2, 3)
    assert np.abs(back).tolist() == [[1, 1, 1, 0], [0, 1, 1, 1]]
    assert np.abs(forth).tolist() == [[1, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0.5], [0, 0, 1]]
    assert np.abs(across).sum(1).tolist() == [2, 2, 2, 2]
    assert np.abs(matrices(4, 3)[2]).sum(1).tolist() == [10, 10, 10, 6, 6, 10]


@pytest.mark.parametrize("name", WAYS)
def test_a_transformed_convolution_computes_the_same_function(name: str) -> None:
    kernel, way = WAYS[name]
    x, w = drawn(np.random.default_rng(1), kernel)
    scale = np.abs(direct(np.abs(x), np.abs(w))).max()
    assert np.abs(way(x, w) - direct(x, w)).max() < 1e-4 * scale


@pytest.mark.parametrize("name", WAYS)
def test_a_transformed_convolution_in_float32_is_never_a_fault(name: str) -> None:
    kernel, way = WAYS[name]
    random = np.random.default_rng(len(name))
    faults = 0
    for _ in range(LAYERS):
        x, w = drawn(random, kernel)
        faults += verdicts(layer(x, w, way(x, w)))[1] == BEYOND
    assert faults == 0


def test_large_tiles_exceed_the_bound_of_the_direct_sum() -> None:
    random = np.random.default_rng(0)
    x, w = drawn(random, 3, channels=3)
    assert verdicts(layer(x, w, winograd(x, w, 6))) == (BEYOND, ROUNDING)


def _weight_wrong(x: Array, w: Array) -> Array:
    changed = w.copy()
    changed.flat[np.abs(w).argmax()] *= np.float32(1.01)
    return direct(x, changed)


def _channel_left_out(x: Array, w: Array) -> Array:
    changed = w.copy()
    changed[:, -1] = 0
    return direct(x, changed)


def _shifted(x: Array, w: Array) -> Array:
    return direct(np.roll(x, 1, 2), w)


def _bfloat16(x: Array, w: Array) -> Array:
    cut = [(each.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32) for each in (x, w)]
    return direct(*cut)


def _float16_sums(x: Array, w: Array) -> Array:
    total = np.zeros(direct(x, w).shape, np.float16)
    for channel, a, b in np.ndindex(w.shape[1:]):
        cut = x[channel, a : a + total.shape[1], b : b + total.shape[2]].astype(np.float16)
        total = total + w[:, channel, a, b].astype(np.float16)[:, None, None] * cut
    return total.astype(np.float32)


FAULTS: Sequence[Callable[[Array, Array], Array]] = (
    _weight_wrong, _channel_left_out, _shifted, _bfloat16, _float16_sums,
)  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=lambda each: each.__name__)
@pytest.mark.parametrize("channels", [1, 3, 16, 64])
def test_a_planted_fault_is_beyond_a_transformed_convolution_too(
    fault: Callable[[Array, Array], Array], channels: int
) -> None:
    random = np.random.default_rng(channels)
    x = random.standard_normal((channels, 18, 18)).astype(np.float32)
    w = random.standard_normal((6, channels, 3, 3)).astype(np.float32)
    given = fault(x, w).astype(np.float32)
    assert verdicts(layer(x, w, given))[1] == BEYOND


def test_a_stride_or_another_format_rules_out_a_transformed_convolution() -> None:
    x, w = drawn(np.random.default_rng(2), 3)
    one = layer(x, w, direct(x, w))
    assert transformed_bound(Layer(**{**vars(one), "dtype": "float16"})) is None
    strided = {**one.attributes, "strides": [2, 2]}
    assert transformed_bound(Layer(**{**vars(one), "attributes": strided})) is None
