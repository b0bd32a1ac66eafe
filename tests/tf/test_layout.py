"""Channels are moved only where an operation needs them elsewhere; taps are in ONNX's order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from xbackend.worker.contract import Session
from xbackend.worker.tensor import from_numpy

Array = np.ndarray[Any, Any]
Prepare = Callable[..., Session]
Taps = Callable[..., dict[str, Array]]

TO_LAST = [0, 2, 3, 1]
TO_FIRST = [0, 3, 1, 2]
MOVES = ("Transpose", "_MklTranspose")


def model(
    nodes: Sequence[onnx.NodeProto], shape: Sequence[int], rank: int = 4, **weights: Array
) -> onnx.ModelProto:
    """Make a model from `x` to the last node's output."""
    graph = helper.make_graph(
        list(nodes),
        "layout",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, [None] * rank)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opset = [helper.make_opsetid("", 18)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8)


def numbers(*shape: int) -> Array:
    return np.random.default_rng(5).normal(size=shape).astype(np.float32)


def moves(prepare: Prepare, graph: onnx.ModelProto, x: Array) -> int:
    """Count the transpositions of the graph that TensorFlow runs."""
    with prepare(graph, mode="function") as session:
        session.run({"x": from_numpy(x)})
        operations = session.facts()["placement"]
    return sum(count for name, count in operations.items() if name.split()[1] in MOVES)


def node(operator: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, inputs.split(), [output], **attributes)


def test_a_graph_from_keras_has_no_transposition(prepare: Prepare) -> None:
    """All between the two transpositions keeps channels last, constants are turned beforehand."""
    nodes = [
        node("Transpose", "x", "first", perm=TO_FIRST),
        node("Conv", "first w b", "conv", auto_pad="SAME_UPPER"),
        node("Mul", "conv scale", "scaled"),
        node("Add", "shift scaled", "shifted"),
        node("PRelu", "shifted slope", "prelu"),
        node("Clip", "prelu", "clipped"),
        node("Add", "clipped conv", "sum"),
        node("Concat", "sum conv", "joined", axis=1),
        node("MaxPool", "joined", "pool", kernel_shape=[2, 2], strides=[2, 2]),
        node("Pad", "pool pads", "padded"),
        node("Slice", "padded one end axis", "sliced"),
        node("Softmax", "sliced", "soft", axis=1),
        node("ReduceMean", "soft over", "reduced", keepdims=1),
        node("Transpose", "reduced", "last", perm=TO_LAST),
    ]
    x = numbers(1, 8, 8, 3)
    graph = model(
        nodes,
        x.shape,
        w=numbers(4, 3, 3, 3),
        b=numbers(4),
        scale=numbers(4, 1, 1),
        shift=numbers(1, 4, 1, 1),
        slope=numbers(4, 1, 1),
        pads=np.array([0, 0, 1, 1, 0, 0, 0, 0], np.int64),
        one=np.array([1], np.int64),
        end=np.array([7], np.int64),
        axis=np.array([1], np.int64),
        over=np.array([2], np.int64),
    )
    assert moves(prepare, graph, x) == 0


def test_a_graph_from_pytorch_is_moved_once_before_and_once_after(prepare: Prepare) -> None:
    nodes = [
        node("Conv", "x w", "conv"),
        node("Relu", "conv", "relu"),
        node("MaxPool", "relu", "pool", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", "pool w2", "conv2"),
        node("Flatten", "conv2", "flat"),
        node("MatMul", "flat matrix", "y"),
    ]
    x = numbers(1, 3, 10, 10)
    graph = model(
        nodes,
        x.shape,
        w=numbers(4, 3, 3, 3),
        w2=numbers(5, 4, 3, 3),
        rank=2,
        matrix=numbers(20, 2),
    )
    assert moves(prepare, graph, x) == 2


def test_what_one_pixel_is_left_of_is_not_moved_at_all(prepare: Prepare) -> None:
    nodes = [
        node("Transpose", "x", "first", perm=TO_FIRST),
        node("GlobalAveragePool", "first", "mean"),
        node("Flatten", "mean", "flat"),
        node("MatMul", "flat matrix", "y"),
    ]
    x = numbers(2, 5, 6, 7)
    assert moves(prepare, model(nodes, x.shape, 2, matrix=numbers(7, 3)), x) == 0


@pytest.mark.parametrize("axis", [-4, -3, -2, -1, 0, 1, 2, 3])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_a_reduction_means_the_same_axis_wherever_channels_are(
    taps_of: Taps, axis: int, keepdims: int
) -> None:
    nodes = [
        node("Transpose", "x", "first", perm=TO_FIRST),
        node("ReduceMax", "first axes", "greatest", keepdims=keepdims),
        node("ArgMax", "first", "place", axis=axis, keepdims=keepdims),
    ]
    x = numbers(2, 3, 4, 5)
    first = x.transpose(TO_FIRST)
    taps = taps_of(model(nodes, x.shape, axes=np.array([axis], np.int64)), x=x)
    np.testing.assert_array_equal(taps["greatest"], first.max(axis, keepdims=bool(keepdims)))
    place = first.argmax(axis)
    place = np.expand_dims(place, axis) if keepdims else place
    np.testing.assert_array_equal(taps["place"], place)


@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1])
def test_parts_are_taken_along_the_same_axis_wherever_channels_are(
    taps_of: Taps, axis: int
) -> None:
    nodes = [
        node("Transpose", "x", "first", perm=TO_FIRST),
        helper.make_node("Split", ["first", "sizes"], ["a", "b"], axis=axis),
        node("Concat", "b a", "swapped", axis=axis),
        node("Gather", "first places", "gathered", axis=axis),
        node("Slice", "first one end axes", "sliced"),
        node("LogSoftmax", "first", "soft", axis=axis),
    ]
    x = numbers(4, 4, 4, 4)
    first = x.transpose(TO_FIRST)
    taps = taps_of(
        model(
            nodes,
            x.shape,
            sizes=np.array([1, 3], np.int64),
            places=np.array([2, -1], np.int64),
            one=np.array([1], np.int64),
            end=np.array([3], np.int64),
            axes=np.array([axis], np.int64),
        ),
        x=x,
    )
    np.testing.assert_array_equal(taps["a"], np.take(first, [0], axis))
    np.testing.assert_array_equal(taps["swapped"], np.take(first, [1, 2, 3, 0], axis))
    np.testing.assert_array_equal(taps["gathered"], np.take(first, [2, 3], axis))
    np.testing.assert_array_equal(taps["sliced"], np.take(first, [1, 2], axis))
    expected = first - np.log(np.exp(first.astype(np.float64)).sum(axis, keepdims=True))
    np.testing.assert_allclose(taps["soft"], expected, rtol=1e-5, atol=1e-6)


SHAPES = [(), (1,), (5,), (4, 1), (4, 5), (3, 1, 1), (3, 4, 5), (1, 3, 1, 1), (2, 1, 4, 5)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_broadcasting_is_onnxs_wherever_channels_are(taps_of: Taps, shape: tuple[int, ...]) -> None:
    """Of a constant, and of a value that is computed."""
    nodes = [
        node("Transpose", "x", "first", perm=TO_FIRST),
        node("Sub", "first c", "constant"),
        node("Neg", "c", "computed"),
        node("Sub", "computed first", "both"),
        node("Sub", "first constant", "back"),
        node("Expand", "first extents", "wider"),
    ]
    x, c = numbers(2, 4, 5, 3), numbers(*shape)
    first = x.transpose(TO_FIRST)
    taps = taps_of(model(nodes, x.shape, c=c, extents=np.array([2, 3, 4, 5], np.int64)), x=x)
    np.testing.assert_array_equal(taps["constant"], first - c)
    np.testing.assert_array_equal(taps["both"], -c - first)
    np.testing.assert_array_equal(taps["back"], first - (first - c))
    np.testing.assert_array_equal(taps["wider"], first)


@pytest.mark.parametrize("perm", [(0, 2, 1), (1, 0, 2), (2, 1, 0), (1, 2, 0), (2, 0, 1)])
def test_three_axes_are_permuted_twice_over(taps_of: Taps, perm: tuple[int, ...]) -> None:
    nodes = [
        node("Transpose", "x", "once", perm=[0, 2, 1]),
        node("Transpose", "once", "twice", perm=list(perm)),
        node("MatMul", "once square", "product"),
        node("Squeeze", "row zero", "squeezed"),
    ]
    nodes.insert(3, node("Slice", "once zero one zero", "row"))
    x, square = numbers(2, 3, 4), numbers(3, 3)
    taps = taps_of(
        model(
            nodes,
            x.shape,
            2,
            square=square,
            zero=np.array([0], np.int64),
            one=np.array([1], np.int64),
        ),
        x=x,
    )
    once = x.transpose(0, 2, 1)
    np.testing.assert_array_equal(taps["twice"], once.transpose(perm))
    np.testing.assert_array_equal(taps["squeezed"], once[0])
    np.testing.assert_allclose(taps["product"], once @ square, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mode", ["eager", "function", "xla"])
@pytest.mark.parametrize("inputs", ["product row", "row product"])
def test_one_row_is_added_to_a_product_in_every_mode(
    inputs: str, mode: str, prepare: Prepare
) -> None:
    """TensorFlow fuses this sum with the product, but its fused kernel takes vectors only."""
    nodes = [
        node("MatMul", "x matrix", "product"),
        node("Add", inputs, "sum"),
        node("Relu", "sum", "y"),
    ]
    x, matrix, row = numbers(5, 4), numbers(4, 3), numbers(1, 3)
    with prepare(model(nodes, x.shape, 2, matrix=matrix, row=row), mode=mode) as session:
        actual = session.run({"x": from_numpy(x)})["y"].array
    np.testing.assert_allclose(actual, np.maximum(x @ matrix + row, 0), rtol=1e-5, atol=1e-6)
