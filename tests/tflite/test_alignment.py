"""Tensors and values are matched by what they compute; names and order break ties."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from xbackend.numerics.alignment import RecordedTensor, align, distance, perms

Array = np.ndarray[Any, Any]


def noise(seed: int, *shape: int) -> Array:
    """Return reals that no other seed gives."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def flat(position: int, array: Array, operator: str = "CONV_2D", name: str = "") -> RecordedTensor:
    """Make a tensor of the flat graph."""
    return RecordedTensor(name or f"t{position}", operator, position, (array,))


def value(position: int, array: Array, operator: str = "Conv", name: str = "") -> RecordedTensor:
    """Make a value of the ONNX graph."""
    return RecordedTensor(name or f"v{position}", operator, position, (array,))


def names(matches: Any) -> list[tuple[str, str, Any]]:
    """Return what was matched."""
    return [(match.flat.name, match.value.name, match.perm) for match in matches]


def test_a_channels_last_tensor_is_the_value_with_channels_first() -> None:
    array = noise(1, 1, 4, 5, 3)
    found = align([flat(0, array)], [value(0, array.transpose(0, 3, 1, 2))], False)
    assert names(found) == [("t0", "v0", (0, 3, 1, 2))]


def test_a_tensor_of_equal_extents_is_matched_by_its_elements_not_its_shape() -> None:
    array = noise(1, 1, 4, 4, 4)
    turned = array.transpose(0, 3, 1, 2)
    assert names(align([flat(0, array)], [value(0, turned)], False))[0][2] == (0, 3, 1, 2)
    assert names(align([flat(0, array)], [value(0, array)], False))[0][2] is None


def test_channels_first_in_the_flat_graph_is_found_too() -> None:
    array = noise(1, 1, 3, 4, 5)
    found = align([flat(0, array)], [value(0, array.transpose(0, 2, 3, 1))], False)
    assert names(found) == [("t0", "v0", (0, 2, 3, 1))]


@pytest.mark.parametrize(("factor", "count"), [(1.00009, 1), (1.0002, 0)])
def test_floats_match_within_a_ten_thousandth_of_the_largest(factor: float, count: int) -> None:
    array = noise(1, 1, 8)
    assert len(align([flat(0, array)], [value(0, array * np.float32(factor))], False)) == count


def test_a_value_without_counterpart_is_left_out() -> None:
    first, second = noise(1, 1, 8), noise(2, 1, 8)
    found = align([flat(0, second)], [value(0, first), value(1, second)], False)
    assert names(found) == [("t0", "v1", None)]


def test_the_order_of_values_is_the_order_of_matches() -> None:
    arrays = [noise(seed, 1, 6) for seed in range(3)]
    tensors = [flat(i, arrays[j]) for i, j in enumerate((2, 0, 1))]
    found = align(tensors, [value(i, array) for i, array in enumerate(arrays)], False)
    assert [match.value.name for match in found] == ["v0", "v1", "v2"]
    assert [match.flat.name for match in found] == ["t1", "t2", "t0"]


def test_a_computed_tensor_takes_the_last_of_equal_values_since_it_fuses_them() -> None:
    array = np.abs(noise(1, 1, 8))
    values = [value(0, array), value(1, array, "Add"), value(2, array, "Relu")]
    assert names(align([flat(0, array)], values, False)) == [("t0", "v2", None)]


def test_a_computed_tensor_does_not_take_a_value_that_only_moves_elements() -> None:
    array = noise(1, 1, 4, 5, 3)
    values = [
        value(0, array.transpose(0, 3, 1, 2), "Relu"),
        value(1, array, "Transpose"),
        value(2, array, "Dropout"),
    ]
    assert names(align([flat(0, array)], values, False)) == [("t0", "v0", (0, 3, 1, 2))]


def test_a_reshape_takes_the_first_of_equal_values_that_move_elements() -> None:
    array = noise(1, 1, 8)
    values = [value(0, array, "Reshape"), value(1, array, "Identity"), value(2, array, "Dropout")]
    assert names(align([flat(0, array, "RESHAPE")], values, False)) == [("t0", "v0", None)]


def test_equal_tensors_take_equal_values_in_order() -> None:
    array = np.abs(noise(1, 1, 8))
    tensors = [flat(0, array), flat(1, array, "RELU"), flat(2, array, "RESHAPE")]
    values = [value(0, array), value(1, array, "Relu"), value(2, array, "Reshape")]
    assert names(align(tensors, values, False)) == [
        ("t0", "v0", None),
        ("t1", "v1", None),
        ("t2", "v2", None),
    ]


def test_a_name_breaks_a_tie() -> None:
    array = np.abs(noise(1, 1, 8))
    values = [value(0, array, name="net/add:0"), value(1, array, "Relu", name="net/relu:0")]
    found = align([flat(0, array, name="net/add;net/other")], values, False)
    assert [match.value.name for match in found] == ["net/add:0"]


def test_a_name_never_outweighs_the_elements() -> None:
    right, wrong = noise(1, 1, 8), noise(2, 1, 8)
    values = [value(0, right, name="other"), value(1, wrong, name="same")]
    found = align([flat(0, right, name="same")], values, False)
    assert [match.value.name for match in found] == ["other"]


def test_the_nearer_of_two_close_values_is_taken() -> None:
    array = noise(1, 1, 8)
    values = [value(0, array), value(1, array * np.float32(1.00005))]
    assert names(align([flat(0, array)], values, False)) == [("t0", "v0", None)]


def test_a_quantized_tensor_matches_the_nearest_value_within_the_noise_of_8_bits() -> None:
    array = noise(1, 1, 1000)
    rounded = np.rint(array / 0.03).astype(np.float32) * np.float32(0.03)
    biased = array + np.float32(0.05)
    values = [value(0, biased), value(1, array), value(2, noise(2, 1, 1000))]
    assert names(align([flat(0, rounded)], values, True)) == [("t0", "v1", None)]
    assert align([flat(0, rounded)], values[2:], True) == []


def test_dead_layers_match_only_dead_values() -> None:
    zeros = np.zeros((1, 8), np.float32)
    found = align([flat(0, zeros)], [value(0, noise(1, 1, 8)), value(1, zeros, "Relu")], False)
    assert names(found) == [("t0", "v1", None)]


def test_numbers_that_are_not_finite_are_never_close_to_others() -> None:
    array = noise(1, 1, 8)
    broken = array.copy()
    broken[0, 0] = np.nan
    assert align([flat(0, array)], [value(0, broken)], False) == []
    assert distance([array], [broken], None, False) == float("inf")
    assert distance([array], [broken], None, True) == float("inf")


def test_all_inputs_count() -> None:
    same, other = noise(1, 1, 8), noise(2, 1, 8)
    tensor = RecordedTensor("t", "CONV_2D", 0, (same, same))
    wanted = RecordedTensor("v", "Conv", 0, (same, other))
    assert align([tensor], [wanted], False) == []


def test_distances_are_relative_to_the_value() -> None:
    small, large = np.array([[0.0, 2.0]]), np.array([[1.0, 4.0]])
    assert distance([small], [large], None, False) == 2 / 4
    assert distance([small], [large], None, True) == pytest.approx(np.sqrt(2.5 / 8.5))


def test_the_order_of_axes_is_tried_between_channels_first_and_last_only() -> None:
    assert list(perms((1, 2, 3), (1, 3, 2))) == [(0, 2, 1), (0, 2, 1)]
    assert list(perms((1, 2, 3, 4, 5), (1, 5, 2, 3, 4))) == [(0, 4, 1, 2, 3)]
    assert list(perms((2, 3), (3, 2))) == []
    assert list(perms((2, 3), (2, 3))) == [None]
