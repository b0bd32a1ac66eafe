"""Small models: cut out of a network, made smaller in each dimension, put side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from xbackend.diagnosis.cut_graph import TensorType
from xbackend.reduction.reproducer import (
    Reproducer,
    batch_models,
    extents,
    extract,
    growing_windows,
    keep_indices,
    reducible_dimensions,
    simplifications,
    split_outputs,
)
from xbackend.worker.tensor import from_numpy

Array = np.ndarray[Any, Any]


def _numbers(*shape: int) -> Array:
    """Return whole numbers that float32 multiplies and adds exactly."""
    return ((np.arange(np.prod(shape)) * 7 % 11) - 5).reshape(shape).astype(np.float32)


def _model(
    nodes: list[onnx.NodeProto], inputs: Mapping[str, Array], weights: Mapping[str, Array]
) -> onnx.ModelProto:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "net",
        [value(name, TensorProto.FLOAT, array.shape) for name, array in inputs.items()],
        [value(nodes[-1].output[0], TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _compute(model: onnx.ModelProto, inputs: Mapping[str, Any]) -> dict[str, Array]:
    arrays = {name: getattr(value, "array", value) for name, value in inputs.items()}
    names = [value.name for value in model.graph.output]
    return dict(zip(names, ReferenceEvaluator(model).run(None, arrays), strict=True))


def _case(node: onnx.NodeProto, x: Array, **weights: Array) -> Reproducer:
    model = _model([node], {"x": x}, weights)
    y = _compute(model, {"x": x})["y"]
    return extract(model, "y", {"x": from_numpy(x)}, TensorType("float32", y.shape))


def _conv() -> Reproducer:
    node = helper.make_node("Conv", ["x", "w", "b"], ["y"], pads=[1] * 4, kernel_shape=[3, 3])
    return _case(node, _numbers(2, 4, 5, 6), w=_numbers(3, 4, 3, 3), b=_numbers(3))


def test_a_convolution_can_be_made_smaller_in_every_way() -> None:
    assert extents(_conv()) == {
        "x[0]": 2,
        "w[1]": 4,
        "b[0]": 3,
        "x[2]": 5,
        "x[3]": 6,
        "w[2]": 3,
        "w[3]": 3,
    }


@pytest.mark.parametrize(
    ("dimension", "indices", "axis"),
    [("x[0]", [1], 0), ("b[0]", [0, 2], 1)],
)
def test_fewer_samples_and_channels_out_are_those_of_the_whole(
    dimension: str, indices: list[int], axis: int
) -> None:
    case = _conv()
    smaller = keep_indices(case, dimension, indices)
    assert smaller is not None
    onnx.checker.check_model(smaller.model, full_check=True)
    whole, part = (_compute(each.model, each.inputs)["y"] for each in (case, smaller))
    assert np.array_equal(part, np.take(whole, indices, axis))


@pytest.mark.parametrize("dimension", ["w[1]", "x[2]", "x[3]", "w[2]", "w[3]"])
def test_smaller_windows_planes_and_channels_in_are_sound_models(dimension: str) -> None:
    smaller = keep_indices(_conv(), dimension, [1, 2])
    assert smaller is not None
    onnx.checker.check_model(smaller.model, full_check=True)
    (declared,) = smaller.model.graph.output
    shape = tuple(axis.dim_value for axis in declared.type.tensor_type.shape.dim)
    assert _compute(smaller.model, smaller.inputs)["y"].shape == shape
    assert smaller.elements < _conv().elements


def test_a_grouped_convolution_keeps_its_channels() -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"], group=2)
    case = _case(node, _numbers(1, 4, 3, 3), w=_numbers(4, 2, 1, 1))
    assert set(extents(case)) == {"x[0]", "x[2]", "x[3]", "w[2]", "w[3]"}


@pytest.mark.parametrize("turned", [0, 1])
def test_a_product_of_matrices_has_rows_columns_and_what_is_summed(turned: int) -> None:
    node = helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=turned)
    weight = _numbers(5, 4).T if turned else _numbers(5, 4)
    case = _case(node, _numbers(3, 5), w=np.ascontiguousarray(weight), b=_numbers(4))
    assert sorted(extents(case).values()) == [3, 4, 5]
    name = next(name for name, extent in extents(case).items() if extent == 4)
    smaller = keep_indices(case, name, [1, 3])
    assert smaller is not None
    whole, part = (_compute(each.model, each.inputs)["y"] for each in (case, smaller))
    assert np.array_equal(part, whole[:, [1, 3]])


def test_stacks_of_matrices_are_cut_together() -> None:
    case = _case(helper.make_node("MatMul", ["x", "w"], ["y"]), _numbers(6, 2, 3), w=_numbers(3, 4))
    assert sorted(extents(case).values()) == [2, 3, 4, 6]


def test_what_is_stretched_is_not_cut() -> None:
    case = _case(helper.make_node("Add", ["x", "w"], ["y"]), _numbers(2, 3, 4), w=_numbers(3, 1))
    assert reducible_dimensions(case) == {
        "x[2]": [("x", 2)],
        "w[0]": [("w", 0), ("x", 1)],
        "x[0]": [("x", 0)],
    }


def test_nothing_is_known_of_a_strange_operator_so_nothing_is_cut() -> None:
    case = _case(helper.make_node("CumSum", ["x", "w"], ["y"]), _numbers(2, 3), w=np.array(1))
    assert extents(case) == {}


def test_a_normalisation_has_parameters_for_each_channel() -> None:
    names = ("scale", "bias", "mean", "variance")
    node = helper.make_node("BatchNormalization", ["x", *names], ["y"])
    weights = {name: np.abs(_numbers(3)) + 1 for name in names}
    case = _case(node, _numbers(2, 3, 4), **weights)
    assert extents(case) == {"x[2]": 4, "bias[0]": 3, "x[0]": 2}


CHAIN = [
    helper.make_node("Relu", ["x"], ["a"]),
    helper.make_node("Mul", ["a", "w"], ["b"]),
    helper.make_node("Add", ["b", "a"], ["c"]),
    helper.make_node("Neg", ["c"], ["y"]),
]


def test_windows_grow_from_one_node_to_the_inputs() -> None:
    model = _model(CHAIN, {"x": _numbers(2)}, {"w": _numbers(2)})
    found = growing_windows(model, "c", ("x", "a", "b", "c", "y"))
    assert [(size, sorted(given)) for size, given in found] == [
        (1, ["a", "b", "x"]),
        (2, ["a", "x"]),
        (4, ["x"]),
    ]


def test_a_window_computes_what_the_network_does() -> None:
    x, w = _numbers(2), _numbers(2)
    model = _model(CHAIN, {"x": x}, {"w": w})
    a = np.maximum(x, 0)
    case = extract(
        model, "c", {"a": from_numpy(a), "x": from_numpy(x)}, TensorType("float32", (2,))
    )
    assert [node.op_type for node in case.model.graph.node] == ["Mul", "Add"]
    assert set(case.inputs) == {"a"}
    assert np.array_equal(_compute(case.model, case.inputs)["c"], a * w + a)


def test_cases_side_by_side_give_what_each_gives_alone() -> None:
    one, other = _conv(), keep_indices(_conv(), "b[0]", [2])
    assert other is not None
    both = batch_models([one, other])
    onnx.checker.check_model(both.model, full_check=True)
    found = split_outputs([one, other], _compute(both.model, both.inputs))
    for case, values in zip([one, other], found, strict=True):
        assert np.array_equal(values["y"], _compute(case.model, case.inputs)["y"])


def test_simpler_forms_are_ones_and_fewer_bits_of_the_mantissa() -> None:
    values = np.array([1 + 2**-3 + 2**-9, -3.0], np.float32)
    case = _case(helper.make_node("Relu", ["x"], ["y"]), values)
    (forms,) = simplifications(case)
    made = [form(case) for form in forms]
    found = [None if each is None else each.inputs["x"].array.tolist() for each in made]
    assert found == [
        [1.0, 1.0],
        [1.0, -2.0],
        [1.0, -3.0],
        [1.125, -3.0],
        [1.125, -3.0],
    ]
