"""Every rounding is the nearest, ties to even, and every clamp is at the type's own limits."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xbackend.backends.fixed import arithmetic

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False, min_value=-1e6, max_value=1e6)


def exact(value: Any) -> Fraction:
    return Fraction(float(value))


@given(st.integers(-255, 255), FLOATS, FLOATS)
def test_a_fused_product_and_sum_is_rounded_once(
    oracle: Any, factor: int, scale: float, addend: float
) -> None:
    arrays = (np.array([v], np.float32) for v in (factor, scale, addend))
    (got,) = arithmetic.fused_multiply_add(*arrays)
    assert exact(got) == oracle.float32(factor * exact(scale) + exact(addend))


def test_a_fused_sum_is_not_rounded_twice() -> None:
    # 3 * (2**23 + 1) is the middle of two float32, and a float64 beside it cannot hold 2**-40.
    scale, tiny = np.float32(2.0**23 + 1), np.float32(2.0**-40)
    above = arithmetic.fused_multiply_add(np.float32(3), scale, tiny)
    below = arithmetic.fused_multiply_add(np.float32(3), scale, -tiny)
    assert (float(above), float(below)) == (25165828.0, 25165826.0)


def test_a_fused_product_and_sum_is_not_that_of_two_roundings() -> None:
    third = np.float32(1) / np.float32(3)
    fused = arithmetic.fused_multiply_add(np.array(3, np.float32), third, np.array(-1, np.float32))
    assert float(fused) == float(3 * exact(third) - 1) != 0
    assert np.float32(3) * third - np.float32(1) == 0


@pytest.mark.parametrize(
    ("accumulator", "scale", "zero_point", "dtype", "expected"),
    [
        (1, 0.5, 0, "uint8", 0),
        (3, 0.5, 0, "uint8", 2),
        (5, 0.5, 0, "uint8", 2),
        (-1, 0.5, 10, "uint8", 10),
        (-3, 0.5, 10, "uint8", 8),
        (255, 1.0, 0, "uint8", 255),
        (256, 1.0, 0, "uint8", 255),
        (-1, 1.0, 0, "uint8", 0),
        (127, 1.0, 0, "int8", 127),
        (128, 1.0, 0, "int8", 127),
        (-129, 1.0, 0, "int8", -128),
        (2**31 - 1, 1.0, 255, "uint8", 255),
        (-(2**31), 1.0, 255, "uint8", 0),
        (2**31 - 1, 1.0, -128, "int8", 127),
        (-(2**31), 1.0, 127, "int8", -128),
        (2**24 + 1, 2.0**-18, 0, "uint8", 64),
    ],
)
def test_an_accumulator_is_scaled_rounded_and_clamped(
    accumulator: int, scale: float, zero_point: int, dtype: str, expected: int
) -> None:
    got = arithmetic.requantize(
        np.array(accumulator, np.int32), np.float32(scale), np.array(zero_point, dtype), dtype
    )
    assert (got.dtype, int(got)) == (np.dtype(dtype), expected)


@given(
    st.integers(-(2**31), 2**31 - 1),
    st.floats(2.0**-24, 2.0, width=32),
    st.integers(-128, 127),
)
def test_any_accumulator_is_what_the_definition_says(
    oracle: Any, accumulator: int, scale: float, zero_point: int
) -> None:
    got = arithmetic.requantize(
        np.array([accumulator], np.int32), np.float32(scale), np.array(zero_point, "int8"), "int8"
    )
    assert int(got[0]) == oracle.requantize(accumulator, exact(scale), zero_point, "int8")


def test_a_sum_wraps_as_a_32_bit_accumulator_does() -> None:
    sums = np.array([2**31 - 1, 2**31, 2**32 + 5, -(2**31) - 1])
    assert arithmetic.int32(sums).tolist() == [2**31 - 1, -(2**31), 5, 2**31 - 1]


def test_what_is_no_number_becomes_the_least_integer() -> None:
    values = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38], np.float32)
    got = arithmetic.quantize(values, np.float32(0.1), np.array(7, "uint8"), "uint8")
    assert got.tolist() == [0, 255, 0, 255, 0]


@given(FLOATS, st.floats(2.0**-10, 2.0**10, width=32), st.integers(0, 255))
def test_a_float_is_divided_rounded_and_clamped(
    oracle: Any, value: float, scale: float, zero_point: int
) -> None:
    zero = np.array(zero_point, "uint8")
    (got,) = arithmetic.quantize(np.array([value], np.float32), np.float32(scale), zero, "uint8")
    quotient = oracle.float32(exact(value) / exact(scale))
    assert int(got) == oracle.clamp(round(quotient) + zero_point, "uint8")


@given(st.integers(-128, 127), st.integers(-128, 127), st.floats(2.0**-20, 4.0, width=32))
def test_an_integer_becomes_the_float32_nearest_to_what_it_stands_for(
    oracle: Any, value: int, zero_point: int, scale: float
) -> None:
    arrays = np.array(value, "int8"), np.float32(scale), np.array(zero_point, "int8")
    got = arithmetic.dequantize(*arrays)
    assert exact(got) == oracle.float32((value - zero_point) * exact(scale))
