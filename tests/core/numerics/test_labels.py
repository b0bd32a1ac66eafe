"""Label flips: the index of the highest value along the last axis."""

from __future__ import annotations

import math

import numpy as np
import pytest

from xbackend.numerics import label_flips
from xbackend.numerics.blocks import MemoryBlocks, blocks_of_tensor
from xbackend.worker.tensor import from_numpy


def tensor(values: object, dtype: str = "float32") -> MemoryBlocks:
    """Make a tensor from nested lists of numbers."""
    return blocks_of_tensor(from_numpy(np.array(values, dtype)))


def test_the_first_tensor_never_flips_and_another_label_does() -> None:
    first, same, other = [[1, 5, 2]], [[0, 9, 8]], [[9, 5, 2]]
    assert label_flips.label_flips([tensor(first), tensor(same), tensor(other)]) == [
        False,
        False,
        True,
    ]


@pytest.mark.parametrize("dtype", ["float16", "float64", "int8", "uint8", "bool"])
def test_labels_are_those_of_the_numbers_in_every_format(dtype: str) -> None:
    assert label_flips.label_flips([tensor([[0, 1]], dtype), tensor([[1, 0]], dtype)]) == [
        False,
        True,
    ]
    assert label_flips.label_flips([tensor([[0, 1]], dtype), tensor([[0, 1]], dtype)]) == [
        False,
        False,
    ]


def test_the_first_of_equal_values_is_the_label() -> None:
    assert label_flips.label_flips([tensor([[3, 3, 1]]), tensor([[4, 2, 1]])]) == [False, False]
    assert label_flips.label_flips([tensor([[3, 3, 1]]), tensor([[2, 3, 1]])]) == [False, True]


def test_the_first_nan_is_the_label() -> None:
    assert label_flips.label_flips([tensor([[1, math.nan, 9]]), tensor([[1, 2, 0]])]) == [
        False,
        False,
    ]
    assert label_flips.label_flips([tensor([[1, math.nan, 9]]), tensor([[1, 2, 9]])]) == [
        False,
        True,
    ]


def test_one_row_of_many_is_enough_wherever_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_flips, "ELEMENTS", 4)
    first = np.tile([0.0, 1.0], (7, 1))
    for row in range(7):
        other = first.copy()
        other[row] = [1.0, 0.0]
        assert label_flips.label_flips([tensor(first), tensor(other)]) == [False, True]
    assert label_flips.label_flips([tensor(first), tensor(first * 2)]) == [False, False]


@pytest.mark.parametrize("values", [3.0, [3.0], [[3.0], [4.0]], []])
def test_without_two_values_there_is_no_label(values: object) -> None:
    other = np.asarray(values) + 1.0
    assert label_flips.label_flips([tensor(values), tensor(other)]) == [False, False]


def test_axes_of_extent_one_are_no_other_shape() -> None:
    assert label_flips.label_flips([tensor([[1, 2]]), tensor([1, 2])]) == [False, False]
    assert label_flips.label_flips([tensor([[1, 2]]), tensor([1, 2, 0])]) == [False, True]


@pytest.mark.parametrize(
    ("dtype", "shape", "scores"),
    [
        ("float32", (1, 10), True),
        ("uint8", (10,), True),
        ("float16", (4, 10), True),
        ("float32", (1, 1000, 1, 1), True),
        ("float32", (1, 1, 1, 64), False),
        ("float32", (1, 3, 8, 8), False),
        ("float32", (1, 7, 30), False),
        ("float32", (1, 1), False),
        ("float32", (), False),
        ("int64", (1, 5), False),
    ],
)
def test_only_one_row_of_scores_a_sample_has_a_label(
    dtype: str, shape: tuple[int, ...], scores: bool
) -> None:
    assert label_flips.has_label(dtype, shape) == scores
    first = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    found = label_flips.label_flips([tensor(first, dtype), tensor(first.max() - first, dtype)])
    assert found == [False, scores]
