"""Nearness to a float64 reference: rounding against exact fractions, distances by hand."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from xbackend.numerics.blocks import MemoryBlocks, blocks_of_tensor
from xbackend.numerics.float64_error import ErrorMetrics, error_metrics, round_bits, worst_errors
from xbackend.numerics.floats import FORMATS, FloatFormat, decode
from xbackend.worker.tensor import Tensor, from_numpy


def nearest(layout: FloatFormat, value: float) -> int:
    """Return the bits of the number of a format that is nearest, ties to even, by bisection."""
    sign, exact = (layout.sign_mask if np.signbit(value) else 0), abs(Fraction(value))
    low, high = 0, layout.infinity
    beyond = Fraction(2) ** (layout.bias + 1)  # where infinity would stand if it were a number
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if decode(layout, middle) <= exact else (low, middle)
    above = beyond if high == layout.infinity else decode(layout, high)
    down, up = exact - decode(layout, low), above - exact
    chosen = low if down < up or (down == up and low % 2 == 0) else high
    return sign | chosen


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float32"])
def test_float64_is_rounded_once_to_nearest_ties_to_even(name: str) -> None:
    layout = FORMATS[name]
    generator = np.random.Generator(np.random.PCG64(7))
    exponents = generator.integers(-layout.bias - layout.mantissa_bits - 2, layout.bias + 2, 400)
    values = np.ldexp(generator.uniform(1, 2, 400), exponents) * generator.choice([-1, 1], 400)
    places = generator.integers(0, layout.infinity - 1, 200)
    ties = [(decode(layout, int(p)) + decode(layout, int(p) + 1)) / 2 for p in places]
    almost = [np.nextafter(float(tie), generator.choice([0, np.inf])) for tie in ties]
    whole = np.array([*values, *map(float, ties), *almost, 0.0, -0.0])
    found = [int(bits) for bits in round_bits(whole, name)]
    assert found == [nearest(layout, float(value)) for value in whole]


def test_infinity_and_nan_stay_what_they_are() -> None:
    wide = np.array([np.inf, -np.inf, np.nan])
    high = round_bits(wide, "bfloat16")
    assert [hex(bits) for bits in high[:2]] == ["0x7f80", "0xff80"]
    assert high[2] & 0x7FFF > 0x7F80


def _judged(values: list[float], truth: list[float]) -> ErrorMetrics:
    found = error_metrics(
        blocks_of_tensor(from_numpy(np.array(values, np.float32))),
        blocks_of_tensor(from_numpy(np.array(truth))),
    )
    assert found is not None
    return found


def test_a_tensor_that_is_the_rounded_reference_has_all_bits_and_still_a_distance() -> None:
    found = _judged([1.0, -2.0], [1.0 + 2.0**-30, -2.0])
    assert (found.correct_bits, found.max_ulp, found.exact_fraction) == (23, 0, 1.0)
    assert found.max_abs == 2.0**-30
    assert found.relative == pytest.approx(2.0**-30 / np.sqrt(5), rel=1e-6)
    assert found.normwise_bits("float32") == 25.0


def test_bits_steps_and_distances_are_those_of_a_hand() -> None:
    step = 2.0**-22  # of float32 between 2 and 4
    found = _judged([2.0 + 3 * step, 4.0], [2.0, 4.0])
    assert (found.correct_bits, found.max_ulp, found.max_abs) == (21, 3, 3 * step)
    assert found.exact_fraction == 0.5
    assert found.relative == pytest.approx(3 * step / np.sqrt(20))
    norm = found.normwise_bits("float32")
    assert norm == pytest.approx(22 - np.log2(3) + np.log2(20) / 2)


def test_a_carry_costs_all_bits_at_one_step() -> None:
    below = float(np.nextafter(np.float32(2), np.float32(0)))
    found = _judged([below], [2.0])
    assert (found.correct_bits, found.max_ulp) == (0, 1)


def test_nan_against_a_number_has_no_distance_and_against_nan_none_either() -> None:
    assert _judged([np.nan, 1.0], [1.0, 1.0]).max_abs is None
    assert _judged([np.nan, 1.0], [1.0, 1.0]).relative is None
    assert _judged([np.nan, np.inf, 1.0], [np.nan, np.inf, 1.0]).max_abs == 0.0
    assert _judged([np.inf, 1.0], [1.0, 1.0]).max_abs is None


def test_errors_are_summed_over_blocks() -> None:
    count = 40_000
    truth = np.arange(1.0, count + 1)
    values = truth.astype(np.float32)
    values[-1] += np.float32(0.5)
    found = error_metrics(blocks_of_tensor(from_numpy(values)), blocks_of_tensor(from_numpy(truth)))
    assert found is not None
    assert (found.max_abs, found.exact_fraction) == (0.5, 1 - 1 / count)
    assert found.relative == pytest.approx(0.5 / np.sqrt((truth**2).sum()))


def test_bfloat16_is_judged_in_its_own_format() -> None:
    bits = np.array([0x3F81], np.uint16)  # 1 + 2^-7
    found = error_metrics(
        blocks_of_tensor(Tensor("bfloat16", bits)), blocks_of_tensor(from_numpy(np.array([1.0])))
    )
    assert found is not None
    assert (found.correct_bits, found.max_ulp, found.max_abs) == (6, 1, 2.0**-7)


def test_what_cannot_be_judged_is_not() -> None:
    whole = blocks_of_tensor(from_numpy(np.array([1, 2])))
    single, double = from_numpy(np.zeros(2, np.float32)), from_numpy(np.zeros(2))
    assert error_metrics(whole, blocks_of_tensor(double)) is None
    assert error_metrics(blocks_of_tensor(single), blocks_of_tensor(single)) is None
    assert (
        error_metrics(MemoryBlocks("float32", (1, 2), single.array), blocks_of_tensor(double))
        is None
    )


def test_the_worst_is_that_of_each_figure() -> None:
    one, two = ErrorMetrics(3, 9, 0.5, 0.1, 1.0), ErrorMetrics(5, 20, 0.25, None, 0.5)
    assert worst_errors([one, None, two]) == ErrorMetrics(3, 20, 0.5, None, 0.75)
    assert worst_errors([None]) is None
