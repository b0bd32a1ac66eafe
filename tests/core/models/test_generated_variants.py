"""The variants of the generated models: what differs, what stays, and their digests."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from functools import cache
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from xbackend.errors import UsageError
from xbackend.models import catalogue
from xbackend.models.generated import model_cache
from xbackend.models.generated.graph import GraphBuilder
from xbackend.models.generated.models import MODELS
from xbackend.models.generated.random_numbers import uniform_signed
from xbackend.models.variant import LINEAR, SIGMOID, VARIANTS, find_variant

Array = np.ndarray[Any, Any]


@cache
def made(name: str) -> onnx.ModelProto:
    model = model_cache.find(name)
    assert model is not None
    return model_cache.build(model).model(name, "softmax")


def counts(name: str) -> Counter[str]:
    return Counter(node.op_type for node in made(name).graph.node)


def weights(name: str) -> dict[str, Array]:
    return {t.name: numpy_helper.to_array(t) for t in made(name).graph.initializer}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_every_variant_comes_out_with_the_recorded_bits_and_number_of_parameters(
    model: model_cache.GeneratedModel,
) -> None:
    net = model_cache.build(model)
    files = (model_cache.encode(net, model.name), model_cache.draw_samples(net, model.seed))
    assert tuple(hashlib.sha256(data).hexdigest() for data in files) == model.digests
    assert net.parameters == model.parameters


def test_the_list_of_models_names_each_network_with_each_variant() -> None:
    listed = {row[0]: row for row in catalogue.rows()}
    small, r18, weeds = "cifar10-small", "cifar10-r18", "deepweeds-r50v2"
    assert set(listed) == {
        *(small, f"{small}-relu", f"{small}-sigmoid", f"{small}-linear"),
        *(r18, f"{r18}-sigmoid", f"{r18}-linear", f"{r18}-batchnorm"),
        *(weeds, f"{weeds}-sigmoid", f"{weeds}-linear", f"{weeds}-batchnorm"),
    }
    assert listed[f"{small}-sigmoid"][1] == "59,354"
    assert "sigmoid, average pooling, Glorot's bounds" in listed[f"{small}-sigmoid"][4]


@pytest.mark.parametrize(
    ("name", "operators"),
    [
        ("cifar10-small-relu", {"Relu": 4, "MaxPool": 2}),
        ("cifar10-small-sigmoid", {"Sigmoid": 4, "AveragePool": 2}),
        ("cifar10-small-linear", {"AveragePool": 2}),
        ("cifar10-r18-sigmoid", {"Sigmoid": 16, "AveragePool": 1, "Mul": 16, "Add": 24}),
        ("cifar10-r18-linear", {"AveragePool": 1, "Mul": 16, "Add": 24}),
        (
            "cifar10-r18-batchnorm",
            {"Relu": 16, "MaxPool": 1, "BatchNormalization": 16, "Add": 8},
        ),
    ],
)
def test_a_variant_differs_in_activation_pooling_and_normalisation_alone(
    name: str, operators: dict[str, int]
) -> None:
    varied = ("Relu", "Sigmoid", "MaxPool", "AveragePool", "BatchNormalization", "Mul", "Add")
    found = counts(name)
    assert {word: found[word] for word in varied if found[word]} == operators
    assert found["Conv"] == (2 if "small" in name else 20)
    onnx.checker.check_model(made(name), full_check=True)


def test_layers_are_named_after_what_they_compute() -> None:
    names = {node.op_type: node.output[0] for node in made("cifar10-r18-sigmoid").graph.node}
    assert names["Sigmoid"] == "s4b2_sigmoid2"
    assert [n.output[0] for n in made("cifar10-small-relu").graph.node] == (
        "image_nchw conv1 relu1 pool1 conv2 relu2 pool2 flatten_nhwc flatten "
        "dense1 relu3 dense2 relu4 dense3 softmax"
    ).split()


@pytest.mark.parametrize("network", ["cifar10-small", "cifar10-r18"])
def test_the_linear_variant_has_the_weights_of_the_sigmoids(network: str) -> None:
    sigmoid, linear = (weights(f"{network}-{word}") for word in ("sigmoid", "linear"))
    assert {name: array.tobytes() for name, array in sigmoid.items()} == {
        name: array.tobytes() for name, array in linear.items()
    }


def test_the_linear_variant_is_linear_up_to_its_softmax() -> None:
    model = onnx.ModelProto()
    model.CopyFrom(made("cifar10-small-linear"))
    model.graph.output[0].name = model.graph.node[-1].input[0]
    session = ReferenceEvaluator(model)
    rng = np.random.default_rng(5)
    x, y = rng.random((2, 1, 32, 32, 3), np.float32)

    def logits(image: Array) -> Array:
        (array,) = session.run(None, {"image": image})
        return np.asarray(array)

    both = logits(x) + logits(y) - logits(np.zeros_like(x))
    np.testing.assert_allclose(logits(x + y), both, atol=1e-5)


def test_batch_normalisation_holds_all_four_vectors_and_the_same_kernels() -> None:
    plain, normal = weights("cifar10-r18"), weights("cifar10-r18-batchnorm")
    assert sum(array.size for array in normal.values()) == 11_191_306
    assert sum(normal[n].size for n in normal if "conv" in n or "shortcut" in n) == 11_170_816
    same = [name for name in plain if not name.endswith(("/scale", "/shift"))]
    assert all(plain[name].tobytes() == normal[name].tobytes() for name in same)
    assert len(same) == 17 * 2 + 3 + 2


def test_batch_normalisation_is_the_product_and_the_sum_of_the_default() -> None:
    plain, normal = weights("cifar10-r18"), weights("cifar10-r18-batchnorm")
    for name in ("s1b1_bn1", "s4b2_bn2"):
        words = ("gamma", "beta", "mean", "variance")
        gamma, beta, mean, variance = (normal[f"{name}/{word}"].astype(float) for word in words)
        factor = gamma / np.sqrt(variance + 0.001)
        np.testing.assert_allclose(plain[f"{name}/scale"].ravel(), factor, rtol=1e-6)
        shift = plain[f"{name}/shift"].ravel()
        np.testing.assert_allclose(shift, beta - mean * factor, atol=1e-6)


def test_a_variance_is_the_square_of_a_deviation_less_epsilon_rounded_twice() -> None:
    net = GraphBuilder("seed", VARIANTS["batchnorm"])
    net.norm(net.image_input("x", 1, 1, 5), "n")
    (found,) = (numpy_helper.to_array(t) for t in net.weights if t.name == "n/variance")
    for value, drawn in zip(found, uniform_signed("seed/n/deviation", (5,)), strict=True):
        deviation = np.float32(1.125 + float(np.float32(float(drawn) / 4)))
        square = np.float32(float(deviation) ** 2)
        assert value == np.float32(float(square) - float(np.float32(0.001)))


@pytest.mark.parametrize(
    ("name", "kernel", "squared"),
    [
        ("cifar10-small-sigmoid", "conv1/kernel", 6 / (27 + 27)),
        ("cifar10-small-sigmoid", "conv2/kernel", 6 / (75 + 125)),
        ("cifar10-small-sigmoid", "dense1/kernel", 6 / (320 + 128)),
        ("cifar10-small-relu", "conv2/kernel", 6 / 75),
        ("cifar10-small-relu", "dense2/kernel", 6 / 128),
        ("cifar10-r18-sigmoid", "s2b1_shortcut/kernel", 6 / (64 + 128)),
        ("cifar10-r18-linear", "s4b1_conv1/kernel", 6 / (9 * 256 + 9 * 512)),
    ],
)
def test_weights_fill_the_bounds_of_he_and_glorot(name: str, kernel: str, squared: float) -> None:
    drawn = np.abs(weights(name)[kernel])
    bound = math.sqrt(squared)
    assert 0.94 * bound < drawn.max() <= bound
    assert drawn.mean() == pytest.approx(bound / 2, rel=0.15)


def test_padding_is_not_averaged() -> None:
    net = GraphBuilder("seed", SIGMOID)
    net.pool(net.image_input("x", 5, 5, 1), "pool", 3, 2)
    ones = np.ones((1, 5, 5, 1), np.float32)
    (pooled,) = ReferenceEvaluator(net.model("net", "pool")).run(None, {"x": ones})
    assert np.asarray(pooled).tolist() == np.ones((1, 1, 3, 3)).tolist()


def test_a_variant_without_activation_adds_no_layer() -> None:
    net = GraphBuilder("seed", LINEAR)
    x = net.image_input("x", 1, 1, 1)
    assert net.activate(x, "block_", 1) == x
    assert len(net.nodes) == 1


def test_an_unknown_variant_is_told_with_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"'tanh'\. Variants: relu, sigmoid, linear, batchnorm"):
        find_variant("tanh")
