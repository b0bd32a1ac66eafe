"""Resize: TensorFlow's own kernels where they sample the same places, else one axis at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Tuple

import numpy as np
import tensorflow as tf

from xbackend.worker.geometry.resize import CROP, NEAREST, axes_of
from xbackend.worker.geometry.shapes import along

from ..value import Value, integers, last, static

if TYPE_CHECKING:
    from xbackend.worker.geometry.resize import Axis
    from xbackend.worker.graph import Node

    Array = np.ndarray[Any, Any]

Tensor = Any

CENTRES = {
    "half_pixel": (False, True),
    "pytorch_half_pixel": (False, True),
    "align_corners": (True, False),
    "asymmetric": (False, False),
}
"""Coordinates that TensorFlow's bilinear kernel has: its `align_corners`, `half_pixel_centers`."""


def resize(
    node: Node,
    x: Value,
    region: Optional[Value] = None,
    scales: Optional[Value] = None,
    sizes: Optional[Value] = None,
) -> Value:
    """Sample at other places: the nearest element, or a weighted sum of neighbours."""
    axes = axes_of(
        node,
        x.shape,
        None if region is None else _numbers(region, "roi"),
        None if scales is None else _numbers(scales, "scales"),
        None if sizes is None else integers(sizes, "input 'sizes' of Resize"),
    )
    changed = {place: axis for place, axis in axes.items() if not axis.trivial}
    native = _native(node, x, changed)
    if native is not None:
        return native
    y = x
    for index, axis in changed.items():
        y = _resize_axis(node, y, index, axis)
    return _extrapolated(node, y, changed)


def _numbers(value: Value, name: str) -> List[float]:
    return [float(number) for number in static(value, f"input '{name}' of Resize")]


def _is_exact(axis: Axis) -> bool:
    """Tell whether the scale is the ratio of the extents, as TensorFlow's kernels take it."""
    return abs(axis.extent * axis.scale - axis.result) < 1e-6


def _positions(node: Node, axis: Axis) -> Array:
    """Return where in the input each element of the output lies.

    Three kinds of coordinates follow ONNX's text to the letter, and so round as it does: the other
    executors follow its reference implementation.
    """
    mode, x = node.attributes["coordinate_transformation_mode"], np.arange(float(axis.result))
    if mode == "tf_half_pixel_for_nn":
        return np.asarray((x + 0.5) / axis.scale)
    if mode == "pytorch_half_pixel" and axis.result == 1:
        return x
    if mode != CROP:
        return np.array(axis.origins(mode))
    start, end = axis.region
    if axis.result == 1:
        return np.asarray(x + 0.5 * (start + end) * (axis.extent - 1))
    return np.asarray((start + x * (end - start) / (axis.result - 1)) * (axis.extent - 1))


def _native(node: Node, x: Value, axes: Dict[int, Axis]) -> Optional[Value]:
    """Resize pictures by TensorFlow's kernel, None where it would give something else."""
    if x.rank != 4 or not axes or not set(axes) <= {2, 3}:
        return None
    size = [axes[i].result if i in axes else x.shape[i] for i in (2, 3)]
    if node.attributes["mode"] == "nearest":
        if not all(_repeats(node, axis) for axis in axes.values()):
            return None
        y = tf.raw_ops.ResizeNearestNeighbor(images=last(x), size=size)
        return Value(y, channels_last=True)
    centres = CENTRES.get(node.attributes["coordinate_transformation_mode"])
    plain = node.attributes["mode"] == "linear" and not node.attributes.get("antialias")
    outside = node.attributes.get("exclude_outside")
    exact = all(_is_exact(axis) and axis.result > 1 for axis in axes.values())
    if centres is None or not plain or outside or not exact or x.tensor.dtype != tf.float32:
        return None
    y = tf.raw_ops.ResizeBilinear(
        images=last(x), size=size, align_corners=centres[0], half_pixel_centers=centres[1]
    )
    return Value(y, channels_last=True)


def _repeats(node: Node, axis: Axis) -> bool:
    """Tell whether every element is repeated equally often."""
    times, rest = divmod(axis.result, axis.extent)
    return not rest and bool((_nearest(node, axis) == np.arange(axis.result) // times).all())


def _nearest(node: Node, axis: Axis) -> Array:
    nearest = NEAREST[node.attributes["nearest_mode"]]
    places = [axis.clamp(nearest(position)) for position in _positions(node, axis)]
    return np.array(places, np.int32)


def _resize_axis(node: Node, x: Value, index: int, axis: Axis) -> Value:
    physical = x.physical(index)
    if node.attributes["mode"] == "nearest":
        return x.like(tf.gather(x.tensor, _nearest(node, axis), axis=physical))
    places, weights = _taps(node, axis)
    shape = along(physical, x.rank)
    parts: List[Tensor] = [
        tf.gather(x.tensor, places[:, i], axis=physical)
        * tf.reshape(tf.constant(weights[:, i], x.tensor.dtype), shape)
        for i in range(places.shape[1])
    ]
    return x.like(tf.add_n(parts))


def _taps(node: Node, axis: Axis) -> Tuple[Array, Array]:
    """Return for each element of the output its neighbours in the input, and their weights."""
    positions = _positions(node, axis)
    kernel, support = _kernel(node)
    shrink = min(axis.scale, 1.0) if node.attributes.get("antialias") else 1.0
    reach = int(np.ceil(support / shrink))
    places = np.floor(positions)[:, None] + np.arange(1 - reach, reach + 1)
    weights = kernel((places - positions[:, None]) * shrink)
    if node.attributes.get("exclude_outside"):
        weights = np.where((places < 0) | (places >= axis.extent), 0, weights)
    weights = weights / weights.sum(axis=1, keepdims=True)
    return np.clip(places, 0, axis.extent - 1).astype(np.int32), weights


def _kernel(node: Node) -> Tuple[Callable[[Array], Array], int]:
    """Return the weight of a neighbour by its distance, and where it becomes 0."""
    if node.attributes["mode"] == "linear":
        return lambda t: np.maximum(1 - np.abs(t), 0), 1
    a = node.attributes["cubic_coeff_a"]

    def cubic(t: Array) -> Array:
        d = np.abs(t)
        near = ((a + 2) * d - (a + 3)) * d * d + 1
        far = (((d - 5) * d + 8) * d - 4) * a
        return np.where(d <= 1, near, np.where(d < 2, far, 0))

    return cubic, 2


def _extrapolated(node: Node, y: Value, axes: Dict[int, Axis]) -> Value:
    """Put `extrapolation_value` wherever `tf_crop_and_resize` looks outside of the input."""
    if not any(axis.cropped for axis in axes.values()):
        return y
    outside = np.zeros([1] * y.rank, bool)
    for index, axis in axes.items():
        beyond = np.array([axis.is_outside(position) for position in _positions(node, axis)])
        outside = outside | beyond.reshape(along(y.physical(index), y.rank))
    fill = tf.cast(node.attributes["extrapolation_value"], y.tensor.dtype)
    return y.like(tf.where(outside, fill, y.tensor))


OPERATORS: Dict[str, Callable[..., Value]] = {"Resize": resize}
