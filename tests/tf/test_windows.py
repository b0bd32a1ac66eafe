"""Sliding windows against loops in plain Python, over every attribute that moves a window."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from xbackend.worker.contract import Session
from xbackend.worker.tensor import from_numpy

Array = np.ndarray[Any, Any]
Prepare = Callable[..., Session]
Index = tuple[int, ...]

CHANNELS = 4


def model(node: onnx.NodeProto, x: Array, **weights: Array) -> onnx.ModelProto:
    graph = helper.make_graph(
        [node],
        "window",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * x.ndim)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opset = [helper.make_opsetid("", 19)]
    return helper.make_model(graph, opset_imports=opset, ir_version=9)


def numbers(*shape: int) -> Array:
    return np.random.default_rng(11).normal(size=shape).astype(np.float32)


def computed(prepare: Prepare, graph: onnx.ModelProto, x: Array, mode: str) -> Array:
    with prepare(graph, mode=mode) as session:
        return session.run({"x": from_numpy(x)})["y"].array


def reached(place: Index, size: Sequence[int], attributes: dict[str, Any]) -> Iterator[Any]:
    """Yield for each element of the kernel its place in it, and where in the input it lies."""
    rank = len(place)
    strides = attributes.get("strides", [1] * rank)
    dilations = attributes.get("dilations", [1] * rank)
    pads = attributes.get("pads", [0] * 2 * rank)
    for inner in product(*map(range, size)):
        yield (
            inner,
            tuple(
                p * s + i * d - b
                for p, s, i, d, b in zip(place, strides, inner, dilations, pads, strict=False)
            ),
        )


def lies_within(place: Index, extents: Sequence[int]) -> bool:
    return all(0 <= p < n for p, n in zip(place, extents, strict=True))


CONVOLUTIONS: dict[str, tuple[Sequence[int], Sequence[int], dict[str, Any]]] = {
    "plain": ((7, 6), (3, 2), {}),
    "asymmetric padding": ((7, 6), (3, 2), {"pads": [2, 0, 1, 1]}),
    "other strides": ((7, 8), (3, 2), {"strides": [2, 3]}),
    "dilated with strides": ((9, 9), (3, 2), {"dilations": [2, 3], "strides": [2, 1]}),
    "groups": ((6, 6), (3, 3), {"group": 2, "pads": [1, 1, 1, 1]}),
    "depthwise": ((6, 6), (3, 3), {"group": 4, "pads": [1, 0, 1, 2]}),
    "depthwise with a stride": ((7, 6), (3, 3), {"group": 4, "strides": [2, 2]}),
    "depthwise with two strides": ((7, 6), (3, 3), {"group": 4, "strides": [2, 1]}),
    "depthwise dilated": ((7, 7), (2, 2), {"group": 4, "dilations": [2, 2]}),
    "depthwise dilated with a stride": (
        (7, 7),
        (2, 2),
        {"group": 4, "dilations": [2, 2], "strides": [2, 2]},
    ),
    "a line": ((9,), (3,), {"pads": [2, 1], "strides": [2]}),
    "a depthwise line": ((9,), (3,), {"group": 4, "dilations": [2]}),
    "a solid": ((4, 5, 6), (2, 3, 2), {"pads": [1, 0, 0, 0, 1, 1], "strides": [2, 1, 1]}),
    "a solid in groups": ((4, 4, 4), (2, 2, 2), {"group": 2}),
}


@pytest.mark.parametrize("mode", ["eager", "function"])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_convolution_is_the_sum_over_its_window(name: str, mode: str, prepare: Prepare) -> None:
    extents, size, attributes = CONVOLUTIONS[name]
    groups = attributes.get("group", 1)
    x = numbers(2, CHANNELS, *extents)
    weight, bias = numbers(8, CHANNELS // groups, *size), numbers(8)
    node = helper.make_node("Conv", ["x", "w", "b"], ["y"], **attributes)
    actual = computed(prepare, model(node, x, w=weight, b=bias), x, mode)
    expected = np.zeros(actual.shape)
    for image, channel in product(range(2), range(8)):
        first = channel // (8 // groups) * (CHANNELS // groups)
        for place in product(*map(range, actual.shape[2:])):
            total = float(bias[channel])
            for inner, outer in reached(place, size, attributes):
                if lies_within(outer, extents):
                    for part in range(CHANNELS // groups):
                        factor = float(weight[(channel, part, *inner)])
                        total += factor * float(x[(image, first + part, *outer)])
            expected[(image, channel, *place)] = total
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


TRANSPOSED: dict[str, tuple[Sequence[int], Sequence[int], dict[str, Any]]] = {
    "plain": ((3, 4), (3, 2), {}),
    "strides": ((3, 4), (3, 2), {"strides": [2, 3]}),
    "strides wider than the kernel": ((3, 4), (2, 1), {"strides": [3, 3]}),
    "padding": ((4, 4), (3, 3), {"strides": [2, 2], "pads": [1, 0, 0, 1]}),
    "output padding": (
        (4, 4),
        (3, 3),
        {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]},
    ),
    "dilated": ((4, 4), (2, 3), {"dilations": [3, 2]}),
    "groups": ((4, 3), (2, 2), {"group": 2, "strides": [2, 1]}),
    "a line": ((5,), (3,), {"strides": [2], "pads": [1, 0]}),
    "a solid": ((2, 3, 2), (2, 2, 2), {"strides": [2, 1, 1]}),
}


@pytest.mark.parametrize("mode", ["eager", "function"])
@pytest.mark.parametrize("name", TRANSPOSED)
def test_a_transposed_convolution_spreads_each_element(
    name: str, mode: str, prepare: Prepare
) -> None:
    extents, size, attributes = TRANSPOSED[name]
    groups = attributes.get("group", 1)
    x, weight = numbers(1, CHANNELS, *extents), numbers(CHANNELS, 3, *size)
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], **attributes)
    actual = computed(prepare, model(node, x, w=weight), x, mode)
    expected = np.zeros(actual.shape)
    for channel, part in product(range(CHANNELS), range(3)):
        output = channel // (CHANNELS // groups) * 3 + part
        for place in product(*map(range, extents)):
            for inner, outer in reached(place, size, attributes):
                if lies_within(outer, actual.shape[2:]):
                    factor = float(weight[(channel, part, *inner)])
                    expected[(0, output, *outer)] += factor * float(x[(0, channel, *place)])
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def test_a_transposed_convolution_is_cut_to_the_shape_that_is_asked_for(prepare: Prepare) -> None:
    """The surplus of 2 and 3 rows is cut by halves, the larger one first; columns are added."""
    x, weight = numbers(1, CHANNELS, 3, 3), numbers(CHANNELS, 2, 3, 3)
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2], pads=[0, 0, 0, 0])
    full = computed(prepare, model(node, x, w=weight), x, "eager")
    assert full.shape == (1, 2, 7, 7)
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2, 2], output_shape=[4, 8])
    cut = computed(prepare, model(node, x, w=weight), x, "eager")
    np.testing.assert_array_equal(cut[..., :7], full[:, :, 2:6])
    np.testing.assert_array_equal(cut[..., 7], np.zeros((1, 2, 4)))


POOLS: dict[str, tuple[Sequence[int], dict[str, Any]]] = {
    "plain": ((6, 7), {"kernel_shape": [2, 3]}),
    "strides": ((6, 7), {"kernel_shape": [2, 3], "strides": [2, 2]}),
    "a border of half a kernel": ((6, 7), {"kernel_shape": [2, 3], "pads": [1, 1, 1, 1]}),
    "a border of more than half": ((6, 7), {"kernel_shape": [3, 3], "pads": [2, 2, 0, 1]}),
    "a surplus at the end": (
        (6, 8),
        {"kernel_shape": [3, 3], "strides": [2, 3], "ceil_mode": 1},
    ),
    "a border and a surplus": (
        (6, 8),
        {"kernel_shape": [3, 3], "strides": [2, 3], "pads": [1, 0, 0, 1], "ceil_mode": 1},
    ),
    "dilated": ((8, 8), {"kernel_shape": [2, 3], "dilations": [3, 2], "strides": [2, 1]}),
    "dilated with a border": (
        (8, 8),
        {"kernel_shape": [2, 2], "dilations": [2, 2], "pads": [1, 1, 1, 1]},
    ),
    "a line": ((9,), {"kernel_shape": [3], "strides": [2], "pads": [1, 1]}),
    "a solid": ((4, 5, 4), {"kernel_shape": [2, 3, 2], "pads": [1, 1, 0, 0, 1, 0]}),
}


def windows(x: Array, shape: Sequence[int], attributes: dict[str, Any]) -> Iterator[Any]:
    """Yield for each element of the output what its window has of the input, and where."""
    for place in product(*map(range, shape)):
        places = [outer for _, outer in reached(place[2:], attributes["kernel_shape"], attributes)]
        seen = [x[(*place[:2], *p)] for p in places if lies_within(p, x.shape[2:])]
        yield place, seen, places


@pytest.mark.parametrize("mode", ["eager", "function"])
@pytest.mark.parametrize("name", POOLS)
def test_the_greatest_of_a_window_has_its_own_bits(name: str, mode: str, prepare: Prepare) -> None:
    extents, attributes = POOLS[name]
    x = numbers(1, 2, *extents)
    node = helper.make_node("MaxPool", ["x"], ["y"], **attributes)
    actual = computed(prepare, model(node, x), x, mode)
    for place, seen, _ in windows(x, actual.shape, attributes):
        assert actual[place] == max(seen), place


@pytest.mark.parametrize("mode", ["eager", "function"])
@pytest.mark.parametrize("counts_pads", [0, 1])
@pytest.mark.parametrize("name", POOLS)
def test_the_mean_of_a_window_counts_what_it_is_told_to(
    name: str, counts_pads: int, mode: str, prepare: Prepare
) -> None:
    extents, attributes = POOLS[name]
    x = numbers(1, 2, *extents)
    node = helper.make_node(
        "AveragePool", ["x"], ["y"], count_include_pad=counts_pads, **attributes
    )
    actual = computed(prepare, model(node, x), x, mode)
    rank = len(extents)
    pads = attributes.get("pads", [0] * 2 * rank)
    ends = [n + pad for n, pad in zip(extents, pads[rank:], strict=True)]
    for place, seen, places in windows(x, actual.shape, attributes):
        counted = [p for p in places if all(i < end for i, end in zip(p, ends, strict=True))]
        count = len(counted) if counts_pads else len(seen)
        wanted = sum(map(float, seen)) / count
        assert abs(actual[place] - wanted) < 1e-5, place
