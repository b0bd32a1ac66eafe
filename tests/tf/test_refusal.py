"""What TensorFlow cannot compute is named before anything runs, all of it at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from xbackend.worker.contract import Session, Unsupported
from xbackend.worker.tensor import from_numpy

Prepare = Callable[..., Session]

PICTURE = np.arange(32, dtype=np.float32).reshape(1, 2, 4, 4)


def model(
    nodes: Sequence[onnx.NodeProto], kind: int = TensorProto.FLOAT, **weights: Any
) -> onnx.ModelProto:
    """Make a model of `x`, a picture, and `n`, two integers; the last node gives its output."""
    graph = helper.make_graph(
        list(nodes),
        "refusal",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 4, 4]),
            helper.make_tensor_value_info("n", TensorProto.INT64, [2]),
        ],
        [helper.make_tensor_value_info(nodes[-1].output[0], kind, ["rows", "columns"])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opset = [helper.make_opsetid("", 19), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opset, ir_version=9)


def refusal(prepare: Prepare, graph: onnx.ModelProto) -> str:
    with pytest.raises(Unsupported) as caught:
        prepare(graph)
    return str(caught.value)


def test_every_missing_operator_is_in_one_sentence(prepare: Prepare) -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["relu"]),
        helper.make_node("Unique", ["relu"], ["det"]),
        helper.make_node("Bernoulli", ["det"], ["coin"]),
        helper.make_node("BiasSoftmax", ["coin"], ["y"], domain="com.microsoft"),
    ]
    assert refusal(prepare, model(nodes)).startswith(
        "The tf backend has no Bernoulli, Unique, com.microsoft.BiasSoftmax, which the model uses."
    )


def test_every_missing_form_of_an_operator_is_told_with_its_place(prepare: Prepare) -> None:
    pool = {"kernel_shape": [2, 2], "dilations": [2, 2]}
    nodes = [
        helper.make_node("MaxPool", ["x"], ["greatest", "place"], **pool),
        helper.make_node("Cast", ["greatest"], ["y"], to=TensorProto.FLOAT8E4M3FN),
    ]
    sentence = refusal(prepare, model(nodes, TensorProto.FLOAT8E4M3FN))
    assert "Cast to float8_e4m3fn (at 'y')" in sentence
    assert "MaxPool with indices over dilated or solid windows (at 'greatest')" in sentence


def test_weights_of_a_format_that_is_not_computed_with_are_refused(prepare: Prepare) -> None:
    weight = helper.make_tensor("w", TensorProto.FLOAT8E5M2, [1], [1.0])
    graph = model([helper.make_node("CastLike", ["x", "w"], ["y"])], TensorProto.FLOAT8E5M2)
    graph.graph.initializer.append(weight)
    assert "cannot compute with the format float8_e5m2" in refusal(prepare, graph)


def test_a_kernel_that_is_missing_for_a_format_is_named(prepare: Prepare) -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["half"], to=TensorProto.FLOAT16),
        helper.make_node("Mod", ["half", "half"], ["y"], fmod=1),
    ]
    said = pytest.raises(Unsupported, match=r"cannot compute Mod 'y' on float16, float16: ")
    with prepare(model(nodes, TensorProto.FLOAT16)) as session, said:
        session.run({"x": from_numpy(PICTURE), "n": from_numpy(np.array([4, 8]))})


def test_a_shape_from_an_input_is_read_eagerly_and_refused_in_a_graph(prepare: Prepare) -> None:
    graph = model([helper.make_node("Reshape", ["x", "n"], ["y"])])
    inputs = {"x": from_numpy(PICTURE), "n": from_numpy(np.array([4, 8]))}
    with prepare(graph) as session:
        output = session.run(inputs)["y"].array
    np.testing.assert_array_equal(output, PICTURE.reshape(4, 8))
    said = pytest.raises(Unsupported, match=r"The input 'shape' of Reshape .*tf\.mode=eager")
    with prepare(graph, mode="function") as session, said:
        session.run(inputs)


def test_a_shape_that_follows_from_shapes_is_known_in_a_graph(prepare: Prepare) -> None:
    """Shape, Gather, Mul, Concat and Reshape, as exporters write a Flatten."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "batch"], ["kept"]),
        helper.make_node("Slice", ["shape", "one", "end"], ["rest"]),
        helper.make_node("ReduceProd", ["rest"], ["count"], keepdims=1),
        helper.make_node("Concat", ["kept", "count"], ["wanted"], axis=0),
        helper.make_node("Reshape", ["x", "wanted"], ["y"]),
    ]
    constants = {"batch": np.array([0]), "one": np.array([1]), "end": np.array([4])}
    inputs = {"x": from_numpy(PICTURE), "n": from_numpy(np.array([4, 8]))}
    for mode in ("eager", "function", "xla"):
        with prepare(model(nodes, **constants), mode=mode) as session:
            taps = {name: tensor.array for name, tensor in session.tap(inputs, session.taps)}
        assert taps["wanted"].tolist() == [1, 32]
        np.testing.assert_array_equal(taps["y"], PICTURE.reshape(1, 32))


def test_a_dropout_that_drops_is_refused_and_one_that_does_not_is_not(prepare: Prepare) -> None:
    graph = model(
        [helper.make_node("Dropout", ["x", "ratio", "training"], ["y"])],
        ratio=np.float32(0.5),
        training=np.array(True),
    )
    inputs = {"x": from_numpy(PICTURE), "n": from_numpy(np.array([4, 8]))}
    with prepare(graph) as session, pytest.raises(Unsupported, match="random"):
        session.run(inputs)
    graph.graph.initializer[1].CopyFrom(numpy_helper.from_array(np.array(False), "training"))
    with prepare(graph) as session:
        np.testing.assert_array_equal(session.run(inputs)["y"].array, PICTURE)
