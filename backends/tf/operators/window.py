"""Sliding windows of convolutions and pooling: ONNX's attributes, in TensorFlow's terms."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, List, Sequence, Tuple, Union

import tensorflow as tf

from xbackend.worker.contract import Unsupported

if TYPE_CHECKING:
    from xbackend.worker.graph import Node

Pads = Tuple[Tuple[int, int], ...]
"""For each spatial axis, how many elements are put before it and after it."""


@dataclass(frozen=True)
class Window:
    """A window over the spatial axes, with all attributes resolved for one input."""

    extents: Tuple[int, ...]
    """Of the input's spatial axes."""
    kernel: Tuple[int, ...]
    strides: Tuple[int, ...]
    dilations: Tuple[int, ...]
    pads: Pads
    """Padding that ONNX's attributes ask for."""
    surplus: Tuple[int, ...]
    """What `ceil_mode` needs after each axis, beyond its pads."""

    @property
    def rank(self) -> int:
        """The number of spatial axes."""
        return len(self.kernel)

    @property
    def spans(self) -> Tuple[int, ...]:
        """How far the kernel reaches along each axis, dilation included."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations))

    @property
    def all_pads(self) -> Pads:
        """The padding, the surplus of `ceil_mode` included."""
        return tuple((before, after + s) for (before, after), s in zip(self.pads, self.surplus))

    def padding(self) -> Union[str, List[List[int]]]:
        """Return TensorFlow's `padding` argument: a word where one says the same."""
        if not any(pad for pair in self.all_pads for pad in pair):
            return "VALID"
        if self.all_pads == same_pads(self.extents, self.spans, self.strides):
            return "SAME"
        return explicit(self.all_pads)


def window(node: Node, extents: Sequence[int], kernel: Sequence[int]) -> Window:
    """Resolve a node's attributes for an input of these spatial extents."""
    rank = len(kernel)
    attributes = node.attributes
    result = Window(
        extents=tuple(extents),
        kernel=tuple(kernel),
        strides=tuple(attributes.get("strides") or [1] * rank),
        dilations=tuple(attributes.get("dilations") or [1] * rank),
        pads=pairs(attributes.get("pads") or [0] * 2 * rank),
        surplus=(0,) * rank,
    )
    word = attributes.get("auto_pad", "NOTSET")
    if word == "VALID":
        return _with_surplus(replace(result, pads=((0, 0),) * rank), node)
    if word in ("SAME_UPPER", "SAME_LOWER"):
        pads = same_pads(result.extents, result.spans, result.strides)
        flipped = tuple((after, before) for before, after in pads)
        return replace(result, pads=pads if word == "SAME_UPPER" else flipped)
    return _with_surplus(result, node)


def _with_surplus(window: Window, node: Node) -> Window:
    if not node.attributes.get("ceil_mode"):
        return window
    each = zip(window.extents, window.spans, window.strides, window.pads)
    return replace(window, surplus=tuple(_surplus(*axis) for axis in each))


def _surplus(extent: int, span: int, stride: int, pads: Tuple[int, int]) -> int:
    """Return what the last window reaches over the padded end; it must begin within the input."""
    padded = extent + sum(pads)
    last = -(-(padded - span) // stride) * stride
    if last >= extent + pads[0]:
        last -= stride
    return max(last + span - padded, 0)


def pairs(pads: Sequence[int]) -> Pads:
    """Return ONNX's pads, all befores and then all afters, as pairs.

    >>> pairs([1, 2, 3, 4])
    ((1, 3), (2, 4))
    """
    half = len(pads) // 2
    return tuple(zip(pads[:half], pads[half:]))


def same_pads(extents: Sequence[int], spans: Sequence[int], strides: Sequence[int]) -> Pads:
    """Return TensorFlow's padding `SAME`, which is ONNX's `SAME_UPPER`.

    >>> same_pads([5, 5], [3, 2], [2, 1])
    ((1, 1), (0, 1))
    """
    totals = [
        max((-(-extent // stride) - 1) * stride + span - extent, 0)
        for extent, span, stride in zip(extents, spans, strides)
    ]
    return tuple((total // 2, total - total // 2) for total in totals)


def explicit(pads: Pads) -> List[List[int]]:
    """Return paddings for all axes of a tensor with channels last."""
    return [[0, 0], *([before, after] for before, after in pads), [0, 0]]


def padded(tensor: Any, pads: Pads, fill: float = 0) -> Any:
    """Put elements around the spatial axes of a tensor with channels last."""
    if not any(pad for pair in pads for pad in pair):
        return tensor
    return tf.pad(tensor, explicit(pads), constant_values=tf.cast(fill, tensor.dtype))


def whole(y: Any, x: Any) -> Any:
    """Return what was computed from `x`.

    Raises Unsupported where that is an empty vector, as TensorFlow 2.5 silently gives for bfloat16.
    """
    if y.shape.rank != x.shape.rank:
        raise Unsupported(
            f"TensorFlow {tf.__version__} has no windows over {x.dtype.name}: it computes nothing."
        )
    return y


def strided(tensor: Any, strides: Sequence[int]) -> Any:
    """Take elements at these distances along the spatial axes of a tensor with channels last."""
    cuts = (slice(None), *(slice(None, None, stride) for stride in strides), slice(None))
    return tensor[cuts]
