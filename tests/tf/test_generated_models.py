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

from xbackend.cli import main
from xbackend.models import catalogue
from xbackend.store import Store

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


def _norm(x: Any, name: str) -> Any:
    return layers.BatchNormalization(name=name, epsilon=0.0)(x)


def _block(x: Any, name: str, channels: int, stride: int) -> Any:
    y = _conv(x, f"{name}_conv1", channels, 3, stride)
    y = layers.ReLU()(_norm(y, f"{name}_bn1"))
    y = _conv(y, f"{name}_conv2", channels, 3)
    if stride == 2:
        x = _conv(x, f"{name}_shortcut", channels, 1, 2, bias=False)
    return layers.ReLU()(_norm(layers.Add()([y, x]), f"{name}_bn2"))


def _resnet18() -> keras.Model:
    image = x = keras.Input((32, 32, 3))
    x = layers.MaxPooling2D(3, strides=2, padding="same")(_conv(x, "conv1", 64, 7, 2))
    for stage, channels in enumerate((64, 128, 256, 512), 1):
        x = _block(x, f"s{stage}b1", channels, 1 if stage == 1 else 2)
        x = _block(x, f"s{stage}b2", channels, 1)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(10, activation="softmax", name="dense")(x))


def _fill(model: keras.Model, weights: dict[str, Array]) -> None:
    """Give a Keras model the weights of the ONNX file; normalisation by mean 0 and variance 1."""
    for layer in model.layers:
        found = [
            weights[f"{layer.name}/{word}"] for word in ("kernel", "bias") if _has(layer, word)
        ]
        if isinstance(layer, layers.Conv2D):
            layer.set_weights([found[0].transpose(2, 3, 1, 0), *found[1:]])
        elif isinstance(layer, layers.Dense):
            layer.set_weights([found[0].T, found[1]])
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
    outputs = [Store(store).tensor(row["outputs"][0]).array for row in record["results"]]
    builtin = catalogue.builtin(name)
    tensors = onnx.load(builtin.files["onnx"].path).graph.initializer
    network = build()
    _fill(network, {tensor.name: numpy_helper.to_array(tensor) for tensor in tensors})
    expected = network(np.load(builtin.samples), training=False).numpy()
    assert network.count_params() == builtin.parameters == parameters
    np.testing.assert_allclose(np.concatenate(outputs), expected, rtol=1e-3)
    assert expected.max() < 0.9
