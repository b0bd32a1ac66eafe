"""Classes and distances: by hand, and against the scalar oracle of xbackend.numerics.floats."""

from __future__ import annotations

import math
import tracemalloc
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xbackend.errors import StoreError
from xbackend.numerics import floats, metrics
from xbackend.numerics.blocks import TensorBlocks, blocks_of_file, blocks_of_tensor
from xbackend.numerics.metrics import Metrics, equivalence_classes, measure, remaining_precision
from xbackend.worker.tensor import Tensor, from_numpy

INT = {"float16": np.uint16, "bfloat16": np.uint16, "float32": np.uint32, "float64": np.uint64}


def from_bits(dtype: str, *patterns: int) -> TensorBlocks:
    """Make a tensor of a float format from bit patterns."""
    array = np.array(patterns, INT[dtype])
    return blocks_of_tensor(Tensor(dtype, array if dtype == "bfloat16" else array.view(dtype)))


def from_numbers(*numbers: float, dtype: str = "float32") -> TensorBlocks:
    """Make a tensor from numbers."""
    return blocks_of_tensor(from_numpy(np.array(numbers, dtype)))


def test_classes_are_in_the_order_of_first_appearance() -> None:
    assert equivalence_classes(["c", "a", "c", "b", "a"]) == [[0, 2], [1, 4], [3]]
    assert equivalence_classes([]) == []


def test_one_last_bit_costs_one_bit_of_precision() -> None:
    found = measure([from_bits("float32", 0x3F800000, 0x40000000), from_numbers(1.0, 2.0000002)])
    assert found == Metrics(22, 1, 2.0**-22, 0.5)


def test_identical_tensors_keep_every_bit() -> None:
    one = from_numbers(1.0, math.nan, -0.0, math.inf)
    assert measure([one, one]) == Metrics(23, 0, 0.0, 0.0)
    assert measure([one]) == Metrics(23, 0, 0.0, 0.0)


def test_the_zeros_are_neighbours_with_no_common_bit() -> None:
    assert measure([from_numbers(0.0), from_numbers(-0.0)]) == Metrics(0, 1, 0.0, 1.0)


def test_a_change_of_exponent_between_neighbours_leaves_no_bit() -> None:
    found = measure([from_bits("float32", 0x3F7FFFFF), from_bits("float32", 0x3F800000)])
    assert found == Metrics(0, 1, 2.0**-24, 1.0)


def test_a_nan_against_a_number_has_no_distance() -> None:
    found = measure([from_numbers(1.0, math.nan), from_numbers(2.0, 3.0)])
    assert found == Metrics(0, None, None, 1.0, not_finite=1)


def test_nan_payloads_differ_in_bits_but_not_in_distance() -> None:
    found = measure([from_bits("float32", 0x7FC00000), from_bits("float32", 0x7FC00100)])
    assert found == Metrics(14, 0, 0.0, 1.0)
    opposite = measure([from_bits("float32", 0x7FC00000), from_bits("float32", 0xFFC00000)])
    assert opposite == Metrics(0, 0, 0.0, 1.0)


def test_infinity_is_one_step_beyond_the_largest_number_and_infinitely_far() -> None:
    found = measure([from_bits("float32", 0x7F7FFFFF), from_bits("float32", 0x7F800000)])
    assert found == Metrics(0, 1, None, 1.0, not_finite=1)


def test_equal_infinities_do_not_hide_the_distance_of_the_others() -> None:
    found = measure([from_numbers(math.inf, 1.0, 7.0), from_numbers(math.inf, 1.5, 7.0)])
    assert found == Metrics(0, 1 << 22, 0.5, 1 / 3)


def test_a_nan_in_a_third_tensor_spares_what_the_others_are_apart() -> None:
    tensors = [from_numbers(1.0, 4.0), from_numbers(2.0, 4.0), from_numbers(math.nan, 4.0)]
    assert measure(tensors) == Metrics(0, None, None, 0.5, not_finite=1)


def test_a_difference_that_overflows_float64_is_not_given() -> None:
    most = float(np.finfo(np.float64).max)
    found = measure([from_numbers(most, dtype="float64"), from_numbers(-most, dtype="float64")])
    assert (found.max_abs, found.max_ulp, found.not_finite) == (None, 2 * 0x7FEFFFFFFFFFFFFF + 1, 0)


def test_float32_differences_are_rounded_to_float64_not_to_float32() -> None:
    found = measure([from_numbers(2.0**24), from_numbers(-1.0)])
    assert found.max_abs == 16777217.0


@pytest.mark.parametrize(
    ("dtype", "first", "second", "steps"),
    [
        ("int8", [-128, 5], [127, 5], 255),
        ("uint8", [0, 5], [255, 5], 255),
        ("int32", [-(2**31), 0], [2**31 - 1, 0], 2**32 - 1),
        ("int64", [-(2**63), 0], [2**63 - 1, 0], 2**64 - 1),
        ("uint64", [0, 0], [2**64 - 1, 0], 2**64 - 1),
        ("bool", [True, False], [False, False], 1),
    ],
)
def test_integers_count_steps_and_have_no_mantissa(
    dtype: str, first: list[int], second: list[int], steps: int
) -> None:
    tensors = [blocks_of_tensor(from_numpy(np.array(rows, dtype))) for rows in (first, second)]
    assert measure(tensors) == Metrics(None, steps, float(steps), 0.5)
    assert remaining_precision(tensors) is None


def test_other_shapes_or_dtypes_leave_nothing_to_compare() -> None:
    row, column = (
        blocks_of_tensor(from_numpy(np.zeros(shape, np.float32))) for shape in ((1, 2), (2, 1))
    )
    assert measure([row, column]) == Metrics(0, None, None, None)
    assert remaining_precision([row, column]) == 0
    whole = blocks_of_tensor(from_numpy(np.zeros((1, 2), np.int8)))
    assert measure([row, whole]) == Metrics(None, None, None, None)


def test_tensors_without_axes_and_without_elements_are_measured() -> None:
    scalars = [blocks_of_tensor(from_numpy(np.array(number, np.float32))) for number in (1.0, 1.5)]
    assert measure(scalars) == Metrics(0, 1 << 22, 0.5, 1.0)
    empty = blocks_of_tensor(from_numpy(np.zeros((0, 3), np.float16)))
    assert measure([empty, empty]) == Metrics(10, 0, 0.0, 0.0)
    assert remaining_precision([empty, empty]) == 10


def test_a_transposed_array_is_read_in_its_own_order() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert (
        measure(
            [blocks_of_tensor(from_numpy(array.T)), blocks_of_tensor(from_numpy(array.T.copy()))]
        ).deviating_fraction
        == 0
    )


@st.composite
def float_tensors(draw: st.DrawFn) -> tuple[str, list[list[int]]]:
    """Draw a format and up to five tensors of its bit patterns, near one another or special."""
    name = draw(st.sampled_from(sorted(floats.FORMATS)))
    layout = floats.FORMATS[name]
    top = (1 << layout.bits) - 1
    special = [0, layout.sign_mask, layout.infinity, layout.infinity | layout.sign_mask, 1]
    patterns = st.sampled_from([*special, layout.infinity + 1, top]) | st.integers(0, top)
    first = draw(st.lists(patterns, min_size=1, max_size=9))
    nudge = st.sampled_from([0, 0, 1, -1, 5, layout.sign_mask, 1 << layout.mantissa_bits])
    count = draw(st.integers(1, 4))
    others = [
        [(bits + draw(nudge)) & top if draw(st.booleans()) else draw(patterns) for bits in first]
        for _ in range(count)
    ]
    return name, [first, *others]


def expected_metrics(name: str, tensors: list[list[int]]) -> Metrics:
    """Work out every metric with the scalar oracle, pair by pair and element by element."""
    layout = floats.FORMATS[name]
    columns = list(zip(*tensors, strict=True))
    pairs = [pair for column in columns for pair in combinations(column, 2)]
    ulps = [floats.ulp_distance(layout, *pair) for pair in pairs]
    peak = max(gap(layout, *pair) for pair in pairs)
    return Metrics(
        min(floats.remaining_precision(layout, *pair) for pair in pairs),
        None if None in ulps else max(ulp for ulp in ulps if ulp is not None),
        None if math.isinf(peak) else peak,
        sum(len(set(column)) > 1 for column in columns) / len(columns),
        sum(has_no_finite_distance(layout, column) for column in columns),
    )


def gap(layout: floats.FloatFormat, first: int, second: int) -> float:
    """Return the absolute difference in float64, infinity where there is none."""
    if floats.is_nan(layout, first) and floats.is_nan(layout, second):
        return 0.0
    if first == second:
        return 0.0
    try:
        return float(abs(floats.decode(layout, first) - floats.decode(layout, second)))
    except (ValueError, OverflowError):
        return math.inf


def has_no_finite_distance(layout: floats.FloatFormat, column: tuple[int, ...]) -> bool:
    """Tell whether NaN or infinity, not the width of float64, keep two numbers apart."""
    finite = all(bits & ~layout.sign_mask < layout.infinity for bits in column)
    return not finite and any(math.isinf(gap(layout, *pair)) for pair in combinations(column, 2))


@settings(max_examples=400, deadline=None)
@given(drawn=float_tensors(), block=st.sampled_from([8, 16, 1 << 17]))
def test_the_blocked_pass_gives_what_the_scalar_oracle_gives(
    drawn: tuple[str, list[list[int]]], block: int
) -> None:
    name, rows = drawn
    tensors = [from_bits(name, *row) for row in rows]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "BLOCK_BYTES", block)
        found = measure(tensors)
        alone = remaining_precision(tensors)
    assert found == expected_metrics(name, rows)
    assert alone == found.remaining_precision


@settings(max_examples=100, deadline=None)
@given(
    name=st.sampled_from(sorted(floats.FORMATS)),
    start=st.integers(0, 1 << 16),
    masks=st.lists(st.integers(0, 63), min_size=24, max_size=24),
    extra=st.lists(st.sampled_from([0, 1, 3]), min_size=24, max_size=24),
)
def test_blocks_that_cannot_be_farther_apart_change_nothing(
    name: str, start: int, masks: list[int], extra: list[int]
) -> None:
    base = (floats.FORMATS[name].infinity >> 1) + 64 * start % floats.FORMATS[name].infinity // 4
    first = [base + 64 * place for place in range(24)]
    second = [bits ^ mask for bits, mask in zip(first, masks, strict=True)]
    third = [bits ^ mask for bits, mask in zip(second, extra, strict=True)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "BLOCK_BYTES", 16)
        for rows in ([first, second], [first, second, third]):
            found = measure([from_bits(name, *row) for row in rows])
            assert found == expected_metrics(name, rows)


@settings(max_examples=100, deadline=None)
@given(data=st.data(), dtype=st.sampled_from(["int8", "uint8", "int16", "int32", "int64"]))
def test_integers_are_apart_by_their_highest_and_lowest(data: st.DataObject, dtype: str) -> None:
    info = np.iinfo(dtype)
    numbers = st.lists(st.integers(int(info.min), int(info.max)), min_size=4, max_size=4)
    rows = data.draw(st.lists(numbers, min_size=2, max_size=5))
    found = measure([blocks_of_tensor(from_numpy(np.array(row, dtype))) for row in rows])
    steps = max(max(column) - min(column) for column in zip(*rows, strict=True))
    share = sum(len(set(column)) > 1 for column in zip(*rows, strict=True)) / 4
    assert found == Metrics(None, steps, float(steps), share)


def test_files_are_read_in_blocks_and_memory_does_not_grow_with_them(tmp_path: Path) -> None:
    array = np.arange(1, 1 + (1 << 22), dtype=np.float32)
    other = array.copy()
    other[-1] = np.nextafter(other[-1], np.float32(0))
    for name, each in (("one", array), ("two", other)):
        (tmp_path / name).write_bytes(each.tobytes())
    del array, other, each
    tensors = [blocks_of_file(tmp_path / name, "float32", (1 << 22,)) for name in ("one", "two")]
    tracemalloc.start()
    found = measure(tensors)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.max_ulp == 1
    assert found.deviating_fraction == 2.0**-22
    assert peak < 2 << 20  # each file holds 16 MiB


def test_a_file_of_the_wrong_size_is_named(tmp_path: Path) -> None:
    path = tmp_path / "short"
    path.write_bytes(bytes(12))
    with pytest.raises(StoreError, match=r"short holds 12 bytes, which is not float32 \[4\]"):
        blocks_of_file(path, "float32", (4,))


def test_a_file_that_shrinks_while_it_is_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "shrinking"
    path.write_bytes(bytes(16))
    blocks = blocks_of_file(path, "float32", (4,))
    path.write_bytes(bytes(8))
    with pytest.raises(StoreError, match="shrinking ends before element 4"):
        blocks.bits(0, 4)


def crossing_pair(seed: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Return two float32 arrays of many blocks, with both signs, some of them far apart."""
    generator = np.random.default_rng(seed)
    one, two = (generator.standard_normal(200_000).astype(np.float32) for _ in range(2))
    wild = generator.integers(0, one.size, 20)
    one[wild] *= np.float32(10.0) ** generator.integers(-7, 7, 20).astype(np.float32)
    return one * np.float32(scale), two * np.float32(scale)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e-30, 1e30])
def test_nothing_in_common_is_measured_as_element_by_element(seed: int, scale: float) -> None:
    """The places of bits in the order of all numbers, and differences in float64, all at once."""
    one, two = crossing_pair(seed, scale)
    places = []
    for array in (one, two):
        bits = array.view(np.int32).astype(np.int64)
        places.append(np.where(bits < 0, -1 - (bits & 0x7FFF_FFFF), bits))
    found = measure([blocks_of_tensor(from_numpy(one)), blocks_of_tensor(from_numpy(two))])
    assert found.max_ulp == int(np.abs(places[0] - places[1]).max())
    assert found.max_abs == float(np.abs(one.astype(np.float64) - two.astype(np.float64)).max())
    assert found.deviating_fraction == np.mean(one.view(np.int32) != two.view(np.int32))
    assert found.remaining_precision == 0
