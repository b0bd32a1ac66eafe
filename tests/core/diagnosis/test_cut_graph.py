"""A graph that is cut at its values computes each of them as the whole graph does."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from xbackend.diagnosis.cut_graph import CutModel, TensorType, cut_graph

Array = np.ndarray
Build = Callable[..., onnx.ModelProto]


@pytest.fixture
def build() -> Build:
    """Make a model from x to the output of the last node."""

    def made(*nodes: onnx.NodeProto, **weights: Array) -> onnx.ModelProto:
        value = helper.make_tensor_value_info
        graph = helper.make_graph(
            list(nodes),
            "net",
            [value("x", TensorProto.FLOAT, (2, 3))],
            [value(nodes[-1].output[0], TensorProto.FLOAT, None)],
            [numpy_helper.from_array(array, name) for name, array in weights.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    return made


def values_of(model: onnx.ModelProto, x: Array) -> dict[str, Array]:
    """Compute all values of a model in ONNX's own implementation."""
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    names = [name for node in model.graph.node for name in node.output]
    del whole.graph.output[:]
    whole.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    found = ReferenceEvaluator(whole).run(None, {"x": x})
    return {"x": x, **dict(zip(names, found, strict=True))}


def types_of(values: Mapping[str, Array]) -> dict[str, TensorType]:
    return {name: TensorType(array.dtype.name, array.shape) for name, array in values.items()}


def compute(made: CutModel, values: Mapping[str, Array]) -> dict[str, Array]:
    """Feed a cut model with values of the whole one."""
    onnx.checker.check_model(made.model, full_check=True)
    given = {name: values[value] for name, value in made.given.items()}
    found = ReferenceEvaluator(made.model).run(None, given)
    return dict(zip(made.taps, found, strict=True))


X = np.arange(6, dtype=np.float32).reshape(2, 3) - 2
NODES = (
    helper.make_node("Mul", ["x", "w"], ["a"]),
    helper.make_node("Relu", ["a"], ["b"]),
    helper.make_node("Add", ["a", "b"], ["c"]),
    helper.make_node("Relu", ["c"], ["y"]),
)
WEIGHT = np.full((3,), 1.5, np.float32)


def test_every_value_comes_from_what_is_given(build: Build) -> None:
    values = values_of(build(*NODES, w=WEIGHT), X)
    made = cut_graph(build(*NODES, w=WEIGHT), types_of(values))
    assert made.taps == ("a", "b", "c", "y")
    assert dict(made.given) == {"x": "x", "a/given": "a", "b/given": "b", "c/given": "c"}
    found = compute(made, values)
    assert all(np.array_equal(found[name], values[name]) for name in made.taps)


def test_another_value_given_reaches_its_readers_and_nothing_behind_them(build: Build) -> None:
    values = values_of(build(*NODES, w=WEIGHT), X)
    made = cut_graph(build(*NODES, w=WEIGHT), types_of(values))
    found = compute(made, {**values, "b": values["b"] + 1})
    assert np.array_equal(found["c"], values["c"] + 1)
    assert np.array_equal(found["y"], values["y"])


def test_constants_and_what_hangs_on_extents_are_not_cut(build: Build) -> None:
    shape = np.array([1], np.int64)
    nodes = (
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Shape", ["a"], ["s"]),
        helper.make_node("Mul", ["s", "two"], ["t"]),
        helper.make_node("Constant", [], ["k"], value=numpy_helper.from_array(shape)),
        helper.make_node("Add", ["t", "k"], ["u"]),
        helper.make_node("ConstantOfShape", ["u"], ["zeros"]),
        helper.make_node("Tile", ["a", "two"], ["y"]),
    )
    model = build(*nodes, two=np.array([2, 2], np.int64))
    values = values_of(model, X)
    made = cut_graph(model, types_of(values))
    assert dict(made.given) == {"x": "x", "a/given": "a"}
    assert made.taps == ("a", "y")
    assert np.array_equal(compute(made, values)["y"], np.tile(values["a"], (2, 2)))


def test_what_is_only_moved_stays_tied_to_its_reader(build: Build) -> None:
    nodes = (
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Transpose", ["a"], ["b"]),
        helper.make_node("Relu", ["b"], ["y"]),
    )
    values = values_of(build(*nodes), X)
    made = cut_graph(build(*nodes), types_of(values))
    assert dict(made.given) == {"x": "x", "a/given": "a"}
    assert made.taps == ("a", "b", "y")
    assert np.array_equal(compute(made, values)["y"], values["y"])


def test_a_node_is_left_out_with_the_reason(build: Build) -> None:
    known = types_of(values_of(build(*NODES, w=WEIGHT), X))
    del known["b"]
    made = cut_graph(build(*NODES, w=WEIGHT), known)
    assert made.taps == ("a", "y")
    assert dict(made.left_out) == {
        "b": "it was not recorded",
        "c": "'b', which it reads, was not recorded",
    }


def test_a_name_that_is_taken_is_not_given_twice(build: Build) -> None:
    nodes = (
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Relu", ["a"], ["a/given"]),
    )
    made = cut_graph(build(*nodes), types_of(values_of(build(*nodes), X)))
    assert dict(made.given) == {"x": "x", "a/given_": "a"}


def test_a_node_with_a_graph_of_its_own_is_left_out(build: Build) -> None:
    value = helper.make_tensor_value_info
    inner = [
        helper.make_graph(
            [helper.make_node(name, ["a"], ["inner"])],
            name,
            [],
            [value("inner", TensorProto.FLOAT, (2, 3))],
        )
        for name in ("Relu", "Neg")
    ]
    nodes = (
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("If", ["yes"], ["y"], then_branch=inner[0], else_branch=inner[1]),
    )
    model = build(*nodes, yes=np.array(True))
    known = {name: TensorType("float32", (2, 3)) for name in ("x", "a", "y")}
    assert dict(cut_graph(model, known).left_out) == {"y": "it holds a graph of its own"}
