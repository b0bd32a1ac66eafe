"""Poolings against loops, and by hand at their corners."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest


def windows(size: tuple[int, int], **how: Any) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """List which elements of an image each place of a window sees."""
    (kh, kw), (sh, sw), (top, left, bottom, right) = (
        how["kernel_shape"],
        how["strides"],
        how["pads"],
    )
    rows, columns = (size[0] + top + bottom - kh) // sh + 1, (size[1] + left + right - kw) // sw + 1
    seen = {}
    for i, j in product(range(rows), range(columns)):
        places = product(
            range(i * sh - top, i * sh - top + kh), range(j * sw - left, j * sw - left + kw)
        )
        seen[i, j] = [(y, z) for y, z in places if 0 <= y < size[0] and 0 <= z < size[1]]
    return seen


WINDOWS = [
    {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [0, 0, 0, 0]},
    {"kernel_shape": [3, 2], "strides": [1, 2], "pads": [1, 0, 2, 1]},
]


@pytest.mark.parametrize("how", WINDOWS, ids=["even", "uneven"])
@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_the_greatest_of_each_window(compute: Any, random: Any, how: Any, dtype: str) -> None:
    x = random.integers(np.iinfo(dtype).min, 0 if dtype == "int8" else 99, (2, 3, 7, 6))
    x = x.astype(dtype)
    got = compute("MaxPool", [x], **how)
    for (i, j), seen in windows((7, 6), **how).items():
        wanted = [[max(int(x[n, c, y, z]) for y, z in seen) for c in range(3)] for n in range(2)]
        assert got[:, :, i, j].tolist() == wanted


@pytest.mark.parametrize("how", WINDOWS, ids=["even", "uneven"])
@pytest.mark.parametrize("include", [0, 1])
def test_the_average_of_each_window(
    compute: Any, oracle: Any, random: Any, how: Any, include: int
) -> None:
    x = random.integers(0, 256, (1, 2, 7, 6)).astype(np.uint8)
    scales, zeros = (np.float32(0.037), np.float32(0.031)), (np.uint8(100), np.uint8(120))
    inputs = [x, scales[0], zeros[0], scales[1], zeros[1]]
    got = compute("QLinearAveragePool", inputs, count_include_pad=include, **how)
    near, source, target = oracle.float32, *(Fraction(float(s)) for s in scales)
    for (i, j), seen in windows((7, 6), **how).items():
        for c in range(2):
            total = Fraction(0)
            for y, z in seen:
                total = near(total + near((int(x[0, c, y, z]) - 100) * source))
            count = len(seen) if not include else int(np.prod(how["kernel_shape"]))
            shifted = near(near(near(total / count) / target) + 120)
            assert int(got[0, c, i, j]) == oracle.clamp(round(shifted), "uint8")


@pytest.mark.parametrize("operator", ["QLinearGlobalAveragePool", "QLinearAveragePool"])
def test_the_average_of_a_whole_image_is_an_exact_sum(
    compute: Any, oracle: Any, random: Any, operator: str
) -> None:
    x = random.integers(-128, 128, (2, 3, 5, 7)).astype(np.int8)
    source, target = np.float32(0.04), np.float32(0.011)
    inputs = [x, source, np.int8(-9), target, np.int8(4)]
    got = compute(operator, inputs, kernel_shape=[5, 7])
    divisor = oracle.float32(Fraction(float(target)) * 35)
    scale = oracle.float32(Fraction(float(source)) / divisor)
    for n, c in product(range(2), range(3)):
        total = sum(int(v) + 9 for v in x[n, c].ravel())
        assert got[n, c].tolist() == [[oracle.requantize(total, scale, 4, "int8")]]


def test_a_last_window_that_starts_in_the_padding_is_left_out(compute: Any) -> None:
    x = np.arange(1, 6, dtype=np.uint8).reshape(1, 1, 5)
    how = {"kernel_shape": [2], "strides": [3], "pads": [0, 1]}
    assert compute("MaxPool", [x], **how).ravel().tolist() == [2, 5]
    assert compute("MaxPool", [x], ceil_mode=1, **how).ravel().tolist() == [2, 5]
    wide = {"kernel_shape": [2], "strides": [2]}
    assert compute("MaxPool", [x], **wide).ravel().tolist() == [2, 4]
    assert compute("MaxPool", [x], ceil_mode=1, **wide).ravel().tolist() == [2, 4, 5]


def test_a_negative_maximum_is_not_lifted_by_the_padding(compute: Any) -> None:
    x = np.full((1, 1, 2, 2), -100, np.int8)
    got = compute("MaxPool", [x], kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    assert set(got.ravel().tolist()) == {-100}


def test_the_first_of_two_zeros_wins(compute: Any) -> None:
    zeros = np.array([[[-0.0, 0.0]]], np.float32)
    for x in (zeros, zeros[..., ::-1]):
        assert compute("MaxPool", [x], kernel_shape=[2]).tobytes() == x[..., :1].tobytes()
        assert compute("GlobalMaxPool", [x]).tobytes() == x[..., :1].tobytes()
        assert compute("Max", [x[..., 0], x[..., 1]]).tobytes() == x[..., 0].tobytes()
