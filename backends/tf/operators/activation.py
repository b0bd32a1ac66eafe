"""Activation functions, and Softmax over the axis where ONNX has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict

import tensorflow as tf

from xbackend.worker.geometry.shapes import flattened

from ..value import Value, first
from .elementwise import broadcasting, unary

if TYPE_CHECKING:
    from xbackend.worker.graph import Node

Tensor = Any
Operator = Callable[..., Value]

SELU = (1.67326319217681884765625, 1.05070102214813232421875)
"""Alpha and gamma of ONNX's Selu, float32 numbers; TensorFlow's own kernel has the same."""


def _elu(node: Node, x: Value) -> Value:
    y = tf.nn.elu(x.tensor)
    alpha = node.attributes["alpha"]
    return x.like(y if alpha == 1 else tf.where(x.tensor > 0, y, alpha * y))


def _selu(node: Node, x: Value) -> Value:
    alpha, gamma = node.attributes["alpha"], node.attributes["gamma"]
    if (alpha, gamma) == SELU:
        return x.like(tf.nn.selu(x.tensor))
    below = alpha * tf.math.expm1(x.tensor)
    return x.like(gamma * tf.where(x.tensor > 0, x.tensor, below))


def _celu(node: Node, x: Value) -> Value:
    alpha = node.attributes["alpha"]
    below = alpha * tf.math.expm1(x.tensor / alpha)
    return x.like(tf.maximum(x.tensor, 0) + tf.minimum(below, 0))


def _gelu(node: Node, x: Value) -> Value:
    approximate = node.attributes.get("approximate", "none") == "tanh"
    return x.like(tf.nn.gelu(x.tensor, approximate=approximate))


def _hard_sigmoid(node: Node, x: Value) -> Value:
    line = x.tensor * node.attributes["alpha"] + node.attributes["beta"]
    return x.like(tf.clip_by_value(line, 0, 1))


def _hard_swish(x: Tensor) -> Tensor:
    """Compute x * relu6(x + 3) / 6, the form that the TensorFlow Lite converter knows."""
    return x * tf.nn.relu6(x + 3) * (1 / 6)


def _leaky_relu(node: Node, x: Value) -> Value:
    return x.like(tf.nn.leaky_relu(x.tensor, alpha=node.attributes["alpha"]))


def _prelu(x: Tensor, slope: Tensor) -> Tensor:
    return tf.where(x < 0, slope * x, x)


def _shrink(node: Node, x: Value) -> Value:
    bias, bound = node.attributes["bias"], node.attributes["lambd"]
    above = tf.where(x.tensor > bound, x.tensor - bias, 0)
    return x.like(tf.where(x.tensor < -bound, x.tensor + bias, above))


def _thresholded_relu(node: Node, x: Value) -> Value:
    return x.like(tf.where(x.tensor > node.attributes["alpha"], x.tensor, 0))


def _swish(node: Node, x: Value) -> Value:
    return x.like(x.tensor * tf.nn.sigmoid(node.attributes["alpha"] * x.tensor))


def _mish(x: Tensor) -> Tensor:
    return x * tf.tanh(tf.math.softplus(x))


def _along_axis(function: Callable[..., Tensor]) -> Operator:
    """Make an operator of a function with an axis; before opset 13 it flattens from there on."""

    def operator(node: Node, x: Value) -> Value:
        axis = node.attributes["axis"]
        if not node.attributes.get("coerce_2d") or axis % x.rank == x.rank - 1:
            return x.like(function(x.tensor, axis=x.physical(axis)))
        rows = tf.reshape(first(x), flattened(x.shape, axis))
        return Value(tf.reshape(function(rows, axis=-1), x.shape))

    return operator


def _hardmax(tensor: Tensor, axis: int) -> Tensor:
    depth = tensor.shape[axis]
    return tf.one_hot(tf.argmax(tensor, axis), depth, axis=axis, dtype=tensor.dtype)


OPERATORS: Dict[str, Operator] = {
    "Celu": _celu,
    "Elu": _elu,
    "Gelu": _gelu,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": unary(_hard_swish),
    "Hardmax": _along_axis(_hardmax),
    "LeakyRelu": _leaky_relu,
    "LogSoftmax": _along_axis(tf.nn.log_softmax),
    "Mish": unary(_mish),
    "PRelu": broadcasting(_prelu),
    "Relu": unary(tf.nn.relu),
    "Selu": _selu,
    "Shrink": _shrink,
    "Sigmoid": unary(tf.nn.sigmoid),
    "Softmax": _along_axis(tf.nn.softmax),
    "Softplus": unary(tf.math.softplus),
    "Softsign": unary(tf.nn.softsign),
    "Swish": _swish,
    "Tanh": unary(tf.tanh),
    "ThresholdedRelu": _thresholded_relu,
}
