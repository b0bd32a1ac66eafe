"""All metrics of a pair, against arithmetic on Python's own numbers, one element at a time."""

from __future__ import annotations

import math
import tracemalloc
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from xbackend.numerics import pair_metrics
from xbackend.numerics.blocks import MemoryBlocks, blocks_of_tensor
from xbackend.numerics.floats import FORMATS
from xbackend.numerics.pair_metrics import BUCKETS, bucket_of, measure_pair, upper_edge
from xbackend.worker.tensor import from_numpy

Array = np.ndarray[Any, Any]


def blocks(array: Array) -> MemoryBlocks:
    return blocks_of_tensor(from_numpy(array))


def steps(one: Array, other: Array) -> int | None:
    """Count the steps between two numbers, by the integers that their bits are."""
    if one.dtype.name not in FORMATS:
        return abs(int(one) - int(other))
    if math.isnan(float(one)) or math.isnan(float(other)):
        return 0 if math.isnan(float(one)) and math.isnan(float(other)) else None
    places = []
    for each in (one, other):
        bits = int.from_bytes(each.tobytes(), "little")
        sign = 1 << (8 * each.dtype.itemsize - 1)
        places.append(-1 - (bits - sign) if bits & sign else bits)
    return abs(places[0] - places[1])


def draw(dtype: str, seed: int) -> tuple[Array, Array]:
    generator = np.random.default_rng(seed)
    if dtype == "bool":
        one = generator.integers(0, 2, (3, 7)).astype(bool)
        return one, one ^ (generator.random((3, 7)) < 0.2)
    first = (generator.standard_normal((3, 7)) * 50).astype(dtype)
    second = (first.astype("f8") * (1 + 0.01 * generator.standard_normal((3, 7)))).astype(dtype)
    if dtype.startswith("float") and seed % 2:
        first.flat[3], second.flat[3] = np.nan, 1
        second.flat[5] = np.inf
        first.flat[6] = second.flat[6] = np.nan
    return first, second


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "uint8", "bool"])
def test_every_metric_is_what_arithmetic_on_single_numbers_gives(dtype: str, seed: int) -> None:
    one, other = draw(dtype, seed)
    found = measure_pair(blocks(one), blocks(other))
    assert found is not None
    pairs = [
        (Fraction(float(a)), Fraction(float(b)))
        for a, b in zip(one.flat, other.flat, strict=True)
        if math.isfinite(float(a)) and math.isfinite(float(b))
    ]
    gaps = [b - a for a, b in pairs]
    squares, norm = sum(g * g for g in gaps), sum(a * a for a, _ in pairs)
    assert found.not_finite == one.size - len(pairs)
    assert found.mean_error == pytest.approx(float(sum(gaps)) / len(gaps), abs=1e-12)
    assert found.mean_abs == pytest.approx(float(sum(map(abs, gaps))) / len(gaps))
    assert found.rms_error == pytest.approx(math.sqrt(squares / len(gaps)))
    assert found.relative == pytest.approx(math.sqrt(squares / norm))
    dot, twin = sum(a * b for a, b in pairs), sum(b * b for _, b in pairs)
    assert found.cosine == pytest.approx(float(dot) / math.sqrt(norm) / math.sqrt(twin))
    if squares:
        assert found.snr_db == pytest.approx(10 * math.log10(norm / squares))
    else:
        assert found.snr_db is None


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "uint8", "bool"])
def test_quantiles_histogram_and_worst_elements_are_those_of_sorted_steps(
    dtype: str, seed: int
) -> None:
    one, other = draw(dtype, seed)
    found = measure_pair(blocks(one), blocks(other))
    assert found is not None
    far = [steps(a, b) for a, b in zip(one.flat, other.flat, strict=True)]
    known = sorted(each for each in far if each is not None)
    for share, told in found.ulp_quantiles.items():
        rank = max(1, math.ceil(float(share) * len(far)))
        if rank > len(known):
            assert told is None
        else:
            assert told is not None
            assert known[rank - 1] <= told <= known[rank - 1] * (1 + 1 / 2000)
    counts: dict[str, int] = {}
    for each in known:
        least = str(1 << (each.bit_length() - 1) if each else 0)
        counts[least] = counts.get(least, 0) + 1
    assert found.ulp_histogram == counts
    ranked = sorted((math.inf if each is None else each for each in far), reverse=True)
    expected = [each for each in ranked[: pair_metrics.WORST] if each]
    assert [math.inf if e.ulp is None else e.ulp for e in found.worst_ulp] == expected
    for each in found.worst_ulp:
        pair = one[each.index], other[each.index]
        assert each.text == (str(pair[0]), str(pair[1]))
        assert each.ulp == steps(np.asarray(pair[0])[()], np.asarray(pair[1])[()])


def test_blocks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = draw("float32", 3)
    whole = measure_pair(blocks(one), blocks(other))
    monkeypatch.setattr(pair_metrics, "BLOCK", 4)
    parts = measure_pair(blocks(one), blocks(other))
    assert whole is not None
    assert parts is not None
    for key, value in whole.to_dict().items():
        told = parts.to_dict()[key]
        assert told == (pytest.approx(value) if isinstance(value, float) else value), key


def test_a_number_without_axes_and_an_empty_tensor_have_metrics() -> None:
    scalar = measure_pair(blocks(np.float32(1)[()].reshape(())), blocks(np.array(2, np.float32)))
    assert scalar is not None
    assert scalar.worst_abs[0].index == ()
    empty = measure_pair(blocks(np.zeros((0, 3), "f4")), blocks(np.zeros((0, 3), "f4")))
    assert empty is not None
    assert (empty.elements, empty.rms_error, empty.ulp_quantiles["0.5"]) == (0, None, None)


def test_other_dtypes_and_shapes_have_no_metrics() -> None:
    one = np.zeros((2, 3), np.float32)
    assert measure_pair(blocks(one), blocks(one.astype("f8"))) is None
    assert measure_pair(blocks(one), blocks(one.reshape(3, 2))) is None


def test_buckets_are_in_order_and_hold_what_they_say() -> None:
    distances = [0, 1, 4095, 4096, 4097, 4098, 8191, 8192, 2**31, 2**63, 2**64 - 1]
    places = bucket_of(np.array(distances, np.uint64)).tolist()
    assert places == sorted(places)
    assert places[-1] < BUCKETS
    for distance, place in zip(distances, places, strict=True):
        assert distance <= upper_edge(place) <= distance * (1 + 1 / 2000)
        assert place == 0 or upper_edge(place - 1) < distance


def test_memory_does_not_grow_with_tensors() -> None:
    one = np.ones(1 << 22, np.float32)
    pair = blocks(one), blocks(one + np.float32(1e-6))
    tracemalloc.start()
    measure_pair(*pair)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 12 << 20
