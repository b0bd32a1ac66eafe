"""Pooling: maxima and means of windows, and of all that an image has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, Tuple, Union

import tensorflow as tf

from xbackend.worker.geometry.sliding_window import window_of

from ..value import Value, last
from .reduce import mean_of
from .window import explicit, padded, padding, strided, whole

if TYPE_CHECKING:
    from xbackend.worker.geometry.sliding_window import Pads, Window
    from xbackend.worker.graph import Node

Tensor = Any


def max_pool(node: Node, x: Value) -> Union[Value, Tuple[Value, ...]]:
    """Return the maximum of each window, and its index in ONNX's order where that is asked for."""
    view = window_of(node, x.shape[2:], node.attributes["kernel_shape"])
    if node.gives(1):
        return _with_indices(node, x, view)
    return Value(_maxima(last(x), view), channels_last=True)


def _maxima(x: Tensor, view: Window) -> Tensor:
    how = padding(view)
    if max(view.dilations) > 1:
        return _dilated(padded(x, view.pads, lowest(x.dtype)), view, "MAX")
    if isinstance(how, list):
        x, how = _bordered(x, view), "VALID"
    return tf.nn.max_pool(x, view.kernel, view.strides, how)


def _dilated(x: Tensor, view: Window, kind: str) -> Tensor:
    """Pool what is padded already; TensorFlow has no strides for dilated windows."""
    y = tf.nn.pool(x, view.kernel, kind, padding="VALID", dilations=view.dilations)
    return strided(y, view.strides)


def _bordered(x: Tensor, view: Window) -> Tensor:
    """Put a border around that changes no maximum.

    A mirrored border of at most half a kernel repeats what the same windows see inside. Unlike
    minus infinity it stays within the range of an integer format.
    """
    limits = zip(view.pads, view.kernel, view.spatial)
    if all(2 * max(pads) <= k and max(pads) <= n for pads, k, n in limits):
        return tf.pad(x, explicit(view.pads), "SYMMETRIC")
    return padded(x, view.pads, lowest(x.dtype))


def lowest(dtype: Any) -> float:
    """Return minus infinity, or the least integer of a format."""
    return float("-inf") if dtype.is_floating else dtype.min


def _with_indices(node: Node, x: Value, view: Window) -> Tuple[Value, Value]:
    """Find each maximum's place in a bordered picture, then count it as ONNX does, without."""
    batch, channels = x.shape[:2]
    rank = len(view.kernel)
    flat = [1] * (2 - rank)
    rows, columns = (*view.spatial, *flat)
    pads: Pads = (*view.pads, *[(0, 0)] * len(flat))
    picture = tf.reshape(last(x), [batch, rows, columns, channels])
    picture = padded(picture, pads, lowest(x.tensor.dtype))
    kernel, strides = ([1, *sizes, *flat, 1] for sizes in (view.kernel, view.strides))
    y, places = tf.nn.max_pool_with_argmax(picture, kernel, strides, "VALID", output_dtype=tf.int64)
    place, channel = places // channels, places % channels
    row = place // picture.shape[2] - pads[0][0]
    column = place % picture.shape[2] - pads[1][0]
    by_columns = node.attributes.get("storage_order")
    inner = column * rows + row if by_columns else row * columns + column
    image = tf.reshape(tf.range(batch, dtype=tf.int64), [batch, 1, 1, 1])
    indices = (image * channels + channel) * (rows * columns) + inner
    shape = [batch, *y.shape[1 : 1 + rank], channels]
    return Value(tf.reshape(y, shape), True), Value(tf.reshape(indices, shape), True)


def average_pool(node: Node, x: Value) -> Value:
    """Return the mean of each window, over what it has of the input or of the padded input."""
    view = window_of(node, x.shape[2:], node.attributes["kernel_shape"])
    counts_pads = bool(node.attributes.get("count_include_pad"))
    how = padding(view)
    plain = how == "SAME" and not counts_pads and max(view.dilations) == 1
    if how == "VALID" or plain:
        return Value(_means(last(x), view, how), channels_last=True)
    inside = tf.ones([1, *view.spatial, 1], x.tensor.dtype)
    outside = view.pads
    if counts_pads:
        inside = padded(inside, tuple(zip(view.begins, view.ends)), 1)
        outside = tuple((0, end - asked) for (_, end), asked in zip(view.pads, view.ends))
    shares = _means(padded(inside, outside), view, "VALID")
    y = _means(padded(last(x), view.pads), view, "VALID")
    return Value(y / shares, channels_last=True)


def _means(x: Tensor, view: Window, how: Union[str, Any]) -> Tensor:
    if max(view.dilations) == 1:
        return whole(tf.nn.avg_pool(x, view.kernel, view.strides, how), x)
    return _dilated(x, view, "AVG")


def global_average_pool(node: Node, x: Value) -> Value:
    """Return the mean of each channel, reduced with channels last."""
    return Value(mean_of(last(x), _spatial(x), keepdims=True), channels_last=True)


def global_max_pool(node: Node, x: Value) -> Value:
    """Return the maximum of each channel."""
    return Value(tf.reduce_max(last(x), _spatial(x), keepdims=True), channels_last=True)


def _spatial(x: Value) -> Any:
    return list(range(1, x.rank - 1))


OPERATORS: Dict[str, Callable[..., Any]] = {
    "AveragePool": average_pool,
    "GlobalAveragePool": global_average_pool,
    "GlobalMaxPool": global_max_pool,
    "MaxPool": max_pool,
}
