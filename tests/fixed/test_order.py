"""Sums of floats against a scalar oracle: Python's numbers, rounded by struct, in naive loops."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from xbackend.backends.fixed import sums

Array = np.ndarray[Any, Any]


def f32(value: float) -> float:
    """Round to float32; a sum or product of two float32 is rounded right, as float64 is wide."""
    (rounded,) = struct.unpack("<f", struct.pack("<f", value))
    return float(rounded)


def ordered(terms: Sequence[float]) -> float:
    """Add terms by the documented rule."""
    if len(terms) <= 16:
        result = terms[0]
        for term in terms[1:]:
            result = f32(result + term)
        return result
    middle = 16
    while 2 * middle < len(terms):
        middle *= 2
    return f32(ordered(terms[:middle]) + ordered(terms[middle:]))


def numbers(random: np.random.Generator, *shape: int) -> Array:
    """Return numbers of many magnitudes, so that every order gives other bits."""
    scale = np.exp2(random.integers(-8, 9, shape))
    return (random.standard_normal(shape) * scale).astype(np.float32)


def same(actual: Array, expected: Any) -> None:
    """Compare bits."""
    assert actual.dtype == np.float32
    assert actual.tobytes() == np.array(expected, np.float32).reshape(actual.shape).tobytes()


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 31, 32, 33, 48, 49, 64, 65, 100, 161, 1000])
def test_both_ways_of_adding_follow_the_rule(random: np.random.Generator, count: int) -> None:
    values = numbers(random, count, 2)
    expected = [ordered([float(v) for v in column]) for column in values.T]
    same(sums.total(values, [0])[0], expected)
    same(sums.fold(lambda index: np.array(values[index]), 0, count), expected)


def test_the_order_is_neither_that_of_numpy_nor_from_left_to_right(
    random: np.random.Generator,
) -> None:
    values = numbers(random, 200, 64)
    ours = sums.total(values, [0])[0]
    plain = np.add.accumulate(values, axis=0)[-1]
    assert (ours != plain).any()
    assert (ours != np.ascontiguousarray(values.T).sum(axis=1)).any()


def test_a_sum_of_negative_zeros_is_negative_zero() -> None:
    values = np.full((40, 1), -0.0, np.float32)
    assert np.signbit(sums.total(values, [0])).all()
    assert not np.signbit(sums.total(values[:0], [0])).any()


@pytest.mark.parametrize("threads", ["1", "4"])
def test_a_product_of_matrices_is_the_same_however_it_is_cut(
    random: np.random.Generator, monkeypatch: pytest.MonkeyPatch, threads: str
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    monkeypatch.setattr(sums, "ROOM", 7)
    left, right = numbers(random, 2, 5, 37), numbers(random, 2, 37, 4)
    expected = [
        [[dot(left[b, m], right[b, :, n]) for n in range(4)] for m in range(5)] for b in range(2)
    ]
    same(sums.product(left, right), expected)


def dot(left: Sequence[Any], right: Sequence[Any]) -> float:
    """Round each product, then add."""
    return ordered([f32(float(a) * float(b)) for a, b in zip(left, right, strict=True)])


def test_gemm_scales_after_the_sum_and_adds_the_bias_last(
    compute: Callable[..., Array], random: np.random.Generator
) -> None:
    a, b, c = numbers(random, 20, 3), numbers(random, 4, 20), numbers(random, 4)
    actual = compute("Gemm", [a, b, c], alpha=0.3, beta=0.7, transA=1, transB=1)
    alpha, beta = f32(0.3), f32(0.7)
    expected = [
        [f32(f32(dot(a[:, m], b[n]) * alpha) + f32(float(c[n]) * beta)) for n in range(4)]
        for m in range(3)
    ]
    same(actual, expected)


def convolved(x: Array, w: Array, bias: Array, groups: int, stride: int, pad: int) -> Any:
    """Convolve in naive loops: input channel, kernel row, kernel column, bias last."""
    outputs, depth, height, width = w.shape
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    rows = (padded.shape[2] - height) // stride + 1
    columns = (padded.shape[3] - width) // stride + 1
    each = outputs // groups

    def place(n: int, m: int, i: int, j: int) -> float:
        first = m // each * depth
        terms = [
            f32(float(w[m, c, p, q]) * float(padded[n, first + c, i * stride + p, j * stride + q]))
            for c in range(depth)
            for p in range(height)
            for q in range(width)
        ]
        return f32(ordered(terms) + float(bias[m]))

    return [
        [[[place(n, m, i, j) for j in range(columns)] for i in range(rows)] for m in range(outputs)]
        for n in range(len(x))
    ]


@pytest.mark.parametrize(("groups", "stride"), [(1, 1), (1, 2), (2, 1), (6, 2)])
def test_a_convolution_is_the_one_in_naive_loops(
    compute: Callable[..., Array], random: np.random.Generator, groups: int, stride: int
) -> None:
    x = numbers(random, 2, 6, 5, 4)
    w, bias = numbers(random, 6, 6 // groups, 3, 2), numbers(random, 6)
    actual = compute("Conv", [x, w, bias], group=groups, strides=[stride] * 2, pads=[1] * 4)
    same(actual, convolved(x, w, bias, groups, stride, 1))


def test_a_transposed_convolution_is_that_of_the_spread_input_with_turned_kernels(
    compute: Callable[..., Array], random: np.random.Generator
) -> None:
    x, w, bias = numbers(random, 1, 3, 3, 4), numbers(random, 3, 2, 3, 3), numbers(random, 2)
    spread = np.zeros((1, 3, 5, 7), np.float32)
    spread[:, :, ::2, ::2] = x
    turned = np.flip(w, (2, 3)).swapaxes(0, 1)
    actual = compute("ConvTranspose", [x, w, bias], strides=[2, 2], pads=[1, 1, 1, 1])
    same(actual, convolved(spread, turned, bias, 1, 1, 1))


def test_an_average_is_the_sum_of_its_window_divided_once(
    compute: Callable[..., Array], random: np.random.Generator
) -> None:
    x = numbers(random, 1, 1, 6, 6)
    actual = compute("AveragePool", [x], kernel_shape=[5, 5], pads=[1, 1, 1, 1])
    padded = np.pad(x[0, 0], 1)
    expected = [
        [
            f32(ordered([float(v) for v in padded[i : i + 5, j : j + 5].ravel()]) / inside(i, j))
            for j in range(4)
        ]
        for i in range(4)
    ]
    same(actual, expected)


def inside(i: int, j: int) -> int:
    """Count the elements of a 5 x 5 window at (i, j) that are no padding of a 6 x 6 image."""
    rows, columns = (sum(1 <= start + step <= 6 for step in range(5)) for start in (i, j))
    return rows * columns


def test_a_mean_over_rows_and_columns_goes_row_by_row(
    compute: Callable[..., Array], random: np.random.Generator
) -> None:
    x = numbers(random, 2, 3, 5, 7)
    expected = [
        [f32(ordered([float(v) for v in channel.ravel()]) / 35) for channel in sample]
        for sample in x
    ]
    same(compute("GlobalAveragePool", [x]), expected)
    same(compute("ReduceMean", [x, np.array([2, 3])]), expected)


def test_a_batch_normalization_rounds_every_step(
    compute: Callable[..., Array], random: np.random.Generator
) -> None:
    x, variance = numbers(random, 1, 2, 3, 1), np.abs(numbers(random, 2))
    scale, bias, mean = (numbers(random, 2) for _ in range(3))
    root = [f32(np.sqrt(f32(float(v) + f32(1e-5)))) for v in variance]
    factor = [f32(float(s) / r) for s, r in zip(scale, root, strict=True)]
    expected = [
        [
            f32(f32(f32(float(v) - float(mean[c])) * factor[c]) + float(bias[c]))
            for v in x[0, c].ravel()
        ]
        for c in range(2)
    ]
    same(compute("BatchNormalization", [x, scale, bias, mean, variance], epsilon=1e-5), expected)
