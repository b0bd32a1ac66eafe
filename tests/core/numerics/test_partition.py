"""Classes and shared bits without digests: against a dictionary of bytes and the scalar oracle."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from xbackend.numerics import floats
from xbackend.numerics.blocks import TensorBlocks, blocks_of_file, blocks_of_tensor
from xbackend.numerics.partition import partition
from xbackend.worker.tensor import from_numpy


def by_bytes(arrays: list[np.ndarray]) -> tuple[tuple[int, ...], ...]:
    found: dict[bytes, list[int]] = {}
    for place, array in enumerate(arrays):
        found.setdefault(array.tobytes(), []).append(place)
    return tuple(map(tuple, found.values()))


def blocks(arrays: list[np.ndarray]) -> list[TensorBlocks]:
    return [blocks_of_tensor(from_numpy(array)) for array in arrays]


def drawn(dtype: str, count: int, size: int) -> list[np.ndarray]:
    """Return arrays of which some are the same and others differ in one late element."""
    chance = random.Random(size)
    first = np.arange(1, size + 1).astype(dtype)
    found = []
    for _ in range(count):
        array = first.copy()
        for _ in range(chance.randrange(3)):
            place = chance.choice([0, size - 1])
            array[place] = array[place] * 2 + chance.randrange(2)
        found.append(array)
    return found


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "int32"])
@pytest.mark.parametrize("size", [1, 7, 40_000])
def test_classes_are_those_of_a_dictionary_of_bytes(dtype: str, size: int) -> None:
    arrays = drawn(dtype, 12, min(size, 1000) if dtype in ("float16", "int8") else size)
    assert partition(blocks(arrays)).classes == by_bytes(arrays)


def test_tensors_with_the_same_sum_of_bits_are_told_apart() -> None:
    """Two elements that change places leave every sum as it was."""
    arrays = [np.array(values, np.float32) for values in ([0, 0, 0], [0, 1, 2], [0, 2, 1])]
    assert partition(blocks(arrays)).classes == ((0,), (1,), (2,))


def test_zeros_and_nans_go_by_their_bits() -> None:
    arrays = [np.array([bits], np.uint32) for bits in (0, 0x8000_0000, 0x7FC0_0000, 0x7FC0_0001)]
    found = partition(blocks([array.view(np.float32) for array in arrays]))
    assert found.classes == ((0,), (1,), (2,), (3,))


def test_shared_bits_are_those_of_the_scalar_oracle() -> None:
    generator = np.random.default_rng(0)
    first = generator.integers(0, 1 << 31, 50, np.uint32)
    patterns = [first, *(first ^ generator.integers(0, 1 << n, 50, np.uint32) for n in (1, 9, 23))]
    layout = floats.FORMATS["float32"]
    expected = tuple(
        min(floats.remaining_precision(layout, a, b) for a, b in zip(first, other, strict=True))
        for other in [[int(x) for x in each] for each in patterns]
    )
    found = partition(blocks([each.view(np.float32) for each in patterns]))
    assert found.shared_bits == expected
    assert found.remaining_precision == min(expected)


def test_integers_share_no_mantissa_and_other_shapes_no_bit() -> None:
    ints = [np.array([1, 2], np.int8), np.array([1, 3], np.int8)]
    assert partition(blocks(ints)).shared_bits == (None, None)
    assert partition(blocks(ints)).remaining_precision is None
    odd = [np.float32([1, 2]), np.float32([[1, 2]]), np.float64([1, 2]), ints[0]]
    found = partition(blocks(odd))
    assert found.classes == ((0,), (1,), (2,), (3,))
    assert found.shared_bits == (23, 0, 0, None)


def test_files_are_partitioned_like_arrays(tmp_path: Path) -> None:
    arrays = drawn("float32", 6, 70_000)
    paths = [tmp_path / str(place) for place in range(6)]
    for path, array in zip(paths, arrays, strict=True):
        path.write_bytes(array.tobytes())
    files = [blocks_of_file(path, "float32", (70_000,)) for path in paths]
    assert partition(files) == partition(blocks(arrays))
