"""Resize: TensorFlow's own kernels where they sample the same places, else one axis at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Tuple

import numpy as np
import tensorflow as tf

from ..value import Value, integers, last, static

if TYPE_CHECKING:
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


@dataclass(frozen=True)
class Axis:
    """How one axis is resized."""

    before: int
    """Its extent in the input."""
    after: int
    """Its extent in the output."""
    scale: float
    """Output over input; not always the ratio of the extents, which are whole."""
    region: Tuple[float, float]
    """Where `tf_crop_and_resize` cuts, as fractions of the input."""

    @property
    def exact(self) -> bool:
        """Whether the scale is the ratio of the extents, as TensorFlow's kernels take it."""
        return abs(self.before * self.scale - self.after) < 1e-6

    def positions(self, mode: str) -> Array:
        """Return where in the input each element of the output lies."""
        positions: Array = POSITIONS[mode](self, np.arange(self.after, dtype=np.float64))
        return positions


def _half_pixel(axis: Axis, x: Array) -> Array:
    return (x + 0.5) / axis.scale - 0.5


def _pytorch_half_pixel(axis: Axis, x: Array) -> Array:
    return _half_pixel(axis, x) if axis.after > 1 else x * 0


def _half_pixel_symmetric(axis: Axis, x: Array) -> Array:
    shift = axis.before / 2 * (1 - axis.after / (axis.before * axis.scale))
    return shift + _half_pixel(axis, x)


def _align_corners(axis: Axis, x: Array) -> Array:
    return x if axis.after == 1 else x * (axis.before - 1) / (axis.before * axis.scale - 1)


def _crop(axis: Axis, x: Array) -> Array:
    start, end = axis.region
    if axis.after == 1:
        return x + 0.5 * (start + end) * (axis.before - 1)
    return (start + x * (end - start) / (axis.after - 1)) * (axis.before - 1)


POSITIONS: Dict[str, Callable[[Axis, Any], Any]] = {
    "align_corners": _align_corners,
    "asymmetric": lambda axis, x: x / axis.scale,
    "half_pixel": _half_pixel,
    "half_pixel_symmetric": _half_pixel_symmetric,
    "pytorch_half_pixel": _pytorch_half_pixel,
    "tf_crop_and_resize": _crop,
    "tf_half_pixel_for_nn": lambda axis, x: (x + 0.5) / axis.scale,
}

ROUNDING: Dict[str, Callable[[Any], Any]] = {
    "ceil": np.ceil,
    "floor": np.floor,
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
}


def resize(
    node: Node,
    x: Value,
    region: Optional[Value] = None,
    scales: Optional[Value] = None,
    sizes: Optional[Value] = None,
) -> Value:
    """Sample at other places: the nearest element, or a weighted sum of neighbours."""
    axes = _axes(node, x, region, scales, sizes)
    changed = {
        index: axis
        for index, axis in axes.items()
        if axis.before != axis.after or axis.scale != 1 or axis.region != (0.0, 1.0)
    }
    native = _native(node, x, changed)
    if native is not None:
        return native
    y = x
    for index, axis in changed.items():
        y = _resize_axis(node, y, index, axis)
    return _extrapolated(node, y, changed)


def _axes(
    node: Node,
    x: Value,
    region: Optional[Value],
    scales: Optional[Value],
    sizes: Optional[Value],
) -> Dict[int, Axis]:
    indices = [a % x.rank for a in node.attributes.get("axes") or range(x.rank)]
    extents = [x.shape[i] for i in indices]
    if sizes is not None and sizes.tensor.shape[0]:
        after = integers(sizes, "input 'sizes' of Resize")
        factors = [m / n for m, n in zip(after, extents)]
        policy = node.attributes.get("keep_aspect_ratio_policy", "stretch")
        if policy != "stretch":
            factor = min(factors) if policy == "not_larger" else max(factors)
            after = [int(np.floor(n * factor + 0.5)) for n in extents]
            factors = [factor] * len(extents)
    else:
        factors = [float(f) for f in static(_given(scales), "input 'scales' of Resize")]
        after = [int(np.floor(n * factor)) for n, factor in zip(extents, factors)]
    parts = [0.0] * len(indices) + [1.0] * len(indices)
    if (
        region is not None
        and node.attributes["coordinate_transformation_mode"] == "tf_crop_and_resize"
    ):
        parts = [float(part) for part in static(region, "input 'roi' of Resize")]
    regions = zip(parts[: len(indices)], parts[len(indices) :])
    rows = zip(indices, extents, after, factors, regions)
    return {index: Axis(n, m, factor, part) for index, n, m, factor, part in rows}


def _given(scales: Optional[Value]) -> Value:
    if scales is None:
        raise ValueError("Resize has neither scales nor sizes.")
    return scales


def _native(node: Node, x: Value, axes: Dict[int, Axis]) -> Optional[Value]:
    """Resize pictures by TensorFlow's kernel, None where it would give something else."""
    if x.rank != 4 or not axes or not set(axes) <= {2, 3}:
        return None
    size = [axes[i].after if i in axes else x.shape[i] for i in (2, 3)]
    if node.attributes["mode"] == "nearest":
        if not all(_repeats(node, axis) for axis in axes.values()):
            return None
        y = tf.raw_ops.ResizeNearestNeighbor(images=last(x), size=size)
        return Value(y, channels_last=True)
    centres = CENTRES.get(node.attributes["coordinate_transformation_mode"])
    plain = node.attributes["mode"] == "linear" and not node.attributes.get("antialias")
    outside = node.attributes.get("exclude_outside")
    exact = all(axis.exact and axis.after > 1 for axis in axes.values())
    if centres is None or not plain or outside or not exact or x.tensor.dtype != tf.float32:
        return None
    y = tf.raw_ops.ResizeBilinear(
        images=last(x), size=size, align_corners=centres[0], half_pixel_centers=centres[1]
    )
    return Value(y, channels_last=True)


def _repeats(node: Node, axis: Axis) -> bool:
    """Tell whether every element is repeated equally often."""
    times, rest = divmod(axis.after, axis.before)
    return not rest and bool((_nearest(node, axis) == np.arange(axis.after) // times).all())


def _nearest(node: Node, axis: Axis) -> Array:
    positions = axis.positions(node.attributes["coordinate_transformation_mode"])
    places = ROUNDING[node.attributes["nearest_mode"]](positions)
    clipped: Array = np.clip(places, 0, axis.before - 1).astype(np.int32)
    return clipped


def _resize_axis(node: Node, x: Value, index: int, axis: Axis) -> Value:
    physical = x.physical(index)
    if node.attributes["mode"] == "nearest":
        return x.like(tf.gather(x.tensor, _nearest(node, axis), axis=physical))
    places, weights = _taps(node, axis)
    shape = [-1 if i == physical else 1 for i in range(x.rank)]
    parts: List[Tensor] = [
        tf.gather(x.tensor, places[:, i], axis=physical)
        * tf.reshape(tf.constant(weights[:, i], x.tensor.dtype), shape)
        for i in range(places.shape[1])
    ]
    return x.like(tf.add_n(parts))


def _taps(node: Node, axis: Axis) -> Tuple[Array, Array]:
    """Return for each element of the output its neighbours in the input, and their weights."""
    positions = axis.positions(node.attributes["coordinate_transformation_mode"])
    kernel, support = _kernel(node)
    shrink = min(axis.scale, 1.0) if node.attributes.get("antialias") else 1.0
    reach = int(np.ceil(support / shrink))
    places = np.floor(positions)[:, None] + np.arange(1 - reach, reach + 1)
    weights = kernel((places - positions[:, None]) * shrink)
    if node.attributes.get("exclude_outside"):
        weights = np.where((places < 0) | (places >= axis.before), 0, weights)
    weights = weights / weights.sum(axis=1, keepdims=True)
    return np.clip(places, 0, axis.before - 1).astype(np.int32), weights


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
    mode = node.attributes["coordinate_transformation_mode"]
    if mode != "tf_crop_and_resize":
        return y
    outside = np.zeros([1] * y.rank, bool)
    for index, axis in axes.items():
        positions = axis.positions(mode)
        beyond = (positions < 0) | (positions > axis.before - 1)
        shape = [-1 if i == y.physical(index) else 1 for i in range(y.rank)]
        outside = outside | beyond.reshape(shape)
    fill = tf.cast(node.attributes["extrapolation_value"], y.tensor.dtype)
    return y.like(tf.where(outside, fill, y.tensor))


OPERATORS: Dict[str, Callable[..., Value]] = {"Resize": resize}
