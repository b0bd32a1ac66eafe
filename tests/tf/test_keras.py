"""What Keras computes eagerly, layer by layer, the executor computes with the same bits.

The ONNX graphs are written here by hand from the layers' weights, so that nothing is folded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf
from onnx import TensorProto, helper, numpy_helper

Array = np.ndarray[Any, Any]
Taps = Callable[..., dict[str, Array]]

OPSET = 18
SAME = {"auto_pad": "SAME_UPPER"}


@dataclass
class Exporter:
    """Writes layers one after the other as ONNX, between transpositions to and from NCHW."""

    shape: Sequence[int]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: dict[str, Array] = field(default_factory=dict)
    value: str = "x"

    def node(self, operator: str, *inputs: Array, **attributes: Any) -> str:
        """Append a node that reads the last value and weights."""
        output = f"v{len(self.nodes)}"
        names = [self.value]
        for index, array in enumerate(inputs):
            name = f"{output}/weight{index}"
            self.weights[name] = np.ascontiguousarray(array)
            names.append(name)
        self.nodes.append(helper.make_node(operator, names, [output], **attributes))
        self.value = output
        return output

    def first(self) -> None:
        """Move the channels to where ONNX has them."""
        rank = len(self.shape)
        self.node("Transpose", perm=[0, rank - 1, *range(1, rank - 1)])

    def last(self) -> str:
        """Move the channels to where Keras has them."""
        rank = len(self.shape)
        return self.node("Transpose", perm=[0, *range(2, rank), 1])

    def model(self) -> onnx.ModelProto:
        """Return the whole."""
        free = [None] * len(self.shape)
        graph = helper.make_graph(
            self.nodes,
            "keras",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, self.shape)],
            [helper.make_tensor_value_info(self.value, TensorProto.FLOAT, free)],
            [numpy_helper.from_array(array, name) for name, array in self.weights.items()],
        )
        opset = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, opset_imports=opset, ir_version=8)


def kernel(layer: Any, index: int = 0) -> Array:
    """Return a convolution's kernel in ONNX's order: outputs, inputs, spatial axes."""
    array: Array = layer.get_weights()[index]
    return array.transpose([array.ndim - 1, array.ndim - 2, *range(array.ndim - 2)])


def depthwise(layer: Any) -> Array:
    """Return a depthwise kernel (rows, columns, channels, multiplier) as ONNX's groups."""
    array: Array = layer.get_weights()[0]
    rows, columns, channels, multiplier = array.shape
    shape = [channels * multiplier, 1, rows, columns]
    return array.transpose([2, 3, 0, 1]).reshape(shape)


def conv(net: Exporter, layer: Any) -> None:
    attributes: dict[str, Any] = {
        "strides": list(layer.strides),
        "dilations": list(layer.dilation_rate),
    }
    if layer.padding == "same":
        attributes |= SAME
    net.node("Conv", kernel(layer), layer.get_weights()[1], **attributes)


def depthwise_conv(net: Exporter, layer: Any) -> None:
    weight = depthwise(layer)
    channels = layer.get_weights()[0].shape[2]
    padding = SAME if layer.padding == "same" else {}
    net.node(
        "Conv",
        weight,
        layer.get_weights()[1],
        group=channels,
        strides=list(layer.strides),
        dilations=list(layer.dilation_rate),
        **padding,
    )


def separable_conv(net: Exporter, layer: Any) -> None:
    padding = SAME if layer.padding == "same" else {}
    channels = layer.get_weights()[0].shape[2]
    net.node("Conv", depthwise(layer), group=channels, strides=list(layer.strides), **padding)
    net.node("Conv", kernel(layer, 1), layer.get_weights()[2])


def conv_transpose(net: Exporter, layer: Any) -> None:
    array = layer.get_weights()[0]  # rows, columns, outputs, inputs
    padding = SAME if layer.padding == "same" else {}
    weight = array.transpose([3, 2, 0, 1])
    net.node(
        "ConvTranspose", weight, layer.get_weights()[1], strides=list(layer.strides), **padding
    )


def batch_normalization(net: Exporter, layer: Any) -> None:
    net.node("BatchNormalization", *layer.get_weights(), epsilon=layer.epsilon)


def pool(operator: str) -> Callable[[Exporter, Any], None]:
    def write(net: Exporter, layer: Any) -> None:
        padding = SAME if layer.padding == "same" else {}
        sizes = {"kernel_shape": list(layer.pool_size), "strides": list(layer.strides)}
        net.node(operator, **sizes, **padding)

    return write


def zero_padding(net: Exporter, layer: Any) -> None:
    (top, bottom), (left, right) = layer.padding
    pads = np.array([0, 0, top, left, 0, 0, bottom, right], np.int64)
    net.node("Pad", pads, np.float32(0), mode="constant")


def plain(operator: str, **attributes: Any) -> Callable[[Exporter, Any], None]:
    return lambda net, layer: net.node(operator, **attributes)


def softmax(net: Exporter, layer: Any) -> None:
    net.node("Softmax", axis=1)


def upsampling(net: Exporter, layer: Any) -> None:
    mode = {"nearest": "nearest", "bilinear": "linear"}[layer.interpolation]
    scales = np.array([1, 1, *layer.size], np.float32)
    nothing = np.empty(0, np.float32)
    net.node("Resize", nothing, scales, mode=mode, coordinate_transformation_mode="half_pixel")


L = keras.layers

LAYERS: dict[str, tuple[Any, Sequence[int], Callable[[Exporter, Any], None]]] = {
    "conv": (lambda: L.Conv2D(8, 3, bias_initializer="normal"), (1, 13, 11, 3), conv),
    "conv same": (lambda: L.Conv2D(8, 5, padding="same"), (1, 13, 11, 3), conv),
    "conv same, even kernel": (lambda: L.Conv2D(8, 4, padding="same"), (1, 13, 11, 3), conv),
    "conv same, stride 2": (lambda: L.Conv2D(8, 3, 2, padding="same"), (1, 14, 11, 16), conv),
    "conv of a stem": (lambda: L.Conv2D(64, 7, 2, padding="same"), (1, 64, 64, 3), conv),
    "conv 1x1": (lambda: L.Conv2D(33, 1), (1, 9, 9, 65), conv),
    "conv dilated": (lambda: L.Conv2D(8, 3, padding="same", dilation_rate=2), (1, 13, 11, 3), conv),
    "conv of many channels": (lambda: L.Conv2D(128, 3, padding="same"), (1, 8, 8, 128), conv),
    "conv of a batch": (lambda: L.Conv2D(16, 3), (4, 9, 9, 3), conv),
    "conv 1-D": (lambda: L.Conv1D(8, 3, padding="same"), (1, 20, 5), conv),
    "conv 3-D": (lambda: L.Conv3D(4, 3, padding="same"), (1, 6, 7, 8, 3), conv),
    "depthwise": (lambda: L.DepthwiseConv2D(3), (1, 12, 12, 8), depthwise_conv),
    "depthwise same, stride 2": (
        lambda: L.DepthwiseConv2D(3, 2, padding="same", depth_multiplier=2),
        (1, 13, 12, 8),
        depthwise_conv,
    ),
    "depthwise dilated": (
        lambda: L.DepthwiseConv2D(3, padding="same", dilation_rate=2),
        (1, 13, 12, 8),
        depthwise_conv,
    ),
    "separable": (lambda: L.SeparableConv2D(16, 3, padding="same"), (1, 12, 12, 8), separable_conv),
    "transposed": (lambda: L.Conv2DTranspose(6, 3, 2), (1, 7, 7, 4), conv_transpose),
    "transposed same": (
        lambda: L.Conv2DTranspose(6, 3, 2, padding="same"),
        (1, 7, 7, 4),
        conv_transpose,
    ),
    "batch normalization": (L.BatchNormalization, (1, 9, 9, 16), batch_normalization),
    "max pooling": (lambda: L.MaxPooling2D(2), (1, 9, 9, 4), pool("MaxPool")),
    "max pooling same": (
        lambda: L.MaxPooling2D(3, 2, padding="same"),
        (1, 9, 8, 4),
        pool("MaxPool"),
    ),
    "average pooling": (lambda: L.AveragePooling2D(2), (1, 9, 9, 4), pool("AveragePool")),
    "average pooling same": (
        lambda: L.AveragePooling2D(3, 2, padding="same"),
        (1, 9, 8, 4),
        pool("AveragePool"),
    ),
    "global average": (
        lambda: L.GlobalAveragePooling2D(keepdims=True),
        (1, 7, 9, 65),
        plain("GlobalAveragePool"),
    ),
    "global maximum": (
        lambda: L.GlobalMaxPooling2D(keepdims=True),
        (1, 7, 9, 65),
        plain("GlobalMaxPool"),
    ),
    "zero padding": (lambda: L.ZeroPadding2D(((1, 2), (3, 0))), (1, 7, 7, 3), zero_padding),
    "upsampling nearest": (lambda: L.UpSampling2D(3), (1, 5, 6, 3), upsampling),
    "upsampling bilinear": (
        lambda: L.UpSampling2D(2, interpolation="bilinear"),
        (1, 5, 6, 3),
        upsampling,
    ),
    "softmax": (lambda: L.Softmax(), (2, 3, 3, 17), softmax),
    "relu": (lambda: L.ReLU(), (1, 5, 5, 3), plain("Relu")),
    "sigmoid": (lambda: L.Activation("sigmoid"), (1, 5, 5, 67), plain("Sigmoid")),
    "tanh": (lambda: L.Activation("tanh"), (1, 5, 5, 67), plain("Tanh")),
    "elu": (lambda: L.Activation("elu"), (1, 5, 5, 67), plain("Elu")),
    "selu": (lambda: L.Activation("selu"), (1, 5, 5, 67), plain("Selu")),
    "softplus": (lambda: L.Activation("softplus"), (1, 5, 5, 67), plain("Softplus")),
    "leaky relu": (
        lambda: L.LeakyReLU(negative_slope=0.125),
        (1, 5, 5, 67),
        plain("LeakyRelu", alpha=0.125),
    ),
}


def randomised(layer: Any, shape: Sequence[int], seed: int = 1) -> Any:
    """Build a layer and give it weights as a trained one has: all different, variances positive."""
    layer.build((None, *shape[1:]))
    generator = np.random.default_rng(seed)
    names = [weight.path.rpartition("/")[2] for weight in layer.weights]
    arrays = [generator.normal(0, 0.3, weight.shape).astype("f") for weight in layer.weights]
    layer.set_weights(
        [np.abs(a) + 0.1 if "variance" in n else a for n, a in zip(names, arrays, strict=True)]
    )
    return layer


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_has_the_same_bits_as_in_keras(name: str, taps_of: Taps) -> None:
    make, shape, write = LAYERS[name]
    layer = randomised(make(), shape)
    x = np.random.default_rng(2).normal(size=shape).astype(np.float32)
    net = Exporter(shape)
    net.first()
    write(net, layer)
    output = net.last()
    taps = taps_of(net.model(), x=x)
    same_bits(taps[output], layer(tf.constant(x), training=False).numpy())


def same_bits(actual: Array, expected: Array) -> None:
    """Compare element by element, the signs of zeros too."""
    assert (actual.dtype, actual.shape) == (expected.dtype, expected.shape)
    differing = int((actual.view(np.int32) != expected.view(np.int32)).sum())
    assert differing == 0, f"{differing} of {actual.size} elements differ."


def test_a_dense_layer_has_the_same_bits_as_in_keras(taps_of: Taps) -> None:
    """Gemm with the kernel as Keras has it and transposed as PyTorch has it, and MatMul + Add."""
    shape = (1, 577)
    layer = randomised(L.Dense(43), shape)
    weight, bias = layer.get_weights()
    x = np.random.default_rng(2).normal(size=shape).astype(np.float32)
    expected = layer(tf.constant(x)).numpy()
    for write in (
        lambda net: net.node("Gemm", weight, bias),
        lambda net: net.node("Gemm", weight.T, bias, transB=1),
        lambda net: (net.node("MatMul", weight), net.node("Add", bias)),
    ):
        net = Exporter(shape)
        write(net)
        same_bits(taps_of(net.model(), x=x)[net.value], expected)


@pytest.mark.parametrize("name", ["conv", "depthwise"])
def test_padding_before_a_convolution_has_the_same_bits_as_inside_of_it(
    name: str, taps_of: Taps
) -> None:
    """Keras has a layer of its own for what is an attribute in ONNX."""
    shape = (1, 14, 11, 16)
    layer = L.Conv2D(24, 3, 2) if name == "conv" else L.DepthwiseConv2D(3, 2)
    layer = randomised(layer, (1, 16, 13, 16))
    x = np.random.default_rng(2).normal(size=shape).astype(np.float32)
    expected = layer(L.ZeroPadding2D(((1, 1), (0, 2)))(tf.constant(x))).numpy()
    net = Exporter(shape)
    net.first()
    weight, group = (kernel(layer), 1) if name == "conv" else (depthwise(layer), 16)
    pads = {"pads": [1, 0, 1, 2], "strides": [2, 2], "group": group}
    net.node("Conv", weight, layer.get_weights()[1], **pads)
    output = net.last()
    same_bits(taps_of(net.model(), x=x)[output], expected)


def test_a_network_has_the_same_bits_as_in_keras_in_every_layer(taps_of: Taps) -> None:
    shape = (1, 32, 32, 3)
    chosen = [
        (L.Conv2D(16, 3, padding="same"), conv),
        (L.BatchNormalization(), batch_normalization),
        (L.ReLU(), plain("Relu")),
        (L.MaxPooling2D(3, 2, padding="same"), pool("MaxPool")),
        (L.SeparableConv2D(32, 3, padding="same"), separable_conv),
        (L.BatchNormalization(), batch_normalization),
        (L.ReLU(), plain("Relu")),
        (L.DepthwiseConv2D(3, 2, padding="same"), depthwise_conv),
        (L.AveragePooling2D(2), pool("AveragePool")),
        (L.Conv2D(24, 1), conv),
        (L.GlobalAveragePooling2D(keepdims=True), plain("GlobalAveragePool")),
        (L.Softmax(), softmax),
    ]
    value = tf.constant(np.random.default_rng(3).normal(size=shape).astype(np.float32))
    net = Exporter(shape)
    net.first()
    expected = {}
    taps = {}
    x = value.numpy()
    for index, (layer, write) in enumerate(chosen):
        value = randomised(layer, value.shape, seed=index)(value, training=False)
        write(net, layer)
        expected[net.value] = value.numpy()
    taps = taps_of(net.model(), x=x)
    for name, array in expected.items():
        same_bits(np.ascontiguousarray(taps[name].transpose(0, 2, 3, 1)), array)
