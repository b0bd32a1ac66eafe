"""Windows, transposed convolutions, resized axes, shapes and slices, worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from xbackend.worker.geometry import shapes, slices
from xbackend.worker.geometry.conv_transpose import spread_of
from xbackend.worker.geometry.resize import axes_of, taps
from xbackend.worker.geometry.sliding_window import Window, kernel_positions, window_of
from xbackend.worker.graph import Graph, Node, last_readers, missing


def node(operator: str = "MaxPool", outputs: tuple[str, ...] = ("y",), **attributes: Any) -> Node:
    return Node(operator, "", "", ("x",), outputs, attributes)


@pytest.mark.parametrize(
    ("word", "begins", "ends", "extents"),
    [
        ("NOTSET", (1, 0), (2, 0), (7, 4)),
        ("VALID", (0, 0), (0, 0), (4, 4)),
        ("SAME_UPPER", (0, 0), (1, 1), (5, 5)),
        ("SAME_LOWER", (1, 1), (0, 0), (5, 5)),
    ],
)
def test_a_window_lies_where_its_node_says(
    word: str, begins: tuple[int, ...], ends: tuple[int, ...], extents: tuple[int, ...]
) -> None:
    pads = {"pads": [1, 0, 2, 0]} if word == "NOTSET" else {}
    window = window_of(node(auto_pad=word, **pads), (5, 5), (2, 2))
    assert (window.begins, window.ends, window.extents) == (begins, ends, extents)
    assert window.symmetric == (begins == ends)


def test_the_last_place_may_reach_beyond_the_input_where_extents_are_rounded_up() -> None:
    down, up = (window_of(node(strides=[2], ceil_mode=mode), (6,), (3,)) for mode in (0, 1))
    assert (down.extents, down.fitting_ends, down.pads) == ((2,), (-1,), ((0, 0),))
    assert (up.extents, up.fitting_ends, up.pads) == ((3,), (1,), ((0, 1),))
    assert window_of(node(strides=[2], ceil_mode=1), (6,), (3,), ceil=False) == down


def test_no_place_begins_behind_the_input() -> None:
    assert window_of(node(strides=[3], ceil_mode=1), (2,), (1,)).extents == (1,)


def test_a_padded_array_holds_every_place_of_its_window() -> None:
    window = window_of(node(strides=[2], pads=[1, 0], ceil_mode=1), (4,), (2,))
    padded = window.pad(np.array([[[1.0, 2.0, 3.0, 4.0]]]), -1.0)
    seen = [padded[index][0, 0].tolist() for _, index in kernel_positions(window)]
    assert padded.tolist() == [[[-1.0, 1.0, 2.0, 3.0, 4.0, -1.0]]]
    assert seen == [[-1.0, 2.0, 4.0], [1.0, 3.0, -1.0]]


def test_a_place_counts_the_elements_and_the_padding_that_it_sees() -> None:
    window = window_of(node(pads=[1, 1]), (4,), (3,))
    assert (window.counts(False), window.counts(True)) == ([2, 3, 3, 2], [3, 3, 3, 3])
    beyond = window_of(node(strides=[2], ceil_mode=1), (4,), (3,))
    assert (beyond.counts(False), beyond.counts(True)) == ([3, 2], [3, 2])


def test_places_of_two_axes_are_counted_in_c_order() -> None:
    window = window_of(node(pads=[1, 0, 0, 0]), (2, 3), (2, 2))
    assert window.counts(False) == [2, 2, 4, 4]


def test_a_dilated_window_counts_what_lies_between_its_gaps() -> None:
    window = window_of(node(pads=[1, 1], dilations=[2]), (3,), (2,))
    assert (window.spans, window.extents, window.counts(False)) == ((3,), (3,), [1, 2, 1])


def test_a_transposed_convolution_is_cut_by_its_pads() -> None:
    spread = spread_of(node(strides=[2], pads=[1, 0], output_padding=[1]), (3,), (3,))
    assert (spread.full, spread.begins, spread.ends, spread.extents) == ((8,), (1,), (0,), (7,))


def test_a_transposed_convolution_reaches_the_extents_of_the_public_tests() -> None:
    """`test_convtranspose_output_shape` and `test_convtranspose_autopad_same` of ONNX."""
    shaped = spread_of(node(strides=[3, 2], output_shape=[10, 8]), (3, 3), (3, 3))
    assert (shaped.full, shaped.begins, shaped.ends) == ((9, 7), (0, 0), (-1, -1))
    same = spread_of(node(strides=[2, 2], auto_pad="SAME_UPPER"), (3, 3), (3, 3))
    assert (same.extents, same.begins, same.ends) == ((6, 6), (0, 0), (1, 1))


def test_of_an_odd_number_of_cuts_the_greater_part_is_at_the_beginning_unless_upper() -> None:
    lower = spread_of(node(strides=[2], auto_pad="SAME_LOWER"), (3,), (3,))
    wanted = spread_of(node(strides=[2], output_shape=[1, 2, 6]), (3,), (3,))
    assert lower.begins == wanted.begins == (1,)


def test_an_output_that_is_too_wide_grows_at_its_end_or_both_ways() -> None:
    wide = node(output_shape=[9])
    assert (spread_of(wide, (3,), (3,)).begins, spread_of(wide, (3,), (3,)).ends) == ((0,), (-4,))
    both = spread_of(wide, (3,), (3,), both_ways=True)
    assert (both.begins, both.ends) == ((-2,), (-2,))


def test_valid_means_no_padding_whatever_pads_say() -> None:
    assert spread_of(node(auto_pad="VALID", pads=[1, 1]), (3,), (3,)).extents == (5,)


COORDINATES = {
    "half_pixel": [-0.25, 0.25, 0.75, 1.25],
    "pytorch_half_pixel": [-0.25, 0.25, 0.75, 1.25],
    "half_pixel_symmetric": [-0.25, 0.25, 0.75, 1.25],
    "tf_half_pixel_for_nn": [0.25, 0.75, 1.25, 1.75],
    "asymmetric": [0.0, 0.5, 1.0, 1.5],
    "align_corners": [0.0, 1 / 3, 2 / 3, 1.0],
}


def resized(mode: str, **more: Any) -> Node:
    return node("Resize", coordinate_transformation_mode=mode, **more)


@pytest.mark.parametrize("mode", COORDINATES)
def test_two_elements_become_four(mode: str) -> None:
    (axis,) = axes_of(resized(mode), (2,), None, [2.0], None).values()
    assert axis.origins(mode) == pytest.approx(COORDINATES[mode], abs=1e-15)
    assert not axis.trivial


def test_a_region_is_cut_out_and_what_lies_beyond_the_input_is_told() -> None:
    mode = "tf_crop_and_resize"
    (axis,) = axes_of(resized(mode), (5,), [0.5, 1.25], None, [4]).values()
    assert axis.origins(mode) == [2.0, 3.0, 4.0, 5.0]
    assert [axis.is_outside(origin) for origin in axis.origins(mode)] == [False, False, False, True]


def test_one_element_takes_the_middle_of_a_region() -> None:
    mode = "tf_crop_and_resize"
    (axis,) = axes_of(resized(mode), (5,), [0.0, 1.0], None, [1]).values()
    assert axis.origins(mode) == [2.0]


def test_extents_are_rounded_down_and_ratios_kept_by_the_smaller_or_the_greater_factor() -> None:
    by_scale = axes_of(resized("asymmetric"), (3, 5), None, [1.5, 1.0], None)
    assert [axis.result for axis in by_scale.values()] == [4, 5]
    assert [axis.trivial for axis in by_scale.values()] == [False, True]
    for policy, expected in (("not_larger", [4, 6]), ("not_smaller", [6, 9])):
        how = resized("asymmetric", keep_aspect_ratio_policy=policy, axes=[-2, -1])
        axes = axes_of(how, (1, 4, 6), None, None, [4, 9])
        assert {place: axis.result for place, axis in axes.items()} == dict(
            zip([1, 2], expected, strict=True)
        )


def test_a_resize_without_scales_and_sizes_is_an_error() -> None:
    with pytest.raises(ValueError, match="neither scales nor sizes"):
        axes_of(resized("asymmetric"), (3,), None, [], None)


def within(origin: float, reach: float) -> range:
    return range(math.floor(origin - reach) + 1, math.ceil(origin + reach))


def test_neighbours_are_weighted_as_the_public_tests_weigh_them() -> None:
    """A quarter behind an element: 0.75 and 0.25, and Keys' cubic kernel with a = -0.75."""
    (axis,) = axes_of(resized("half_pixel"), (4,), None, [2.0], None).values()
    linear = taps({"mode": "linear"}, axis, 1.25, within)
    assert linear == [(1, 0.75), (2, 0.25)]
    cubic = taps({"mode": "cubic", "cubic_coeff_a": -0.75}, axis, 1.25, within)
    assert cubic == [(0, -0.10546875), (1, 0.87890625), (2, 0.26171875), (3, -0.03515625)]


def test_weights_sum_to_one_where_some_are_left_out_or_kernels_are_stretched() -> None:
    (axis,) = axes_of(resized("half_pixel"), (4,), None, [0.5], None).values()
    assert taps({"mode": "linear", "exclude_outside": 1}, axis, -0.25, within) == [
        (-1, 0.0),
        (0, 1.0),
    ]
    smooth = taps({"mode": "linear", "antialias": 1}, axis, 0.5, within, sum)
    assert smooth == [(-1, 0.125), (0, 0.375), (1, 0.375), (2, 0.125)]


@pytest.mark.parametrize(
    ("word", "expected"),
    [("floor", 1), ("ceil", 2), ("round_prefer_floor", 1), ("round_prefer_ceil", 2)],
)
def test_a_place_between_two_elements_becomes_one_of_them(word: str, expected: int) -> None:
    (axis,) = axes_of(resized("half_pixel"), (4,), None, [2.0], None).values()
    assert taps({"mode": "nearest", "nearest_mode": word}, axis, 1.5, within) == [(expected, 1.0)]
    assert (axis.clamp(-3), axis.clamp(9)) == (0, 3)


def test_shapes_are_read_as_onnx_writes_them() -> None:
    assert shapes.reshaped(node(), [2, 3], [0, -1]) == [2, -1]
    assert shapes.reshaped(node(allowzero=1), [0, 3], [3, 0]) == [3, 0]
    assert shapes.flattened([2, 0, 3], 1) == [2, 0]
    assert shapes.flattened([], 0) == [1, 1]
    assert shapes.part_of(node(start=-2, end=-1), [2, 3, 4]) == [3]
    assert shapes.reversed_unless(node(), 3) == [2, 1, 0]
    assert shapes.reversed_unless(node(perm=[1, 0, 2]), 3) == [1, 0, 2]


def test_parts_are_as_equal_as_may_be() -> None:
    assert shapes.parts(node(outputs=("a", "b", "c")), 7) == [3, 3, 1]
    assert shapes.parts(node(outputs=("a", "b", "c"), num_outputs=3), 4) == [2, 2, 0]


def test_a_reduction_without_axes_takes_all_or_does_nothing() -> None:
    assert shapes.reduced(node(), 3, [-1, 0]) == [2, 0]
    assert shapes.reduced(node(), 2, None) == shapes.reduced(node(), 2, []) == [0, 1]
    assert shapes.reduced(node(noop_with_empty_axes=1), 2, []) is None
    assert shapes.reduced(node(noop_with_empty_axes=1), 2, [1]) == [1]
    assert shapes.reduced(node(), 0, None) == []


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_blocks_of_channels_become_squares_and_back(mode: str) -> None:
    """Pixel (r, s) of channel c: channel 2 (2 r + s) + c in `DCR` order, 4 c + 2 r + s in `CRD`."""
    x = np.arange(8 * 3 * 2).reshape(1, 8, 3, 2)
    split, order, result = shapes.blocks_to_plane(node(blocksize=2, mode=mode), x.shape)
    plane = x.reshape(split).transpose(order).reshape(result)
    assert plane.shape == (1, 2, 6, 4)
    for channel, row, column in np.ndindex(2, 6, 4):
        r, s = row % 2, column % 2
        source = (2 * r + s) * 2 + channel if mode == "DCR" else 4 * channel + 2 * r + s
        assert plane[0, channel, row, column] == x[0, source, row // 2, column // 2]
    split, order, result = shapes.plane_to_blocks(node(blocksize=2, mode=mode), plane.shape)
    assert np.array_equal(plane.reshape(split).transpose(order).reshape(result), x)


CUTS = [
    ((1,), (-1,), [1, 2, 3]),
    ((-1,), (-(2**63),), [4, 3, 2, 1, 0]),
    ((3,), (1,), [3, 2]),
    ((-100,), (2**63 - 1,), [0, 1, 2, 3, 4]),
    ((4,), (2,), []),
]
STEPS = (1, -1, -1, 1, 1)


@pytest.mark.parametrize(("case", "step"), list(zip(CUTS, STEPS, strict=True)))
def test_a_slice_takes_what_lies_between_its_bounds(case: Any, step: int) -> None:
    starts, ends, expected = case
    found = slices.cuts([9, 5], starts, ends, [-1], [step])
    assert {axis: list(range(5))[cut] for axis, cut in found.items()} == {1: expected}


def test_a_slice_without_axes_begins_with_the_first() -> None:
    assert slices.cuts([4, 5], [1, 2], [3, 9]) == {0: slice(1, 3, 1), 1: slice(2, 5, 1)}


def test_a_pad_is_split_into_what_it_cuts_and_what_it_adds() -> None:
    pads = slices.widths(2, [-1, 2, 3, -2])
    assert pads == ((-1, 3), (2, -2))
    assert slices.cut_and_padded([4, 5], pads) == ((slice(1, 4), slice(0, 3)), ((0, 3), (2, 0)))


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("edge", [0, 0, 0, 0, 1, 2, 2, 2]),
        ("wrap", [0, 1, 2, 0, 1, 2, 0, 1]),
        ("reflect", [1, 2, 1, 0, 1, 2, 1, 0]),
    ],
)
def test_a_pad_repeats_elements_as_often_as_it_must(mode: str, expected: list[int]) -> None:
    assert slices.repeated(3, 3, 2, mode) == expected


def test_an_axis_of_one_element_repeats_it_in_every_mode() -> None:
    for mode in slices.PAD_MODES[1:]:
        assert slices.repeated(1, 2, 1, mode) == [0, 0, 0, 0]


def test_a_value_is_let_go_by_the_last_node_that_reads_it() -> None:
    rows = [("x", "a"), ("a", "b"), ("a", "c"), ("b", "d")]
    nodes = tuple(Node("Relu", "", "", (read,), (made,), {}) for read, made in rows)
    graph = Graph(18, (), (), {}, nodes)
    assert last_readers(graph) == [(), (), ("a", "c"), ("b", "d")]


def test_missing_operators_are_named_once_with_their_domain() -> None:
    nodes = [Node(name, domain, "", (), (), {}) for name, domain in
             (("Relu", ""), ("Gelu", "com.microsoft"), ("Abs", ""), ("Abs", ""))]  # fmt: skip
    assert missing(nodes, {"Relu": 1, "Gelu": 2}) == ["Abs", "com.microsoft.Gelu"]


def test_an_output_that_is_left_out_is_not_given() -> None:
    asked = node(outputs=("y", "", "z"))
    assert [asked.gives(position) for position in range(4)] == [True, False, True, False]


def test_a_window_may_be_made_without_a_node() -> None:
    window = Window((5,), (3,), (1,), (1,), (0,), (0,), (3,))
    assert (window.fitting_ends, window.counts(False)) == ((0,), [3, 3, 3])
