"""Float formats and the scalar oracle, against bit patterns written by hand and Python's struct."""

from __future__ import annotations

import math
import struct
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xbackend.numerics.floats import (
    FORMATS,
    decode,
    is_nan,
    ordinal,
    remaining_precision,
    split_fields,
    ulp_distance,
)

STRUCT = {"float16": ("<e", "<H"), "float32": ("<f", "<I"), "float64": ("<d", "<Q")}


@pytest.mark.parametrize(
    ("name", "bits", "storage", "bias", "sign", "infinity", "mantissa"),
    [
        ("float16", 16, "uint16", 15, 0x8000, 0x7C00, 0x03FF),
        ("bfloat16", 16, "uint16", 127, 0x8000, 0x7F80, 0x007F),
        ("float32", 32, "uint32", 127, 0x80000000, 0x7F800000, 0x007FFFFF),
        ("float64", 64, "uint64", 1023, 1 << 63, 0x7FF0000000000000, 0x000FFFFFFFFFFFFF),
    ],
)
def test_each_format_lays_out_its_bits_as_ieee_754_says(
    name: str, bits: int, storage: str, bias: int, sign: int, infinity: int, mantissa: int
) -> None:
    layout = FORMATS[name]
    assert (layout.bits, layout.storage, layout.bias) == (bits, storage, bias)
    assert layout.sign_mask == sign
    assert layout.infinity == infinity
    assert layout.mantissa_mask == mantissa
    assert sign ^ infinity ^ mantissa == (1 << bits) - 1


@pytest.mark.parametrize("name", sorted(STRUCT))
@given(data=st.data())
def test_decoding_gives_the_number_that_struct_reads(name: str, data: st.DataObject) -> None:
    layout = FORMATS[name]
    bits = data.draw(st.integers(0, (1 << layout.bits) - 1))
    number_code, bits_code = STRUCT[name]
    (number,) = struct.unpack(number_code, struct.pack(bits_code, bits))
    assert is_nan(layout, bits) == math.isnan(number)
    if math.isfinite(number):
        assert decode(layout, bits) == Fraction(number)


@given(bits=st.integers(0, 0xFFFF))
def test_bfloat16_is_the_upper_half_of_float32(bits: int) -> None:
    half, whole = FORMATS["bfloat16"], FORMATS["float32"]
    assert is_nan(half, bits) == is_nan(whole, bits << 16)
    if split_fields(half, bits).exponent < 255:
        assert decode(half, bits) == decode(whole, bits << 16)


@pytest.mark.parametrize(
    ("name", "bits", "number"),
    [
        ("float32", 0x3F800000, Fraction(1)),
        ("float32", 0xC0490FDB, Fraction(-13176795, 4194304)),
        ("float32", 0x00000001, Fraction(1, 2**149)),
        ("float16", 0x7BFF, Fraction(65504)),
        ("bfloat16", 0x3FC0, Fraction(3, 2)),
        ("float64", 0x0010000000000000, Fraction(1, 2**1022)),
        ("float32", 0x80000000, Fraction(0)),
    ],
)
def test_known_bit_patterns_decode_to_known_numbers(name: str, bits: int, number: Fraction) -> None:
    assert decode(FORMATS[name], bits) == number


@pytest.mark.parametrize("bits", [0x7F800000, 0xFF800000, 0x7FC00000])
def test_what_is_not_finite_cannot_be_decoded(bits: int) -> None:
    with pytest.raises(ValueError, match="is not a finite number"):
        decode(FORMATS["float32"], bits)


def test_a_pattern_that_is_too_wide_is_refused() -> None:
    with pytest.raises(ValueError, match="0x10000 is not a bit pattern of float16"):
        split_fields(FORMATS["float16"], 0x10000)


@pytest.mark.parametrize(
    ("name", "first", "second", "bits"),
    [
        ("float32", 0x3F800000, 0x3F800000, 23),
        ("float32", 0x3F800000, 0x3F800001, 22),
        ("float32", 0x3F800000, 0x3FC00000, 0),  # the highest mantissa bit
        ("float32", 0x3F800000, 0x3FA00000, 1),
        ("float32", 0x3F7FFFFF, 0x3F800000, 0),  # neighbours, but the exponent differs
        ("float32", 0x00000000, 0x80000000, 0),  # the zeros
        ("float32", 0x7FC00000, 0x7FC00001, 22),  # NaN payloads
        ("float16", 0x3C00, 0x3C01, 9),
        ("bfloat16", 0x3F80, 0x3F84, 4),
        ("float64", 0x3FF0000000000000, 0x3FF0000000000010, 47),
    ],
)
def test_remaining_precision_of_pairs_worked_out_by_hand(
    name: str, first: int, second: int, bits: int
) -> None:
    assert remaining_precision(FORMATS[name], first, second) == bits
    assert remaining_precision(FORMATS[name], second, first) == bits


@pytest.mark.parametrize(
    ("first", "second", "steps"),
    [
        (0x3F800000, 0x3F800000, 0),
        (0x3F7FFFFF, 0x3F800000, 1),
        (0x00000000, 0x80000000, 1),  # +0.0 and -0.0 are neighbours
        (0x00000001, 0x80000001, 3),  # the smallest numbers, with both zeros between them
        (0x7F7FFFFF, 0x7F800000, 1),  # the largest number and infinity
        (0x7FC00000, 0xFFC00123, 0),  # two NaN
        (0x7FC00000, 0x7F800000, None),  # NaN and infinity
        (0x3F800000, 0xFFC00000, None),
    ],
)
def test_ulp_distance_of_pairs_worked_out_by_hand(
    first: int, second: int, steps: int | None
) -> None:
    layout = FORMATS["float32"]
    assert ulp_distance(layout, first, second) == steps
    assert ulp_distance(layout, second, first) == steps


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_positions_count_every_pattern_in_the_order_of_its_number(name: str) -> None:
    layout = FORMATS[name]
    finite = [
        bits for bits in range(1 << 16) if bits & ~layout.sign_mask & 0xFFFF < layout.infinity
    ]
    ordered = sorted(finite, key=lambda bits: ordinal(layout, bits))
    numbers = [decode(layout, bits) for bits in ordered]
    assert numbers == sorted(numbers)
    places = [ordinal(layout, bits) for bits in ordered]
    assert places == list(range(-layout.infinity, layout.infinity))
