"""Sliding windows of convolutions and pooling in TensorFlow's terms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, List, Sequence, Union

import tensorflow as tf

from xbackend.worker.contract import Unsupported
from xbackend.worker.geometry.sliding_window import same_pads

if TYPE_CHECKING:
    from xbackend.worker.geometry.sliding_window import Pads, Window


def padding(window: Window) -> Union[str, List[List[int]]]:
    """Return TensorFlow's `padding` argument: a word where one says the same."""
    if not any(pad for pair in window.pads for pad in pair):
        return "VALID"
    if window.pads == same_pads(window.spatial, window.spans, window.strides):
        return "SAME"
    return explicit(window.pads)


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
