"""Convolutions and matrix products against loops over Python's own integers."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest

from xbackend.backends.fixed import products

TYPES = [("uint8", "int8"), ("uint8", "uint8"), ("int8", "int8")]


def draw(random: Any, dtype: str, *shape: int) -> Any:
    limits = np.iinfo(dtype)
    return random.integers(limits.min, limits.max + 1, shape).astype(dtype)


def convolve(x: Any, w: Any, zeros: tuple[int, Any], **how: Any) -> dict[tuple[int, ...], int]:
    """Sum products over a window, element by element."""
    groups, (sh, sw), (dh, dw) = how["group"], how["strides"], how["dilations"]
    top, left, bottom, right = how["pads"]
    _, channels, height, width = x.shape
    outputs, depth, kh, kw = w.shape
    rows = (height + top + bottom - (kh - 1) * dh - 1) // sh + 1
    columns = (width + left + right - (kw - 1) * dw - 1) // sw + 1
    sums = {}
    for n, m, i, j in product(range(len(x)), range(outputs), range(rows), range(columns)):
        total = 0
        for c, a, b in product(range(depth), range(kh), range(kw)):
            y, z = i * sh + a * dh - top, j * sw + b * dw - left
            if 0 <= y < height and 0 <= z < width:
                channel = m // (outputs // groups) * (channels // groups) + c
                pixel = int(x[n, channel, y, z]) - zeros[0]
                total += pixel * (int(w[m, c, a, b]) - int(zeros[1][m]))
        sums[n, m, i, j] = total
    return sums


SHAPES = {
    "plain": {"group": 1, "strides": [1, 1], "dilations": [1, 1], "pads": [0, 0, 0, 0]},
    "uneven": {"group": 1, "strides": [2, 1], "dilations": [1, 2], "pads": [1, 0, 2, 1]},
    "grouped": {"group": 2, "strides": [1, 2], "dilations": [2, 1], "pads": [0, 1, 0, 0]},
    "depthwise": {"group": 4, "strides": [1, 1], "dilations": [1, 1], "pads": [1, 1, 1, 1]},
}


@pytest.mark.parametrize("types", TYPES, ids="-".join)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_convolution_per_channel_with_bias(
    compute: Any, oracle: Any, random: Any, shape: str, types: tuple[str, str]
) -> None:
    how = SHAPES[shape]
    x, w = draw(random, types[0], 2, 4, 6, 5), draw(random, types[1], 4, 4 // how["group"], 3, 2)
    x_zero, y_zero = draw(random, types[0]), draw(random, types[0])
    w_zero, bias = draw(random, types[1], 4), random.integers(-9999, 9999, 4).astype(np.int32)
    w_scale = np.array([0.01, 0.02, 0.0125, 0.03], np.float32)
    x_scale, y_scale = np.float32(0.05), np.float32(5.1)
    inputs = [x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, bias]
    got = compute("QLinearConv", inputs, kernel_shape=[3, 2], **how)
    sums = convolve(x, w, (int(x_zero), w_zero), **how)
    for place, total in sums.items():
        scale = oracle.scale(x_scale, w_scale[place[1]], divisor=y_scale)
        wanted = oracle.requantize(total + int(bias[place[1]]), scale, int(y_zero), types[0])
        assert int(got[place]) == wanted
    assert got.size == len(sums)
    assert len(np.unique(got)) > 20


def test_an_integer_convolution_gives_the_sums_themselves(compute: Any, random: Any) -> None:
    how = SHAPES["uneven"]
    x, w = draw(random, "uint8", 1, 2, 5, 5), draw(random, "int8", 3, 2, 2, 2)
    got = compute("ConvInteger", [x, w, np.uint8(200), np.int8(-3)], **how)
    sums = convolve(x, w, (200, [-3] * 3), **how)
    assert {place: int(got[place]) for place in sums} == sums
    assert got.dtype == np.int32


def test_a_missing_zero_point_is_zero(compute: Any) -> None:
    x, w = np.full((1, 1, 1, 3), 255, np.uint8), np.full((1, 1, 1, 3), -128, np.int8)
    assert compute("ConvInteger", [x, w]).tolist() == [[[[3 * 255 * -128]]]]
    assert compute("MatMulInteger", [x[0, 0], w[0, 0].T]).tolist() == [[3 * 255 * -128]]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("SAME_UPPER", [1 + 2, 3 + 0]),
        ("SAME_LOWER", [0 + 1, 2 + 3]),
        ("VALID", [1 + 2]),
        ("NOTSET", [1 + 2]),
    ],
)
def test_padding_by_name(compute: Any, mode: str, expected: list[int]) -> None:
    x, w = np.array([[[1, 2, 3]]], np.uint8), np.ones((1, 1, 2), np.uint8)
    got = compute("ConvInteger", [x, w], auto_pad=mode, strides=[2])
    assert got.ravel().tolist() == expected


@pytest.mark.parametrize("axes", [1, 3])
def test_a_convolution_has_any_number_of_axes(compute: Any, axes: int) -> None:
    x, w = np.full((1, 2, *[3] * axes), 3, np.uint8), np.full((1, 2, *[2] * axes), 2, np.uint8)
    got = compute("ConvInteger", [x, w])
    assert got.shape == (1, 1, *[2] * axes)
    assert set(got.ravel().tolist()) == {3 * 2 * 2 * 2**axes}


@pytest.mark.parametrize("types", TYPES, ids="-".join)
def test_a_matrix_product_per_column(
    compute: Any, oracle: Any, random: Any, types: tuple[str, str]
) -> None:
    a, b = draw(random, types[0], 2, 3, 7), draw(random, types[1], 7, 4)
    a_zero, b_zero, y_zero = draw(random, types[0]), draw(random, types[1], 4), np.array(3, a.dtype)
    b_scale, a_scale, y_scale = np.float32([0.01, 0.02, 0.03, 0.04]), np.float32(0.3), np.float32(7)
    inputs = [a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero]
    got = compute("QLinearMatMul", inputs)
    for n, i, j in product(range(2), range(3), range(4)):
        pairs = zip(a[n, i].tolist(), b[:, j].tolist(), strict=True)
        total = sum((p - int(a_zero)) * (q - int(b_zero[j])) for p, q in pairs)
        scale = oracle.scale(a_scale, b_scale[j], divisor=y_scale)
        assert int(got[n, i, j]) == oracle.requantize(total, scale, 3, types[0])
    assert got.shape == (2, 3, 4)


def test_an_integer_product_takes_zero_points_per_row_and_column(compute: Any) -> None:
    a, b = np.array([[1, 2], [3, 4]], np.uint8), np.array([[5, 6], [7, 8]], np.uint8)
    got = compute("MatMulInteger", [a, b, np.array([1, 2], np.uint8), np.array([5, 8], np.uint8)])
    # Centred: [[0, 1], [1, 2]] times [[0, -2], [2, 0]].
    assert got.tolist() == [[2, 0], [4, -2]]


@pytest.mark.parametrize("transposed", [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_a_general_product_of_transposed_matrices(
    compute: Any, oracle: Any, random: Any, transposed: tuple[int, int]
) -> None:
    a, b = draw(random, "uint8", 3, 5), draw(random, "int8", 5, 4)
    bias = random.integers(-5000, 5000, 4).astype(np.int32)
    scales = [np.float32(s) for s in (0.02, 0.015, 0.9)]
    stored = [m.T.copy() if flag else m for m, flag in zip((a, b), transposed, strict=True)]
    zeros = [np.uint8(100), np.int8(-7), np.uint8(9)]
    inputs = [stored[0], scales[0], zeros[0], stored[1], scales[1], zeros[1], bias]
    options = {"transA": transposed[0], "transB": transposed[1], "alpha": 1.5}
    got = compute("QGemm", [*inputs, scales[2], zeros[2]], **options)
    real = compute("QGemm", inputs, **options)
    product_of_scales = oracle.scale(1.5, *scales[:2], divisor=1.0)
    scale = oracle.float32(product_of_scales / Fraction(float(scales[2])))
    for i, j in product(range(3), range(4)):
        total = sum((int(p) - 100) * (int(q) + 7) for p, q in zip(a[i], b[:, j], strict=True))
        total += int(bias[j])
        assert int(got[i, j]) == oracle.requantize(total, scale, 9, "uint8")
        assert Fraction(float(real[i, j])) == oracle.float32(total * product_of_scales)
    assert real.dtype == np.float32


def test_a_long_sum_is_exact_and_wraps_at_32_bits(compute: Any) -> None:
    a, b = np.full((1, 70_001), 255, np.uint8), np.full((70_001, 1), 255, np.uint8)
    total = 70_001 * 255 * 255
    assert total > 2**32
    assert compute("MatMulInteger", [a, b]).tolist() == [[total - 2**32]]


def test_a_bias_at_the_end_of_its_range_wraps(compute: Any) -> None:
    x, w = np.full((1, 1, 1), 255, np.uint8), np.full((1, 1, 1), 127, np.int8)
    one, zero = np.float32(1), np.uint8(128)
    bias = np.array([2**31 - 1], np.int32)
    inputs = [x, one, np.uint8(0), w, one, np.int8(0), one, zero, bias]
    assert compute("QLinearConv", inputs).tolist() == [[[0]]]
    assert compute("QLinearConv", [*inputs[:8], bias - 255 * 127]).tolist() == [[[255]]]


def test_no_pair_of_products_saturates_at_16_bits(compute: Any) -> None:
    # 255 * 127 twice is 64,770, which vpmaddubsw would cut to 32,767.
    a, b = np.full((1, 2), 255, np.uint8), np.full((2, 1), 127, np.int8)
    assert compute("MatMulInteger", [a, b]).tolist() == [[64_770]]


def test_sums_are_the_same_in_one_piece_and_in_many(
    compute: Any, random: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = draw(random, "uint8", 2, 3, 50), draw(random, "int8", 50, 4)
    x, w = draw(random, "uint8", 2, 4, 7, 6), draw(random, "int8", 6, 2, 3, 3)
    how = {"group": 2, "pads": [1, 1, 0, 0]}
    whole = [compute("MatMulInteger", [a, b]), compute("ConvInteger", [x, w], **how)]
    monkeypatch.setattr(products, "BUFFER", 300)
    pieces = [compute("MatMulInteger", [a, b]), compute("ConvInteger", [x, w], **how)]
    assert [array.tolist() for array in pieces] == [array.tolist() for array in whole]


def test_a_product_of_vectors_is_a_scalar(compute: Any) -> None:
    got = compute("MatMulInteger", [np.uint8([1, 2, 3]), np.uint8([4, 5, 6]), np.uint8(1)])
    assert (got.shape, int(got)) == ((), 0 * 4 + 1 * 5 + 2 * 6)


def test_a_sum_that_might_not_fit_into_53_bits_is_refused() -> None:
    long = np.broadcast_to(np.uint8(255), (1, products.LONGEST))
    zero = np.uint8(0)
    with pytest.raises(OverflowError, match="may not fit into 53 bits"):
        products.matmul(long, zero, long.T, zero)
