"""The generated networks are those that Keras builds from the paper's description."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import pytest
from keras import layers
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from xbackend.commands.main import main
from xbackend.models import catalogue
from xbackend.store.store import Store

Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A cache folder of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("home")))
        yield


def _conv(x: Any, name: str, channels: int, kernel: int, stride: int = 1, bias: bool = True) -> Any:
    return layers.Conv2D(
        channels, kernel, strides=stride, padding="same", use_bias=bias, name=name
    )(x)


def _block(x: Any, name: str, channels: int, stride: int, activation: str) -> Any:
    y = layers.BatchNormalization(name=f"{name}_bn1")(
        _conv(x, f"{name}_conv1", channels, 3, stride)
    )
    y = _conv(layers.Activation(activation)(y), f"{name}_conv2", channels, 3)
    if stride == 2:
        x = _conv(x, f"{name}_shortcut", channels, 1, 2, bias=False)
    y = layers.BatchNormalization(name=f"{name}_bn2")(layers.Add()([y, x]))
    return layers.Activation(activation)(y)


def _resnet18(activation: str = "relu", pool: type = layers.MaxPooling2D) -> keras.Model:
    image = x = keras.Input((32, 32, 3))
    x = pool(3, strides=2, padding="same")(_conv(x, "conv1", 64, 7, 2))
    for stage, channels in enumerate((64, 128, 256, 512), 1):
        x = _block(x, f"s{stage}b1", channels, 1 if stage == 1 else 2, activation)
        x = _block(x, f"s{stage}b2", channels, 1, activation)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(10, activation="softmax", name="dense")(x))


def _small(activation: str, pool: type) -> keras.Model:
    image = x = keras.Input((32, 32, 3))
    x = pool(2)(layers.Activation(activation)(_conv(x, "conv1", 3, 3)))
    x = pool(2)(layers.Activation(activation)(_conv(x, "conv2", 5, 5)))
    x = layers.Flatten()(x)
    for name in ("dense1", "dense2"):
        x = layers.Activation(activation)(layers.Dense(128, name=name)(x))
    return keras.Model(image, layers.Dense(10, activation="softmax", name="dense3")(x))


def _fill(model: keras.Model, weights: dict[str, Array]) -> None:
    """Give a Keras model the weights of the ONNX file.

    A product and a sum become a normalisation by mean 0 and, with epsilon, by variance 1.
    """
    for layer in model.layers:
        found = [
            weights[f"{layer.name}/{word}"] for word in ("kernel", "bias") if _has(layer, word)
        ]
        if isinstance(layer, layers.Conv2D):
            layer.set_weights([found[0].transpose(2, 3, 1, 0), *found[1:]])
        elif isinstance(layer, layers.Dense):
            layer.set_weights([found[0].T, found[1]])
        elif f"{layer.name}/gamma" in weights:
            words = ("gamma", "beta", "mean", "variance")
            layer.set_weights([weights[f"{layer.name}/{word}"] for word in words])
        elif isinstance(layer, layers.BatchNormalization):
            scale, shift = (weights[f"{layer.name}/{word}"].ravel() for word in ("scale", "shift"))
            variance = np.full_like(scale, 1 - layer.epsilon)
            layer.set_weights([scale, shift, np.zeros_like(scale), variance])


def _has(layer: Any, word: str) -> bool:
    return getattr(layer, word, None) is not None


def _resnet50v2() -> keras.Model:
    shape = (256, 256, 3)
    base = keras.applications.ResNet50V2(include_top=False, weights=None, input_shape=shape)
    outputs = layers.Dense(9, activation="softmax", name="dense")(layers.Flatten()(base.output))
    return keras.Model(base.input, outputs)


@pytest.mark.parametrize(
    ("name", "build", "parameters"),
    [("cifar10-r18", _resnet18, 11_191_306), ("deepweeds-r50v2", _resnet50v2, 24_744_457)],
)
def test_keras_counts_and_computes_the_same_network(
    tmp_path: Path, name: str, build: Callable[[], keras.Model], parameters: int
) -> None:
    store = tmp_path / "store"
    run = ["run", name, "--backends", "tf", "--taps", "outputs", "--store", str(store)]
    assert main(run) == 0
    (record,) = Store(store).runs()
    outputs = [Store(store).read_tensor(row["outputs"][0]).array for row in record["results"]]
    builtin = catalogue.builtin(name)
    tensors = onnx.load(builtin.files["onnx"].path).graph.initializer
    network = build()
    _fill(network, {tensor.name: numpy_helper.to_array(tensor) for tensor in tensors})
    expected = network(np.load(builtin.samples), training=False).numpy()
    assert network.count_params() == builtin.parameters == parameters
    np.testing.assert_allclose(np.concatenate(outputs), expected, rtol=1e-3)
    assert expected.max() < 0.9


@pytest.mark.parametrize(
    ("name", "build", "parameters"),
    [
        ("cifar10-r18-batchnorm", _resnet18, 11_191_306),
        (
            "cifar10-r18-sigmoid",
            lambda: _resnet18("sigmoid", layers.AveragePooling2D),
            11_191_306,
        ),
        ("cifar10-r18-linear", lambda: _resnet18("linear", layers.AveragePooling2D), 11_191_306),
        ("cifar10-small-relu", lambda: _small("relu", layers.MaxPooling2D), 59_354),
        ("cifar10-small-sigmoid", lambda: _small("sigmoid", layers.AveragePooling2D), 59_354),
    ],
)
def test_a_variant_is_what_keras_builds_with_its_activation_and_pooling(
    name: str, build: Callable[[], keras.Model], parameters: int
) -> None:
    builtin = catalogue.builtin(name)
    model = onnx.load(builtin.files["onnx"].path)
    sample = np.load(builtin.samples)[:1]
    (computed,) = ReferenceEvaluator(model).run(None, {"image": sample})
    network = build()
    _fill(network, {each.name: numpy_helper.to_array(each) for each in model.graph.initializer})
    assert network.count_params() == builtin.parameters == parameters
    np.testing.assert_allclose(computed, network(sample, training=False).numpy(), rtol=1e-3)


def test_the_papers_resnet18_has_60_layers_beside_its_input_and_three_shortcuts() -> None:
    names = [layer.name for layer in _resnet18().layers[1:]]
    assert len([name for name in names if "shortcut" not in name]) == 60
    convolutions = [each for each in _resnet18().layers if isinstance(each, layers.Conv2D)]
    assert sum(each.count_params() for each in convolutions) == 11_170_816
