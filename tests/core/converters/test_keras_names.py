"""Which names a Keras model's values and weights get in ONNX."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from xbackend.converters.keras.names import layer_of, names_of_layers, names_of_weights


def _model(nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray]) -> onnx.ModelProto:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, None)
    held = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    return helper.make_model(helper.make_graph(nodes, "g", [value], [], held))


def test_the_last_value_of_a_layer_has_the_layers_name() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], "dense/MatMul"),
        helper.make_node("Add", ["a", "b"], ["c"], "dense/Add"),
        helper.make_node("Relu", ["c"], ["d"], "relu/Relu"),
    ]
    plain = {"a": "dense/MatMul", "c": "dense/Add", "d": "relu/Relu"}
    names = names_of_layers(_model(nodes, {}), plain, {"dense", "relu"})
    assert names == {"a": "dense/MatMul", "c": "dense", "d": "relu"}


def test_a_transposition_that_was_added_is_named_after_its_input() -> None:
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], "conv/BiasAdd__11"),
        helper.make_node("Conv", ["t", "w"], ["c"], "conv/BiasAdd"),
        helper.make_node("Transpose", ["c"], ["u"], "conv/BiasAdd__12"),
    ]
    plain = {"t": "conv/BiasAdd__11", "c": "conv/BiasAdd", "u": "conv/BiasAdd__12"}
    names = names_of_layers(_model(nodes, {}), plain, {"conv"})
    assert names == {"t": "x/Transpose", "c": "conv", "u": "conv/Transpose"}


def test_a_transposition_of_the_model_itself_is_a_layers_value() -> None:
    nodes = [helper.make_node("Transpose", ["x"], ["t"], "permute/transpose")]
    names = names_of_layers(_model(nodes, {}), {"t": "permute/transpose"}, {"permute"})
    assert names == {"t": "permute"}


def test_a_value_outside_all_layers_keeps_its_name() -> None:
    nodes = [helper.make_node("Relu", ["x"], ["r"], "Relu")]
    assert names_of_layers(_model(nodes, {}), {"r": "Relu"}, {"conv"}) == {"r": "Relu"}


def test_a_layer_within_a_model_within_a_model_has_its_whole_path() -> None:
    scopes = {"encoder", "block", "conv"}
    assert layer_of("encoder/block/conv/add/BiasAdd", scopes) == "encoder/block/conv"
    assert layer_of("conv", scopes) == "conv"
    assert layer_of("other/conv", scopes) == ""


def test_a_weight_is_recognised_by_its_bits_in_either_layout() -> None:
    generator = np.random.default_rng(1)
    kernel = generator.random((5, 7, 3, 9), np.float32)
    dense, bias = generator.random((4, 6), np.float32), generator.random(9, np.float32)
    held = {"k": kernel.transpose(3, 2, 0, 1), "d": dense, "b": bias, "s": np.array([1, 2])}
    weights = {"conv/kernel": kernel, "dense/kernel": dense, "conv/bias": bias}
    names = names_of_weights(_model([], held), weights)
    assert names == {"k": "conv/kernel", "d": "dense/kernel", "b": "conv/bias"}


def test_weights_with_the_same_bits_are_not_told_apart_by_guessing() -> None:
    zeros = np.zeros(9, np.float32)
    names = names_of_weights(_model([], {"b": zeros}), {"conv1/bias": zeros, "conv2/bias": zeros})
    assert names == {}


def test_minus_zero_is_not_zero() -> None:
    weights = {"bias": np.array([0.0], np.float32)}
    assert names_of_weights(_model([], {"b": np.array([-0.0], np.float32)}), weights) == {}
