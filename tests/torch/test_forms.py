"""Forms of operators that the public node tests leave out, against ONNX's reference evaluator."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

Array = np.ndarray[Any, Any]

CLOSE = 2e-6
"""How far a value may be from the reference's, of the largest magnitude in its tensor."""


def assert_as_reference(framework: Any, model: Any, inputs: dict[str, Array]) -> None:
    """Compare every output's format, shape and values."""
    expected = ReferenceEvaluator(model).run(None, inputs)
    actual = framework.outputs(model, inputs)
    for found, wanted in zip(actual, expected, strict=True):
        assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
        scale = np.abs(wanted.astype(np.float64)).max(initial=0)
        far = np.abs(found.astype(np.float64) - wanted).max(initial=0)
        assert far <= CLOSE * scale


CONVOLUTIONS = {
    "1d": ((1, 4, 11), (6, 4, 3), {}),
    "2d with more padding before": ((1, 4, 7, 8), (6, 4, 3, 3), {"pads": [2, 1, 0, 1]}),
    "2d with more padding behind": ((1, 4, 7, 8), (6, 4, 3, 2), {"pads": [0, 0, 1, 3]}),
    "2d in groups with stride": ((2, 4, 7, 8), (6, 2, 3, 3), {"group": 2, "strides": [2, 3]}),
    "2d for each channel": ((2, 4, 7, 8), (8, 1, 3, 3), {"group": 4, "pads": [1, 1, 1, 1]}),
    "2d dilated with padding": (
        (1, 4, 9, 8), (6, 4, 3, 2), {"dilations": [2, 3], "pads": [2, 0, 1, 3]},
    ),
    "2d same upper": ((1, 4, 7, 8), (6, 4, 4, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    "2d same lower": ((1, 4, 7, 8), (6, 4, 4, 3), {"auto_pad": "SAME_LOWER", "strides": [1, 2]}),
    "2d valid": ((1, 4, 7, 8), (6, 4, 3, 3), {"auto_pad": "VALID"}),
    "3d": ((1, 2, 5, 6, 7), (4, 2, 2, 3, 2), {"pads": [1, 0, 0, 0, 1, 1]}),
}  # fmt: skip


@pytest.mark.parametrize("case", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_a_convolution(case: Any, framework: Any, build: Any, random: Any) -> None:
    shape, kernel, attributes = case
    inputs = {"x": random.random(shape, np.float32)}
    weights = {"w": random.random(kernel, np.float32), "b": random.random(kernel[0], np.float32)}
    model = build.node("Conv", inputs, weights, **attributes)
    assert_as_reference(framework, model, inputs)


TRANSPOSED = {
    "pads": {"pads": [1, 1, 1, 1]},
    "strides": {"strides": [2, 3]},
    "grown": {"strides": [3, 3], "output_padding": [2, 1]},
    "dilated": {"dilations": [2, 2]},
    "unequal pads": {"pads": [0, 1, 2, 0], "strides": [2, 2]},
}


@pytest.mark.parametrize("attributes", TRANSPOSED.values(), ids=TRANSPOSED)
def test_a_transposed_convolution(attributes: Any, framework: Any, build: Any, random: Any) -> None:
    inputs = {"x": random.random((1, 4, 5, 6), np.float32)}
    weights = {"w": random.random((4, 3, 3, 3), np.float32)}
    model = build.node("ConvTranspose", inputs, weights, **attributes)
    assert_as_reference(framework, model, inputs)


def test_a_transposed_convolution_in_groups_is_one_for_each_group(
    framework: Any, build: Any, random: Any
) -> None:
    value, weight = random.random((1, 4, 5, 6), np.float32), random.random((4, 3, 3, 3), np.float32)
    (actual,) = framework.outputs(
        build.node("ConvTranspose", {"x": value}, {"w": weight}, group=2), {"x": value}
    )
    parts = [
        ReferenceEvaluator(build.node("ConvTranspose", {"x": x}, {"w": w})).run(None, {"x": x})[0]
        for x, w in ((value[:, :2], weight[:2]), (value[:, 2:], weight[2:]))
    ]
    assert np.allclose(actual, np.concatenate(parts, 1), rtol=1e-6)


@pytest.mark.parametrize(("how", "begin"), [("SAME_UPPER", 0), ("SAME_LOWER", 1)])
def test_a_transposed_convolution_cuts_the_odd_element_off_where_it_should(
    how: str, begin: int, framework: Any, build: Any
) -> None:
    inputs = {"x": np.asarray([[[1, 2, 3]]], np.float32)}
    weights = {"w": np.asarray([[[1, 10, 100]]], np.float32)}
    model = build.node("ConvTranspose", inputs, weights, auto_pad=how, strides=[2])
    (actual,) = framework.outputs(model, inputs)
    whole = [1, 10, 102, 20, 203, 30, 300]
    assert actual.tolist() == [[whole[begin : begin + 6]]]


def test_a_transposed_convolution_grows_to_the_wanted_shape(framework: Any, build: Any) -> None:
    inputs = {"x": np.asarray([[[1, 2, 3]]], np.float32)}
    weights = {"w": np.asarray([[[1, 10]]], np.float32), "b": np.asarray([0.5], np.float32)}
    model = build.node("ConvTranspose", inputs, weights, strides=[3], output_shape=[9])
    (actual,) = framework.outputs(model, inputs)
    assert actual.tolist() == [[[1.5, 10.5, 0.5, 2.5, 20.5, 0.5, 3.5, 30.5, 0.5]]]


def test_a_shape_that_is_asked_for_counts_beside_valid_too(build: Any, framework: Any) -> None:
    """Ones spread by two give 1 1 2 1 2 1 1, of which one is cut at each end."""
    inputs, weights = {"x": np.ones((1, 1, 3), np.float32)}, {"w": np.ones((1, 1, 3), np.float32)}
    model = build.node(
        "ConvTranspose", inputs, weights, auto_pad="VALID", strides=[2], output_shape=[5]
    )
    (result,) = framework.outputs(model, inputs)
    assert result.tolist() == [[[1, 2, 1, 2, 1]]]


PADS = {"none": [0, 0, 0, 0], "equal": [1, 1, 1, 1], "unequal": [0, 1, 1, 0]}


@pytest.mark.parametrize("pads", PADS.values(), ids=PADS)
@pytest.mark.parametrize("ceil_mode", [0, 1])
@pytest.mark.parametrize("dilations", [[1, 1], [2, 1]], ids=["dense", "dilated"])
def test_maximum_over_windows(
    pads: list[int], ceil_mode: int, dilations: list[int], framework: Any, build: Any, random: Any
) -> None:
    inputs = {"x": random.random((2, 3, 8, 9), np.float32) - np.float32(0.5)}
    model = build.node(
        "MaxPool", inputs, kernel_shape=[3, 2], strides=[2, 2], pads=pads, ceil_mode=ceil_mode,
        dilations=dilations,
    )  # fmt: skip
    assert_as_reference(framework, model, inputs)


@pytest.mark.parametrize("pads", PADS.values(), ids=PADS)
@pytest.mark.parametrize("include", [0, 1])
@pytest.mark.parametrize("dilations", [[1, 1], [2, 1]], ids=["dense", "dilated"])
def test_mean_over_windows(
    pads: list[int], include: int, dilations: list[int], framework: Any, build: Any, random: Any
) -> None:
    inputs = {"x": random.random((2, 3, 8, 9), np.float32)}
    model = build.node(
        "AveragePool", inputs, kernel_shape=[3, 2], strides=[2, 2], pads=pads,
        count_include_pad=include, dilations=dilations, opset=19,
    )  # fmt: skip
    assert_as_reference(framework, model, inputs)


def test_a_window_that_reaches_beyond_the_padding_counts_what_is_there(
    framework: Any, build: Any
) -> None:
    inputs = {"x": np.asarray([[[[1, 2, 3, 4]]]], np.float32)}
    shape: dict[str, Any] = {"kernel_shape": [1, 3], "strides": [1, 3], "ceil_mode": 1}
    model = build.node("AveragePool", inputs, opset=19, **shape)
    (actual,) = framework.outputs(model, inputs)
    assert actual.tolist() == [[[[2, 4]]]]


@pytest.mark.parametrize(
    ("pads", "order", "expected"),
    [
        ([0, 0, 0, 0], 0, [[[4, 5], [7, 8]], [[13, 14], [16, 17]]]),
        ([0, 0, 0, 0], 1, [[[4, 7], [5, 8]], [[13, 16], [14, 17]]]),
        ([1, 1, 0, 0], 0, [[[0, 1, 2], [3, 4, 5], [6, 7, 8]], [[9, 10, 11], [12, 13, 14],
                                                              [15, 16, 17]]]),
    ],
)  # fmt: skip
def test_the_place_of_a_maximum_counts_through_the_whole_tensor(
    pads: list[int], order: int, expected: Any, framework: Any, build: Any
) -> None:
    inputs = {"x": np.arange(18, dtype=np.float32).reshape(1, 2, 3, 3)}
    model = build.node(
        "MaxPool", inputs, outputs=["y", "where"], kernel_shape=[2, 2], pads=pads,
        storage_order=order,
    )  # fmt: skip
    maxima, where = framework.outputs(model, inputs)
    assert where.tolist() == [expected]
    rows_first = where if order == 0 else where // 9 * 9 + where % 3 * 3 + where % 9 // 3
    assert (inputs["x"].reshape(-1)[rows_first] == maxima).all()


RESIZES = list(
    itertools.product(
        ("nearest", "linear", "cubic"),
        ("half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners", "half_pixel_symmetric"),
        ([2.0, 3.0], [0.6, 0.5], [1.3, 0.7]),
        (0, 1),
    )
)


@pytest.mark.parametrize(("mode", "coordinates", "scales", "by_size"), RESIZES)
def test_a_resized_image(
    mode: str, coordinates: str, scales: list[float], by_size: int,
    framework: Any, build: Any, random: Any,
) -> None:  # fmt: skip
    inputs = {"x": random.random((1, 2, 7, 10), np.float32)}
    if by_size:
        extents = [1, 2, int(7 * scales[0]), int(10 * scales[1])]
        constants = {"sizes": np.asarray(extents, np.int64)}
    else:
        constants = {"scales": np.asarray([1, 1, *scales], np.float32)}
    order = ["x", "", "", "sizes"] if by_size else ["x", "", "scales"]
    model = build.node(
        "Resize", inputs, constants, order, mode=mode, coordinate_transformation_mode=coordinates
    )
    assert_as_reference(framework, model, inputs)


@pytest.mark.parametrize("how", ["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"])
def test_the_nearest_element(how: str, framework: Any, build: Any, random: Any) -> None:
    inputs = {"x": random.random((1, 1, 4, 6), np.float32)}
    constants = {"scales": np.asarray([1, 1, 2, 0.5], np.float32)}
    model = build.node(
        "Resize", inputs, constants, ["x", "", "scales"], mode="nearest", nearest_mode=how
    )
    assert_as_reference(framework, model, inputs)


def test_linear_interpolation_of_pytorch_is_its_own(framework: Any, build: Any) -> None:
    import torch

    value = torch.rand(1, 3, 7, 9, generator=torch.Generator().manual_seed(1))
    inputs = {"x": value.numpy()}
    constants = {"scales": np.asarray([1, 1, 2, 2], np.float32)}
    model = build.node("Resize", inputs, constants, ["x", "", "scales"], mode="linear")
    (actual,) = framework.outputs(model, inputs)
    expected = torch.nn.Upsample(scale_factor=2, mode="bilinear")(value)
    assert actual.tobytes() == expected.numpy().tobytes()


OLD = {
    "Softmax 11 flattens": ("Softmax", 11, {}, {}, lambda x: softmax(x.reshape(2, -1), x.shape)),
    "Clip 6": ("Clip", 10, {}, {"min": 0.25, "max": 0.5}, lambda x: np.clip(x, 0.25, 0.5)),
    "Pad 2": ("Pad", 10, {}, {"pads": [0, 0, 1, 0, 0, 2], "value": 3.0},
              lambda x: np.pad(x, [(0, 0), (0, 0), (1, 2)], constant_values=3)),
    "Unsqueeze 11": ("Unsqueeze", 11, {}, {"axes": [1, 3]}, lambda x: x[:, None][:, :, :, None]),
    "Slice 1": ("Slice", 9, {}, {"starts": [1], "ends": [9], "axes": [2]}, lambda x: x[:, :, 1:]),
    "Split 2": ("Split", 11, {}, {"axis": 2, "split": [4]}, lambda x: x),
    "ReduceSum 11": ("ReduceSum", 11, {}, {"axes": [0, 2], "keepdims": 0},
                     lambda x: x.sum((0, 2))),
    "Dropout 7": ("Dropout", 7, {}, {"ratio": 0.5}, lambda x: x),
    "Upsample 9": ("Upsample", 9, {"scales": np.asarray([1, 1, 2], np.float32)}, {},
                   lambda x: x.repeat(2, 2)),
}  # fmt: skip


def softmax(rows: Array, shape: tuple[int, ...]) -> Array:
    """Return the softmax of each row, in another shape."""
    powers = np.exp(rows - rows.max(1, keepdims=True))
    result: Array = (powers / powers.sum(1, keepdims=True)).reshape(shape)
    return result


@pytest.mark.parametrize("case", OLD.values(), ids=OLD)
def test_an_old_form_of_an_operator(case: Any, framework: Any, build: Any, random: Any) -> None:
    operator, opset, constants, attributes, function = case
    inputs = {"x": random.random((2, 3, 4), np.float32)}
    model = build.node(operator, inputs, constants, opset=opset, **attributes)
    (actual,) = framework.outputs(model, inputs)
    expected = function(inputs["x"])
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max() <= CLOSE * np.abs(expected).max()


@pytest.mark.parametrize("mode", ["reflect", "edge", "wrap"])
def test_padding_with_the_tensors_own_elements(
    mode: str, framework: Any, build: Any, random: Any
) -> None:
    inputs = {"x": random.random((1, 2, 4, 5), np.float32)}
    constants = {"pads": np.asarray([0, 0, 2, 3, 0, 1, 1, 0], np.int64)}
    model = build.node("Pad", inputs, constants, opset=19, mode=mode)
    (actual,) = framework.outputs(model, inputs)
    expected = np.pad(inputs["x"], [(0, 0), (0, 1), (2, 1), (3, 0)], mode=mode)
    assert np.array_equal(actual, expected)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_normalising_over_neighbouring_channels(
    size: int, framework: Any, build: Any, random: Any
) -> None:
    value = random.random((1, 6, 2, 2), np.float32)
    model = build.node("LRN", {"x": value}, size=size, alpha=0.5, beta=0.75, bias=2.0)
    (actual,) = framework.outputs(model, {"x": value})
    square = np.zeros_like(value)
    for channel in range(6):
        first, last = channel - (size - 1) // 2, channel + size // 2
        square[:, channel] = (value[:, max(first, 0) : last + 1] ** 2).sum(1)
    assert np.allclose(actual, value / (2 + 0.5 / size * square) ** 0.75, rtol=1e-6)


def test_an_integer_is_divided_towards_zero(framework: Any, build: Any) -> None:
    inputs = {"a": np.asarray([-7, 7, -7, 7], np.int32), "b": np.asarray([2, 2, -2, -2], np.int32)}
    (actual,) = framework.outputs(build.node("Div", inputs), inputs)
    assert actual.tolist() == [-3, 3, 3, -3]


def test_quantising_rounds_half_to_even_and_saturates(framework: Any, build: Any) -> None:
    inputs = {"x": np.asarray([0.5, 1.5, 2.5, -0.5, 300.0, -300.0], np.float32)}
    constants = {"s": np.float32(1).reshape(()), "z": np.int8(3).reshape(())}
    (actual,) = framework.outputs(build.node("QuantizeLinear", inputs, constants), inputs)
    assert actual.dtype == np.int8
    assert actual.tolist() == [3, 5, 5, 3, 127, -128]


def test_a_weight_of_each_channel_is_dequantised(framework: Any, build: Any) -> None:
    inputs = {"x": np.asarray([[0, 10], [20, 30]], np.uint8)}
    constants = {"s": np.asarray([0.5, 2], np.float32), "z": np.asarray([10, 20], np.uint8)}
    model = build.node("DequantizeLinear", inputs, constants, axis=0)
    (actual,) = framework.outputs(model, inputs)
    assert actual.tolist() == [[-5, 0], [0, 20]]
