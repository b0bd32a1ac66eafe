"""Conv and ConvTranspose: channels last, the padding inside of TensorFlow's own operation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Dict, Optional, Sequence, Tuple

import tensorflow as tf

from ..value import Value, first, last
from .window import Window, padded, pairs, same_pads, whole, window

if TYPE_CHECKING:
    from xbackend.worker.graph import Node

Tensor = Any


def conv(node: Node, x: Value, w: Value, b: Optional[Value] = None) -> Value:
    """Convolve; depthwise where every channel is a group of its own."""
    view = window(node, x.shape[2:], w.shape[2:])
    groups = node.attributes.get("group", 1)
    y = whole(_convolve(last(x), w, view, groups), x.tensor)
    if b is not None:
        y = tf.nn.bias_add(y, b.tensor)
    return Value(y, channels_last=True)


def _convolve(x: Tensor, w: Value, view: Window, groups: int) -> Tensor:
    if view.rank == 1:
        return _convolve_line(x, w, view, groups)
    if view.rank == 2 and _is_depthwise(x, view, groups):
        return _convolve_depthwise(x, w, view, groups)
    kernel = w.arranged(f"kernel {w.rank}", lambda: _kernel(first(w)))
    if view.rank == 2:
        return tf.nn.conv2d(x, kernel, view.strides, view.padding(), dilations=list(view.dilations))
    return _grouped(lambda part, k: _convolve_volume(part, k, view), x, kernel, groups)


def _convolve_line(x: Tensor, w: Value, view: Window, groups: int) -> Tensor:
    """Convolve along one axis, which TensorFlow does as a picture of one row."""
    kernel = w.arranged("row", lambda: tf.expand_dims(first(w), 2))
    row = Window(
        extents=(1, *view.extents),
        kernel=(1, *view.kernel),
        strides=(view.strides[0], *view.strides),
        dilations=(1, *view.dilations),
        pads=((0, 0), *view.pads),
        surplus=(0, *view.surplus),
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

    padding = view.padding()
    if isinstance(padding, list):
        x, padding = padded(x, view.all_pads), "VALID"
    kernel = w.arranged(f"depthwise {groups} {w.rank}", arrange)
    strides, dilations = [1, *view.strides, 1], list(view.dilations)
    return tf.nn.depthwise_conv2d(x, kernel, strides, padding, dilations=dilations)


def _convolve_volume(x: Tensor, kernel: Tensor, view: Window) -> Tensor:
    padding = view.padding()
    if isinstance(padding, list):
        x, padding = padded(x, view.all_pads), "VALID"
    strides, dilations = [1, *view.strides, 1], [1, *view.dilations, 1]
    return tf.nn.conv3d(x, kernel, strides, padding, dilations=dilations)


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


@dataclass(frozen=True)
class Spread:
    """Where a transposed convolution's output lies within all that the kernels reach."""

    strides: Tuple[int, ...]
    dilations: Tuple[int, ...]
    spans: Tuple[int, ...]
    full: Tuple[int, ...]
    """Extents of what is reached."""
    begins: Tuple[int, ...]
    """How much of its beginning is cut away; negative where zeros are added."""
    extents: Tuple[int, ...]
    """The output's."""

    def padding(self) -> str:
        """Return TensorFlow's word that cuts so, empty where none does."""
        ends = [f - b - e for f, b, e in zip(self.full, self.begins, self.extents)]
        cuts = tuple(zip(self.begins, ends))
        if cuts == same_pads(self.extents, self.spans, self.strides):
            return "SAME"
        added = zip(ends, self.strides)
        if not any(self.begins) and all(-stride < end <= 0 for end, stride in added):
            return "VALID"
        return ""


def conv_transpose(node: Node, x: Value, w: Value, b: Optional[Value] = None) -> Value:
    """Convolve transposed: each element of the input spreads its multiple of the kernel."""
    spread = _spread(node, x.shape[2:], w.shape[2:])
    groups = node.attributes.get("group", 1)
    if w.rank == 3:
        y = tf.squeeze(_spread_line(last(x), w, spread, groups), [1])
    else:
        kernel = w.arranged(f"kernel {w.rank}", lambda: _kernel(first(w)))
        y = _grouped(lambda part, k: _transpose(part, k, spread), last(x), kernel, groups)
    if b is not None:
        y = tf.nn.bias_add(whole(y, x.tensor), b.tensor)
    return Value(y, channels_last=True)


def _spread(node: Node, extents: Sequence[int], kernel: Sequence[int]) -> Spread:
    attributes = node.attributes
    strides, dilations = attributes["strides"], attributes["dilations"]
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations)]
    full = [stride * (n - 1) + span for n, stride, span in zip(extents, strides, spans)]
    added = attributes.get("output_padding") or [0] * len(kernel)
    word = attributes.get("auto_pad", "NOTSET")
    wanted = attributes.get("output_shape")
    if not wanted and word.startswith("SAME"):
        wanted = [n * stride for n, stride in zip(extents, strides)]
    if wanted:
        cuts = [n + more - out for n, more, out in zip(full, added, wanted[-len(kernel) :])]
        begins = [cut // 2 if word == "SAME_UPPER" else cut - cut // 2 for cut in cuts]
        out = list(wanted[-len(kernel) :])
    else:
        pads = [(0, 0)] * len(kernel) if word == "VALID" else pairs(attributes["pads"])
        begins = [before for before, _ in pads]
        out = [n + more - sum(pair) for n, more, pair in zip(full, added, pads)]
    lists = (strides, dilations, spans, full, begins, out)
    return Spread(*(tuple(values) for values in lists))


def _spread_line(x: Tensor, w: Value, spread: Spread, groups: int) -> Tensor:
    """Spread along one axis, which TensorFlow does as a picture of one row."""
    row = Spread(
        strides=(spread.strides[0], *spread.strides),
        dilations=(1, *spread.dilations),
        spans=(1, *spread.spans),
        full=(1, *spread.full),
        begins=(0, *spread.begins),
        extents=(1, *spread.extents),
    )
    kernel = w.arranged("row kernel", lambda: _kernel(tf.expand_dims(first(w), 2)))
    return _grouped(lambda part, k: _transpose(part, k, row), tf.expand_dims(x, 1), kernel, groups)


def _transpose(x: Tensor, kernel: Tensor, spread: Spread) -> Tensor:
    """Spread one group; what no word of TensorFlow cuts is cut afterwards."""
    padding = spread.padding()
    extents = spread.extents if padding else spread.full
    shape = [x.shape[0], *extents, kernel.shape[-2]]
    function = tf.nn.conv2d_transpose if len(extents) == 2 else tf.nn.conv3d_transpose
    y = function(
        x, kernel, shape, list(spread.strides), padding or "VALID",
        dilations=list(spread.dilations),
    )  # fmt: skip
    return y if padding else _cut(y, spread)


def _cut(y: Tensor, spread: Spread) -> Tensor:
    """Cut the output out of what is reached, and add zeros where it goes beyond."""
    ends = [b + e for b, e in zip(spread.begins, spread.extents)]
    inside = [slice(max(b, 0), min(e, f)) for b, e, f in zip(spread.begins, ends, spread.full)]
    beyond = [(max(-b, 0), max(e - f, 0)) for b, e, f in zip(spread.begins, ends, spread.full)]
    cuts = (slice(None), *inside, slice(None))
    return padded(y[cuts], tuple(beyond))


OPERATORS: Dict[str, Callable[..., Value]] = {"Conv": conv, "ConvTranspose": conv_transpose}
