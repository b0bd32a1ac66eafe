"""Normalisations, as Keras computes them, and Dropout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Sequence, Tuple

import tensorflow as tf

from xbackend.worker.contract import Unsupported

from ..value import Value, first, last, static
from .reduce import HALVES

if TYPE_CHECKING:
    from xbackend.worker.graph import Node

Tensor = Any


def batch_normalization(
    node: Node, x: Value, scale: Value, bias: Value, mean: Value, variance: Value
) -> Any:
    """Normalise each channel by given statistics, or in training mode by the batch's own."""
    tensor = last(x)
    statistics = (mean.tensor, variance.tensor)
    if node.attributes.get("training_mode"):
        statistics = tf.nn.moments(_wide(tensor), list(range(x.rank - 1)))
    y = _normalised(tensor, *statistics, bias.tensor, scale.tensor, node.attributes["epsilon"])
    result = Value(y, channels_last=x.rank >= 3)
    if not node.attributes.get("training_mode"):
        return result
    momentum = node.attributes["momentum"]
    running = [
        old.tensor * momentum + tf.cast(new, old.tensor.dtype) * (1 - momentum)
        for old, new in zip((mean, variance), statistics)
    ]
    return (result, *(Value(tensor) for tensor in running))


def _wide(tensor: Tensor) -> Tensor:
    """Return half formats as float32, in which Keras normalises them."""
    return tf.cast(tensor, tf.float32) if tensor.dtype in HALVES else tensor


def _normalised(
    tensor: Tensor,
    mean: Tensor,
    variance: Tensor,
    offset: Optional[Tensor],
    scale: Tensor,
    epsilon: float,
) -> Tensor:
    wide = _wide(tensor)
    mean, variance, scale = (tf.cast(t, wide.dtype) for t in (mean, variance, scale))
    offset = None if offset is None else tf.cast(offset, wide.dtype)
    y = tf.nn.batch_normalization(wide, mean, variance, offset, scale, epsilon)
    return tf.cast(y, tensor.dtype)


def instance_normalization(node: Node, x: Value, scale: Value, bias: Value) -> Value:
    """Normalise each channel of each image by its own statistics."""
    tensor = last(x)
    mean, variance = tf.nn.moments(_wide(tensor), list(range(1, x.rank - 1)), keepdims=True)
    epsilon = node.attributes["epsilon"]
    y = _normalised(tensor, mean, variance, bias.tensor, scale.tensor, epsilon)
    return Value(y, channels_last=x.rank >= 3)


def group_normalization(node: Node, x: Value, scale: Value, bias: Value) -> Value:
    """Normalise groups of channels of each image; scale and bias are the channels'."""
    groups, shape = node.attributes["num_groups"], x.shape
    parts = tf.reshape(first(x), [shape[0], groups, -1])
    mean, variance = tf.nn.moments(_wide(parts), [2], keepdims=True)
    one = tf.ones([], parts.dtype)
    y = _normalised(parts, mean, variance, None, one, node.attributes["epsilon"])
    extents = [-1, *[1] * (len(shape) - 2)]
    y = tf.reshape(y, shape) * tf.reshape(scale.tensor, extents)
    return Value(y + tf.reshape(bias.tensor, extents))


def layer_normalization(
    node: Node, x: Value, scale: Value, bias: Optional[Value] = None
) -> Tuple[Value, ...]:
    """Normalise over all axes from one on; the statistics are outputs too."""
    tensor = first(x)
    axes = list(range(node.attributes["axis"] % x.rank, x.rank))
    mean, variance = tf.nn.moments(_wide(tensor), axes, keepdims=True)
    offset = None if bias is None else first(bias)
    epsilon = node.attributes["epsilon"]
    y = _normalised(tensor, mean, variance, offset, first(scale), epsilon)
    return Value(y), Value(mean), Value(tf.math.rsqrt(variance + epsilon))


def local_response_normalization(node: Node, x: Value) -> Value:
    """Divide by a power of the sum of squares of neighbouring channels."""
    size, alpha = node.attributes["size"], node.attributes["alpha"]
    beta, bias = node.attributes["beta"], node.attributes["bias"]
    tensor = last(x)
    if size % 2 and x.rank == 4 and tensor.dtype in (tf.float32, tf.float16):
        y = tf.nn.local_response_normalization(tensor, size // 2, bias, alpha / size, beta)
        return Value(y, channels_last=True)
    before = (size - 1) // 2
    squares = tf.pad(tf.square(tensor), [*[[0, 0]] * (x.rank - 1), [before, size - 1 - before]])
    total = tf.add_n([squares[..., i : i + tensor.shape[-1]] for i in range(size)])
    y = tensor / tf.pow(bias + alpha / size * total, beta)
    return Value(y, channels_last=x.rank >= 3)


def lp_normalization(node: Node, x: Value) -> Value:
    """Divide by the norm along an axis."""
    order = {1: 1, 2: "euclidean"}[node.attributes["p"]]
    axis = x.physical(node.attributes["axis"])
    return x.like(tf.math.divide_no_nan(x.tensor, tf.norm(x.tensor, order, axis, keepdims=True)))


def mean_variance_normalization(node: Node, x: Value) -> Value:
    """Give the elements over some axes mean 0 and variance 1."""
    axes: Sequence[int] = x.axes(node.attributes["axes"])
    mean, variance = tf.nn.moments(_wide(x.tensor), axes, keepdims=True)
    y = (_wide(x.tensor) - mean) / (tf.sqrt(variance) + 1e-9)
    return x.like(tf.cast(y, x.tensor.dtype))


def dropout(
    node: Node, x: Value, ratio: Optional[Value] = None, training: Optional[Value] = None
) -> List[Value]:
    """Return the input; the mask says that everything is kept.

    Raises Unsupported where some of it is to be dropped, which is random.
    """
    trains = training is not None and static(training, "input 'training_mode' of Dropout").any()
    if trains and (ratio is None or static(ratio, "input 'ratio' of Dropout").any()):
        raise Unsupported("TensorFlow's random numbers for Dropout in training are not ONNX's.")
    return [x, x.like(tf.ones_like(x.tensor, tf.bool))][: len(node.outputs)]


OPERATORS: Dict[str, Callable[..., Any]] = {
    "BatchNormalization": batch_normalization,
    "Dropout": dropout,
    "GroupNormalization": group_normalization,
    "InstanceNormalization": instance_normalization,
    "LRN": local_response_normalization,
    "LayerNormalization": layer_normalization,
    "LpNormalization": lp_normalization,
    "MeanVarianceNormalization": mean_variance_normalization,
}
