"""The networks that are trained: the paper's, in every variant."""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import Any

import keras
import pytest

from xbackend.models.variant import VARIANTS
from xbackend.training.keras_networks import NETWORKS, LayerFactory


@cache
def _network(name: str, word: str) -> Any:
    variant = VARIANTS[word]
    return NETWORKS[name](LayerFactory(keras, variant, variant.start))


def _kinds(network: Any) -> Counter[str]:
    """Count layers by class, activations by what they compute."""
    return Counter(
        layer.activation.__name__
        if isinstance(layer, keras.layers.Activation)
        else type(layer).__name__
        for layer in network.layers
    )


@pytest.mark.parametrize(
    ("name", "word", "parameters", "kinds"),
    [
        ("cifar10-small", "relu", 59_354, {"relu": 4, "MaxPooling2D": 2}),
        ("cifar10-small", "sigmoid", 59_354, {"sigmoid": 4, "AveragePooling2D": 2}),
        ("cifar10-small", "linear", 59_354, {"AveragePooling2D": 2}),
        ("cifar10-r18", "relu", 11_191_306, {"relu": 16, "MaxPooling2D": 1}),
        ("cifar10-r18", "sigmoid", 11_191_306, {"sigmoid": 16, "AveragePooling2D": 1}),
        ("deepweeds-r50v2", "relu", 24_744_457, {"relu": 49, "MaxPooling2D": 4}),
        ("deepweeds-r50v2", "sigmoid", 24_744_457, {"sigmoid": 49, "AveragePooling2D": 4}),
    ],
)
def test_a_network_has_the_papers_parameters_and_the_variants_layers(
    name: str, word: str, parameters: int, kinds: dict[str, int]
) -> None:
    network = _network(name, word)
    assert network.count_params() == parameters
    found = _kinds(network)
    varied = ("relu", "sigmoid", "linear", "MaxPooling2D", "AveragePooling2D")
    assert {kind: found[kind] for kind in varied if found[kind]} == kinds
    assert found["softmax"] == 1
    assert network.layers[-1].name == "softmax"


def _starts(network: Any) -> dict[str, str]:
    kernels = (keras.layers.Conv2D, keras.layers.Dense)
    return {
        layer.name: type(layer.kernel_initializer).__name__
        for layer in network.layers
        if isinstance(layer, kernels)
    }


def test_weights_begin_as_in_the_authors_code() -> None:
    small = _starts(_network("cifar10-small", "relu"))
    assert [name for name, start in small.items() if start == "GlorotUniform"] == ["dense3"]
    assert set(_starts(_network("cifar10-small", "sigmoid")).values()) == {"GlorotUniform"}
    r18 = _starts(_network("cifar10-r18", "relu"))
    assert (r18["conv1"], r18["s1b1_conv1"], r18["dense"]) == (
        *("GlorotUniform", "HeUniform"),
        "GlorotUniform",
    )
    ones = [name for name, start in r18.items() if start == "Ones"]
    assert ones == ["s2b1_shortcut", "s3b1_shortcut", "s4b1_shortcut"]


def test_layers_are_named_like_those_of_the_generated_networks() -> None:
    names = {layer.name for layer in _network("cifar10-r18", "sigmoid").layers}
    assert {"image", "pool1", "s4b2_bn2", "s4b2_sigmoid2", "gap", "dense", "softmax"} <= names
    weeds = {layer.name for layer in _network("deepweeds-r50v2", "sigmoid").layers}
    assert {"conv2_block1_preact_sigmoid", "post_sigmoid", "pool1_pool", "dense"} <= weeds
    assert not [name for name in weeds if "relu" in name]
