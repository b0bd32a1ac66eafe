"""Operators on elements against rational numbers, and tables against what is known by hand."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

EVERY = {name: np.arange(256).astype(np.uint8).view(name) for name in ("uint8", "int8")}


def added(oracle: Any, a: tuple[int, Any, Any], b: tuple[int, Any, Any], y: tuple[Any, Any]) -> int:
    """Add two quantized numbers in fused steps, each rounded once."""
    near = oracle.float32
    a_ratio, b_ratio = (near(Fraction(float(s)) / Fraction(float(y[0]))) for s in (a[1], b[1]))
    offset = near(int(a[2]) * a_ratio + near(int(b[2]) * b_ratio))
    constant = near(int(y[1]) - offset)
    total = near(a[0] * a_ratio + near(b[0] * b_ratio + constant))
    return int(oracle.clamp(round(total), y[1].dtype))


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_a_sum_of_any_two_elements(compute: Any, oracle: Any, dtype: str) -> None:
    a, b = np.repeat(EVERY[dtype][::5], 52), np.tile(EVERY[dtype][::5], 52)
    scales = [np.float32(s) for s in (0.037, 0.021, 0.05)]
    zeros = [np.array(z, dtype) for z in (100, 3, 77)]
    got = compute(
        "QLinearAdd", [a, scales[0], zeros[0], b, scales[1], zeros[1], scales[2], zeros[2]]
    )
    for left, right, result in zip(a.tolist(), b.tolist(), got.tolist(), strict=True):
        pairs = (left, scales[0], zeros[0]), (right, scales[1], zeros[1])
        assert result == added(oracle, *pairs, (scales[2], zeros[2]))
    assert got.dtype == dtype


def test_a_sum_is_near_to_the_real_one(compute: Any) -> None:
    a, b = np.repeat(EVERY["uint8"], 256), np.tile(EVERY["uint8"], 256)
    zero = [np.uint8(z) for z in (128, 5, 60)]
    scales = [np.float32(s) for s in (0.02, 0.01, 0.04)]
    got = compute("QLinearAdd", [a, scales[0], zero[0], b, scales[1], zero[1], scales[2], zero[2]])
    real = ((a - 128.0) * 0.02 + (b - 5.0) * 0.01) / 0.04 + 60
    inside = (real > 0.5) & (real < 254.5)
    assert np.abs(got - real)[inside].max() < 0.5001
    assert set(got[real < -1].tolist()) <= {0}


def test_a_sum_saturates_at_both_ends(compute: Any) -> None:
    one, zero = np.float32(1), np.int8(0)
    a, b = np.array([127, -128, 100], np.int8), np.array([1, -1, 27], np.int8)
    assert compute("QLinearAdd", [a, one, None, b, one, None, one, zero]).tolist() == [
        127,
        -128,
        127,
    ]


def test_a_sum_broadcasts_both_ways(compute: Any) -> None:
    one, zero = np.float32(1), np.uint8(0)
    a, b = np.array([[1], [2]], np.uint8), np.array([[10, 20, 30]], np.uint8)
    got = compute("QLinearAdd", [a, one, zero, b, one, zero, one, zero])
    assert got.tolist() == [[11, 21, 31], [12, 22, 32]]
    swapped = compute("QLinearAdd", [b, one, zero, a, one, zero, one, zero])
    assert swapped.tolist() == got.tolist()


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_a_product_of_any_two_elements(compute: Any, oracle: Any, dtype: str) -> None:
    a, b = np.repeat(EVERY[dtype][::5], 52), np.tile(EVERY[dtype][::5], 52)
    scales = [np.float32(s) for s in (0.037, 0.021, 0.05)]
    zeros = [np.array(z, dtype) for z in (100, 3, 77)]
    got = compute(
        "QLinearMul", [a, scales[0], zeros[0], b, scales[1], zeros[1], scales[2], zeros[2]]
    )
    ratio = oracle.scale(scales[0], scales[1], divisor=scales[2])
    for left, right, result in zip(a.tolist(), b.tolist(), got.tolist(), strict=True):
        scaled = oracle.float32((left - 100) * (right - 3) * ratio)
        wanted = oracle.clamp(round(oracle.float32(scaled + 77)), dtype)
        assert result == wanted


def test_the_sigmoid_is_the_exact_one(compute: Any) -> None:
    scale, step = np.float32(1 / 16), np.float32(1 / 256)
    got = compute("QLinearSigmoid", [EVERY["int8"], scale, np.int8(0), step, np.int8(-128)])
    exact = [256 / (1 + math.exp(-int(x) / 16)) - 128 for x in EVERY["int8"]]
    assert got.tolist() == [min(round(y), 127) for y in exact]
    assert got[0] == 0
    assert got[127] == 127


def test_the_leaky_relu_multiplies_what_is_negative(compute: Any) -> None:
    one, zero = np.float32(1), np.int8(0)
    x = np.array([-128, -10, -5, -3, 0, 7], np.int8)
    got = compute("QLinearLeakyRelu", [x, one, zero, one, zero], alpha=0.5)
    assert got.tolist() == [-64, -5, -2, -2, 0, 7]


def test_a_concatenation_brings_each_input_to_the_output_scale(compute: Any) -> None:
    half, one = np.float32(0.5), np.float32(1)
    x, y = np.array([[1, 2, 3, 255]], np.uint8), np.array([[9, 0]], np.uint8)
    inputs = [one, np.uint8(10), x, half, np.uint8(0), y, one, np.uint8(10)]
    assert compute("QLinearConcat", inputs, axis=1).tolist() == [[10, 11, 12, 138, 9, 0]]


def test_a_choice_brings_both_inputs_to_the_output_scale(compute: Any) -> None:
    half, one, zero = np.float32(0.5), np.float32(1), np.uint8(0)
    x, y = np.array([4, 4], np.uint8), np.array([4, 4], np.uint8)
    inputs = [np.array([True, False]), x, half, zero, y, one, zero, one, zero]
    assert compute("QLinearWhere", inputs).tolist() == [2, 4]


@pytest.mark.parametrize(("dtype", "zero"), [("uint8", 0), ("int8", -128)])
def test_a_softmax_of_equals_shares_alike(compute: Any, dtype: str, zero: int) -> None:
    x = np.full((1, 4), 17, dtype)
    inputs = [x, np.float32(0.1), np.array(0, dtype), np.float32(1 / 256), np.array(zero, dtype)]
    assert compute("QLinearSoftmax", inputs, opset=13, axis=-1).tolist() == [[64 + zero] * 4]


@pytest.mark.parametrize(("dtype", "zero"), [("uint8", 0), ("int8", -128)])
def test_a_softmax_is_the_real_one_rounded(
    compute: Any, random: Any, dtype: str, zero: int
) -> None:
    limits = np.iinfo(dtype)
    x = random.integers(limits.min, limits.max + 1, (30, 9)).astype(dtype)
    scale = np.float32(0.03)
    inputs = [x, scale, np.array(0, dtype), np.float32(1 / 256), np.array(zero, dtype)]
    got = compute("QLinearSoftmax", inputs, opset=13, axis=-1)
    powers = np.exp((x.astype(float) - x.max(axis=1, keepdims=True)) * float(scale))
    real = 256 * powers / powers.sum(axis=1, keepdims=True) + zero
    assert np.abs(np.minimum(real, limits.max) - got).max() < 0.5001


def test_a_softmax_with_one_winner_saturates(compute: Any) -> None:
    for dtype, zero in (("uint8", 0), ("int8", -128)):
        limits = np.iinfo(dtype)
        x = np.array([[limits.min, limits.max, limits.min]], dtype)
        inputs = [x, np.float32(1), np.array(0, dtype), np.float32(1 / 256), np.array(zero, dtype)]
        got = compute("QLinearSoftmax", inputs, opset=13, axis=1)
        assert got.tolist() == [[limits.min, limits.max, limits.min]]


def test_a_softmax_of_one_element_is_one(compute: Any) -> None:
    inputs = [np.uint8([[7], [0]]), np.float32(0.1), np.uint8(0), np.float32(1 / 256), np.uint8(0)]
    assert compute("QLinearSoftmax", inputs, opset=13, axis=1).tolist() == [[255], [255]]


def test_a_softmax_sums_over_one_axis_or_before_opset_13_over_all_from_it_on(compute: Any) -> None:
    x, zero = np.zeros((2, 2, 4), np.uint8), np.uint8(0)
    inputs = [x, np.float32(0.1), zero, np.float32(1 / 256), zero]
    assert set(compute("QLinearSoftmax", inputs, opset=13, axis=1).ravel().tolist()) == {128}
    assert set(compute("QLinearSoftmax", inputs, opset=13, axis=2).ravel().tolist()) == {64}
    assert set(compute("QLinearSoftmax", inputs, opset=12, axis=1).ravel().tolist()) == {32}


def test_a_dynamic_scale_spans_zero(compute: Any) -> None:
    assert compute("DynamicQuantizeLinear", [np.float32([0, 2, -3, -2.5, 1.34, 0.5])]).tolist() == [
        153,
        255,
        0,
        26,
        221,
        179,
    ]
    assert compute("DynamicQuantizeLinear", [np.zeros(3, np.float32)]).tolist() == [0, 0, 0]


def test_a_scale_per_axis_is_that_of_each_channel(compute: Any) -> None:
    x, scale = np.float32([[1, 1], [2, 2]]), np.float32([0.5, 0.25])
    zero = np.array([0, 10], np.uint8)
    assert compute("QuantizeLinear", [x, scale, zero], axis=0).tolist() == [[2, 2], [18, 18]]
    assert compute("QuantizeLinear", [x, scale, zero], axis=1).tolist() == [[2, 14], [4, 18]]
    back = compute("DequantizeLinear", [np.uint8([[2, 14]]), scale, zero], axis=1)
    assert back.tolist() == [[1.0, 1.0]]


def test_a_float_is_cut_and_clamped_into_an_integer(compute: Any) -> None:
    x = np.float32([2.9, -2.9, 300, -300, np.inf, -np.inf, np.nan, 127, -128])
    got = compute("Cast", [x], to="int8")
    assert got.tolist() == [2, -2, 127, -128, 127, -128, 0, 127, -128]
    assert compute("Cast", [np.float32([3e9, -1])], to="uint32").tolist() == [3_000_000_000, 0]
    ends = compute("Cast", [np.float64([1e19, -1e19, 2.0**62])], to="int64").tolist()
    assert ends == [2**63 - 1, -(2**63), 2**62]
