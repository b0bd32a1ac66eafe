"""The paper's networks in Keras, as its authors' code builds them, in every variant.

Activations are layers of their own, so each is a node and a tap of its own in ONNX.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from xbackend.models.variant import Variant

INPUT = "image"


@dataclass(frozen=True)
class LayerFactory:
    """The layers that differ between variants."""

    keras: Any
    variant: Variant
    start: str
    """Of the weights: `he` or `glorot`."""

    def activation(self, prefix: str, number: int | str = "") -> Iterator[Any]:
        """Yield the activation, if the variant has one."""
        word = self.variant.suffix
        if word:
            yield self.keras.layers.Activation(word, name=f"{prefix}{word}{number}")

    def pool(self, name: str, *size: int, **how: Any) -> Any:
        """Return the layer that takes the maximum or the average."""
        layers = self.keras.layers
        kinds = {"MaxPool": layers.MaxPooling2D, "AveragePool": layers.AveragePooling2D}
        return kinds[self.variant.pooling](*size, name=name, **how)

    def conv(self, name: str, *shape: int, **how: Any) -> Any:
        """Return a convolution with padding "same"."""
        how = {"kernel_initializer": f"{self.start}_uniform", **how}
        return self.keras.layers.Conv2D(*shape, padding="same", name=name, **how)

    def dense(self, name: str, width: int, **how: Any) -> Any:
        """Return a dense layer; the last one begins with Glorot's bound in every variant."""
        return self.keras.layers.Dense(width, name=name, **how)


def cifar10_small(bricks: LayerFactory) -> Any:
    """Return the paper's small network, 59,354 parameters."""
    keras = bricks.keras
    inputs = keras.Input((32, 32, 3), name=INPUT)
    return keras.Sequential([inputs, *_small(bricks)], name="cifar10-small")


def _small(bricks: LayerFactory) -> Iterator[Any]:
    layers, start = bricks.keras.layers, {"kernel_initializer": f"{bricks.start}_uniform"}
    yield bricks.conv("conv1", 3, 3)
    yield from bricks.activation("", 1)
    yield bricks.pool("pool1", 2)
    yield bricks.conv("conv2", 5, 5)
    yield from bricks.activation("", 2)
    yield bricks.pool("pool2", 2)
    yield layers.Flatten(name="flatten")
    yield bricks.dense("dense1", 128, **start)
    yield from bricks.activation("", 3)
    yield bricks.dense("dense2", 128, **start)
    yield from bricks.activation("", 4)
    yield bricks.dense("dense3", 10)
    yield layers.Activation("softmax", name="softmax")


def cifar10_r18(bricks: LayerFactory) -> Any:
    """Return the paper's ResNet18, 11,191,306 parameters.

    As in the authors' code the stem begins with Glorot's bound, and shortcuts with ones.
    """
    keras, layers = bricks.keras, bricks.keras.layers
    image = keras.Input((32, 32, 3), name=INPUT)
    x = bricks.conv("conv1", 64, 7, strides=2, kernel_initializer="glorot_uniform")(image)
    x = bricks.pool("pool1", 3, strides=2, padding="same")(x)
    for stage, channels in enumerate((64, 128, 256, 512), 1):
        for block in (1, 2):
            stride = 2 if stage > 1 and block == 1 else 1
            x = _block(bricks, x, f"s{stage}b{block}", channels, stride)
    x = layers.GlobalAveragePooling2D(name="gap")(x)
    return keras.Model(image, _softmax(layers, bricks.dense("dense", 10)(x)), name="cifar10-r18")


def _block(bricks: LayerFactory, x: Any, name: str, channels: int, stride: int) -> Any:
    layers = bricks.keras.layers
    y = bricks.conv(f"{name}_conv1", channels, 3, strides=stride)(x)
    y = layers.BatchNormalization(name=f"{name}_bn1")(y)
    for layer in bricks.activation(f"{name}_", 1):
        y = layer(y)
    y = bricks.conv(f"{name}_conv2", channels, 3)(y)
    if stride > 1:
        how = {"strides": stride, "use_bias": False, "kernel_initializer": "ones"}
        x = bricks.conv(f"{name}_shortcut", channels, 1, **how)(x)
    y = layers.Add(name=f"{name}_add")([x, y])
    y = layers.BatchNormalization(name=f"{name}_bn2")(y)
    for layer in bricks.activation(f"{name}_", 2):
        y = layer(y)
    return y


def _softmax(layers: Any, x: Any) -> Any:
    return layers.Activation("softmax", name="softmax")(x)


def deepweeds_r50v2(bricks: LayerFactory) -> Any:
    """Return the paper's ResNet50V2, 24,744,457 parameters: Keras' own, with one dense layer.

    Its weights begin as Keras lets them, with Glorot's bound in every variant.
    """
    keras, layers = bricks.keras, bricks.keras.layers
    image = keras.Input((256, 256, 3), name=INPUT)
    base = keras.applications.ResNet50V2(include_top=False, weights=None, input_tensor=image)
    if bricks.variant.activation != "Relu":
        base = keras.models.clone_model(base, clone_function=lambda layer: _varied(bricks, layer))
    x = layers.Flatten(name="flatten")(base.output)
    outputs = _softmax(layers, bricks.dense("dense", 9)(x))
    return keras.Model(base.input, outputs, name="deepweeds-r50v2")


def _varied(bricks: LayerFactory, layer: Any) -> Any:
    """Make a layer of Keras' network again, with the variant's activation and pooling."""
    layers = bricks.keras.layers
    config = layer.get_config()
    if isinstance(layer, layers.MaxPooling2D):
        shape = {key: config[key] for key in ("pool_size", "strides", "padding")}
        return bricks.pool(layer.name, **shape)
    if isinstance(layer, layers.Activation):
        word = bricks.variant.suffix or "linear"
        return layers.Activation(word, name=layer.name.replace("relu", word))
    return layer.__class__.from_config(config)


NETWORKS: dict[str, Callable[[LayerFactory], Any]] = {
    "cifar10-small": cifar10_small,
    "cifar10-r18": cifar10_r18,
    "deepweeds-r50v2": deepweeds_r50v2,
}
"""Name of a network to what builds it."""
