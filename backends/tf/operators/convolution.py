"""Conv and ConvTranspose: channels last, the padding inside of TensorFlow's own operation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional

import tensorflow as tf

from xbackend.worker.geometry.conv_transpose import Spread, spread_of
from xbackend.worker.geometry.slices import cut_and_padded
from xbackend.worker.geometry.sliding_window import Window, same_pads, window_of

from ..value import Value, first, last
from .window import padded, padding, whole

if TYPE_CHECKING:
    from xbackend.worker.graph import Node

Tensor = Any


def conv(node: Node, x: Value, w: Value, b: Optional[Value] = None) -> Value:
    """Convolve; depthwise where every channel is a group of its own."""
    view = window_of(node, x.shape[2:], w.shape[2:])
    groups = node.attributes.get("group", 1)
    y = whole(_convolve(last(x), w, view, groups), x.tensor)
    if b is not None:
        y = tf.nn.bias_add(y, b.tensor)
    return Value(y, channels_last=True)


def _convolve(x: Tensor, w: Value, view: Window, groups: int) -> Tensor:
    if len(view.kernel) == 1:
        return _convolve_line(x, w, view, groups)
    if len(view.kernel) == 2 and _is_depthwise(x, view, groups):
        return _convolve_depthwise(x, w, view, groups)
    kernel = w.arranged(f"kernel {w.rank}", lambda: _kernel(first(w)))
    if len(view.kernel) == 2:
        return tf.nn.conv2d(x, kernel, view.strides, padding(view), dilations=list(view.dilations))
    return _grouped(lambda part, k: _convolve_volume(part, k, view), x, kernel, groups)


def _convolve_line(x: Tensor, w: Value, view: Window, groups: int) -> Tensor:
    """Convolve along one axis, which TensorFlow does as a picture of one row."""
    kernel = w.arranged("row", lambda: tf.expand_dims(first(w), 2))
    row = Window(
        spatial=(1, *view.spatial),
        kernel=(1, *view.kernel),
        strides=(view.strides[0], *view.strides),
        dilations=(1, *view.dilations),
        begins=(0, *view.begins),
        ends=(0, *view.ends),
        extents=(1, *view.extents),
    )
    return tf.squeeze(_convolve(tf.expand_dims(x, 1), Value(kernel, kept=w.kept), row, groups), [1])


def _kernel(w: Tensor) -> Tensor:
    """Return ONNX's kernel (outputs, inputs, spatial) as (spatial, inputs, outputs)."""
    return tf.transpose(w, [*range(2, w.shape.rank), 1, 0])


def _is_depthwise(x: Tensor, view: Window, groups: int) -> bool:
    """Tell whether TensorFlow's depthwise kernel applies, which has one stride for both axes."""
    plain = max(view.strides) == 1 or max(view.dilations) == 1
    return groups > 1 and groups == x.shape[-1] and len(set(view.strides)) == 1 and plain


def _convolve_depthwise(x: Tensor, w: Value, view: Window, groups: int) -> Tensor:
    """Convolve each channel on its own; `w` is (channels * multiplier, 1, rows, columns).

    Explicit padding is done before: with it inside, oneDNN's fusion of a bias aborts the process.
    """

    def arrange() -> Tensor:
        shape = w.shape
        split = tf.reshape(first(w), [groups, shape[0] // groups, *shape[2:]])
        return tf.transpose(split, [2, 3, 0, 1])

    how = padding(view)
    if isinstance(how, list):
        x, how = padded(x, view.pads), "VALID"
    kernel = w.arranged(f"depthwise {groups} {w.rank}", arrange)
    strides, dilations = [1, *view.strides, 1], list(view.dilations)
    return tf.nn.depthwise_conv2d(x, kernel, strides, how, dilations=dilations)


def _convolve_volume(x: Tensor, kernel: Tensor, view: Window) -> Tensor:
    how = padding(view)
    if isinstance(how, list):
        x, how = padded(x, view.pads), "VALID"
    strides, dilations = [1, *view.strides, 1], [1, *view.dilations, 1]
    return tf.nn.conv3d(x, kernel, strides, how, dilations=dilations)


def _grouped(
    function: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    kernel: Tensor,
    groups: int,
    axis: int = -1,
) -> Tensor:
    """Apply a convolution that has no groups to each group; the kernel is split along `axis`."""
    if groups == 1:
        return function(x, kernel)
    parts = zip(tf.split(x, groups, axis=-1), tf.split(kernel, groups, axis=axis))
    return tf.concat([function(part, k) for part, k in parts], axis=-1)


def _word(spread: Spread) -> str:
    """Return TensorFlow's word that cuts a transposed convolution so, empty where none does."""
    ends = _ends(spread)
    if tuple(zip(spread.begins, ends)) == same_pads(spread.extents, spread.spans, spread.strides):
        return "SAME"
    steps = zip(ends, spread.strides)
    if not any(spread.begins) and all(-stride < end <= 0 for end, stride in steps):
        return "VALID"
    return ""


def _ends(spread: Spread) -> List[int]:
    """Return what is cut at each end of what TensorFlow computes, where nothing is added."""
    return [end - more for end, more in zip(spread.ends, spread.added)]


def _reached(spread: Spread) -> List[int]:
    return [extent - more for extent, more in zip(spread.full, spread.added)]


def conv_transpose(node: Node, x: Value, w: Value, b: Optional[Value] = None) -> Value:
    """Convolve transposed: each element of the input spreads its multiple of the kernel."""
    spread = spread_of(node, x.shape[2:], w.shape[2:], both_ways=True)
    groups = node.attributes.get("group", 1)
    if w.rank == 3:
        y = tf.squeeze(_spread_line(last(x), w, spread, groups), [1])
    else:
        kernel = w.arranged(f"kernel {w.rank}", lambda: _kernel(first(w)))
        y = _grouped(lambda part, k: _transpose(part, k, spread), last(x), kernel, groups)
    if b is not None:
        y = tf.nn.bias_add(whole(y, x.tensor), b.tensor)
    return Value(y, channels_last=True)


def _spread_line(x: Tensor, w: Value, spread: Spread, groups: int) -> Tensor:
    """Spread along one axis, which TensorFlow does as a picture of one row."""
    row = Spread(
        strides=(spread.strides[0], *spread.strides),
        dilations=(1, *spread.dilations),
        spans=(1, *spread.spans),
        added=(0, *spread.added),
        full=(1, *spread.full),
        begins=(0, *spread.begins),
        extents=(1, *spread.extents),
    )
    kernel = w.arranged("row kernel", lambda: _kernel(tf.expand_dims(first(w), 2)))
    return _grouped(lambda part, k: _transpose(part, k, row), tf.expand_dims(x, 1), kernel, groups)


def _transpose(x: Tensor, kernel: Tensor, spread: Spread) -> Tensor:
    """Spread one group; what no word of TensorFlow cuts is cut afterwards."""
    word = _word(spread)
    extents = spread.extents if word else _reached(spread)
    shape = [x.shape[0], *extents, kernel.shape[-2]]
    function = tf.nn.conv2d_transpose if len(extents) == 2 else tf.nn.conv3d_transpose
    y = function(
        x, kernel, shape, list(spread.strides), word or "VALID",
        dilations=list(spread.dilations),
    )  # fmt: skip
    return y if word else _cut(y, spread)


def _cut(y: Tensor, spread: Spread) -> Tensor:
    """Cut the output out of what is reached, and add zeros where it goes beyond."""
    pads = tuple((-begin, -end) for begin, end in zip(spread.begins, _ends(spread)))
    cut, beyond = cut_and_padded(_reached(spread), pads)
    index = (slice(None), *cut, slice(None))
    return padded(y[index], beyond)


OPERATORS: Dict[str, Callable[..., Value]] = {"Conv": conv, "ConvTranspose": conv_transpose}
