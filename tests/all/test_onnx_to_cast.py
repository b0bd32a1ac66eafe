"""A graph in another precision is the same graph, each number rounded once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from xbackend.converters.onnx_to_cast import convert
from xbackend.errors import ConversionError
from xbackend.plugins.converter import ConversionRequest, ConversionResult
from xbackend.testing.small_models import small_model
from xbackend.testing.suite_cases import LightModel, light_models

NUMBERS = {"float64": 11, "float16": 10, "bfloat16": 16}
FORMATS = {"float64": np.float64, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
LIGHT = light_models()


def recast(
    model: onnx.ModelProto, folder: Path, precision: str
) -> tuple[onnx.ModelProto, ConversionResult]:
    """Convert a model and read what came out."""
    source, output = folder / "source.onnx", folder / precision
    onnx.save_model(model, source)
    output.mkdir()
    result = convert(ConversionRequest(source, "onnx", f"onnx-{precision}", output))
    return onnx.load(output / result.model), result


def model_of(
    nodes: list[onnx.NodeProto], constants: dict[str, Any], opset: int = 13
) -> onnx.ModelProto:
    """Build a model from `x` of shape (1, 1, 2, 2) to `y`."""
    graph = helper.make_graph(
        nodes,
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 2, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["a", "b", "c", "d"])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def formats(model: onnx.ModelProto) -> dict[str, int]:
    """Infer the format of every value, strictly: an operator with a wrong one raises."""
    graph = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True).graph
    values = (*graph.input, *graph.value_info, *graph.output)
    return {value.name: value.type.tensor_type.elem_type for value in values}


def constants_of(model: onnx.ModelProto) -> dict[str, Any]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


@pytest.mark.parametrize("precision", NUMBERS)
def test_the_graph_is_the_same_and_each_weight_is_the_nearest(
    tmp_path: Path, precision: str
) -> None:
    source = small_model().model
    target, result = recast(source, tmp_path, precision)
    assert list(target.graph.node) == list(source.graph.node)
    weights = constants_of(target)
    for name, array in constants_of(source).items():
        assert weights[name].tobytes() == array.astype(FORMATS[precision]).tobytes()
    ends = (*target.graph.input, *target.graph.output)
    assert {value.type.tensor_type.elem_type for value in ends} == {NUMBERS[precision]}
    assert (result.notes["inserted_casts"], result.notes["kept_float32"]) == ([], [])


def test_a_tie_goes_to_the_even_neighbour(tmp_path: Path) -> None:
    ties = np.float32([1 + 2.0**-8, 1 + 3 * 2.0**-8, 1 + 2.0**-8 + 2.0**-20, 2049.0, 2051.0])
    model = model_of([helper.make_node("Add", ["x", "c"], ["y"])], {"c": ties.reshape(1, 1, 1, 5)})
    brain = constants_of(recast(model, tmp_path, "bfloat16")[0])["c"].ravel().astype(np.float64)
    half = constants_of(recast(model, tmp_path, "float16")[0])["c"].ravel().astype(np.float64)
    assert brain[:3].tolist() == [1.0, 1 + 2.0**-6, 1 + 2.0**-7]
    assert half[3:].tolist() == [2048.0, 2052.0]


def test_the_model_computes_the_same_in_float64_but_more_closely(tmp_path: Path) -> None:
    small = small_model()
    target, _ = recast(small.model, tmp_path, "float64")
    sample = small.inputs["x"].array.astype(np.float64)
    (output,) = ReferenceEvaluator(target).run(None, {"x": sample})
    assert output.dtype == np.float64
    assert np.abs(output - small.values[small.output]).max() < 1e-12


@pytest.mark.parametrize("light", LIGHT, ids=[light.name for light in LIGHT])
def test_every_value_of_a_public_model_is_in_the_new_format(
    tmp_path: Path, light: LightModel
) -> None:
    source = onnx.load(light.path)
    target, _ = recast(source, tmp_path, "float64")
    before, after = formats(source), formats(target)
    computed = [name for node in source.graph.node for name in node.output]
    floats = [name for name in computed if before[name] == TensorProto.FLOAT]
    assert {after[name] for name in floats} == {NUMBERS["float64"]}
    assert len(floats) > 20


@pytest.mark.parametrize("precision", NUMBERS)
def test_an_input_that_is_float32_by_definition_keeps_its_bits(
    tmp_path: Path, precision: str
) -> None:
    scales = np.float32([1, 1, 2.1, 2])
    node = helper.make_node("Resize", ["x", "", "scales"], ["y"], mode="nearest")
    target, result = recast(model_of([node], {"scales": scales}), tmp_path, precision)
    assert constants_of(target)["scales"].tobytes() == scales.tobytes()
    assert result.notes["kept_float32"] == ["Resize.scales"]
    assert formats(target)["y"] == NUMBERS[precision]
    assert result.weights.identical == ("scales",)


def test_a_constant_that_is_read_in_both_formats_is_there_in_both(tmp_path: Path) -> None:
    scales = np.float32([1, 1, 2, 1.1]).reshape(4)
    nodes = [
        helper.make_node("Resize", ["x", "", "c"], ["big"], mode="nearest"),
        helper.make_node("Add", ["big", "c"], ["y"]),
    ]
    target, _ = recast(model_of(nodes, {"c": scales}), tmp_path, "float16")
    found = constants_of(target)
    assert found["c"].tobytes() == scales.astype(np.float16).tobytes()
    assert found["c/float32"].tobytes() == scales.tobytes()
    assert list(target.graph.node[0].input) == ["x", "", "c/float32"]
    assert list(target.graph.node[1].input) == ["big", "c"]


def test_an_operator_that_has_float32_only_stands_between_casts(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("Relu", ["d"], ["r"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    constants = {"s": np.float32(0.1), "z": np.uint8(3)}
    target, result = recast(model_of(nodes, constants), tmp_path, "float64")
    assert result.notes["inserted_casts"] == ["x", "d", "y/float32"]
    found = formats(target)
    assert (found["x"], found["r"], found["y"], found["d"]) == (11, 11, 11, 1)
    x = np.array([0.1, -0.2, 5.0, 99.0]).reshape(1, 1, 2, 2)
    session = onnxruntime.InferenceSession(
        target.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (output,) = session.run(None, {"x": x})
    assert output.tolist() == (np.float32(0.1) * np.float32([[[[1, -2], [50, 252]]]])).tolist()


def test_constants_within_the_graph_are_rounded_too(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Constant", [], ["a"], value_float=0.1),
        helper.make_node("Constant", [], ["b"], value_floats=[0.1, 0.2]),
        helper.make_node("Constant", [], ["n"], value_ints=[2]),
        helper.make_node(
            "ConstantOfShape",
            ["n"],
            ["c"],
            value=helper.make_tensor("v", TensorProto.FLOAT, [1], [0.3]),
        ),
        helper.make_node("ConstantOfShape", ["n"], ["zero"]),
        helper.make_node("Cast", ["n"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Sum", ["x", "a", "b", "c", "zero", "f"], ["y"]),
    ]
    target, _ = recast(model_of(nodes, {}), tmp_path, "float16")
    found = formats(target)
    assert {found[name] for name in ("a", "b", "c", "zero", "f", "y")} == {10}
    assert found["n"] == TensorProto.INT64
    (output,) = ReferenceEvaluator(target).run(None, {"x": np.zeros((1, 1, 2, 2), np.float16)})
    exact = 0.1 + np.array([0.1, 0.2]) + 0.3 + 2
    assert np.abs(output - exact).max() < 0.01


def test_a_number_too_large_for_float16_is_told(tmp_path: Path) -> None:
    constants = {"huge": np.float32(1e6), "fine": np.float32(0.5), "count": np.int64([1])}
    nodes = [helper.make_node("Sum", ["x", "huge", "fine"], ["y"])]
    _, result = recast(model_of(nodes, constants), tmp_path, "float16")
    assert result.notes["overflowed"] == ["huge"]
    assert result.notes["same_values"] == ["fine"]
    assert result.weights.identical == ("count",)


def test_a_graph_within_a_graph_is_refused_in_one_sentence(tmp_path: Path) -> None:
    inner = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["z"])],
        "inner",
        [],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, 1, 2, 2])],
    )
    node = helper.make_node("If", ["yes"], ["y"], then_branch=inner, else_branch=inner)
    with pytest.raises(ConversionError, match="the operator If with a graph within"):
        recast(model_of([node], {"yes": np.array(True)}), tmp_path, "float64")


def test_a_model_of_another_precision_is_refused_and_of_the_same_kept(tmp_path: Path) -> None:
    ends = [helper.make_tensor_value_info(name, TensorProto.DOUBLE, [1, 3]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(ConversionError, match="computes in float64, and only float32 can be"):
        recast(model, tmp_path, "float16")
    same, _ = recast(model, tmp_path, "float64")
    assert set(formats(same).values()) == {TensorProto.DOUBLE}


def index_model() -> onnx.ModelProto:
    """Build one that resizes `x` by way of floats, and adds a Range of 3000 floats to it."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Cast", ["shape"], ["extents"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["extents", "scale"], ["scaled"]),
        helper.make_node("Floor", ["scaled"], ["whole"]),
        helper.make_node("Cast", ["whole"], ["wanted"], to=TensorProto.INT64),
        helper.make_node("Expand", ["x", "wanted"], ["wide"]),
        helper.make_node("Range", ["zero", "limit", "one"], ["places"]),
        helper.make_node("Cast", ["places"], ["picks"], to=TensorProto.INT64),
        helper.make_node("Gather", ["wide", "picks"], ["y"], axis=1),
    ]
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["a", "b"])
    numbers = {"scale": [1.0, 3001.0], "zero": 0.0, "limit": 3000.0, "one": 1.0}
    weights = [numpy_helper.from_array(np.float32(v), k) for k, v in numbers.items()]
    graph = helper.make_graph(nodes, "places", [value], [out], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_indices_shapes_and_a_range_that_floats_compute_stay_exact(
    tmp_path: Path, precision: str
) -> None:
    """There is no 3001 and no 2049 in float16: a shape or an index would be another one."""
    model, result = recast(index_model(), tmp_path, precision)
    for name in ("wanted", "picks"):
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.INT64, [None]))
    if precision == "float16":
        x = np.array([[0.5]], np.float16)
        y, wanted, picks = ReferenceEvaluator(model).run(None, {"x": x})
        assert wanted.tolist() == [1, 3001]
        assert picks.tolist() == list(range(3000))
        assert y.dtype == np.float16
    assert result.notes["exact"] == ["extents", "scaled", "whole", "places"]
    assert formats(model)["places"] == TensorProto.FLOAT
    assert formats(model)["y"] == NUMBERS[precision]


def test_integers_that_are_counted_from_data_do_not_hold_the_data_back(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Mul", ["x", "two"], ["doubled"]),
        helper.make_node("Cast", ["doubled"], ["whole"], to=TensorProto.INT32),
        helper.make_node("Cast", ["whole"], ["y"], to=TensorProto.FLOAT),
    ]
    model, result = recast(model_of(nodes, {"two": np.float32(2)}), tmp_path, "float16")
    assert result.notes["exact"] == []
    assert formats(model)["doubled"] == TensorProto.FLOAT16
