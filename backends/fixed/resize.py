"""Resize: picked elements times weights, added from the lowest place to the highest.

Places and weights are computed in float64 and weights rounded to the format; axes follow each
other in their order, and every product and sum is rounded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .operands import given, need

if TYPE_CHECKING:
    from typing import Callable, Dict, List, Mapping, Optional, Sequence, Tuple

    from xbackend.worker.graph import Node

    Array = np.ndarray[Any, Any]
    Inputs = List[Optional[Array]]


@dataclass(frozen=True)
class Stretch:
    """How one axis is resized."""

    place: int
    """Which axis."""
    extent: int
    result: int
    scale: float
    region: Tuple[float, float]
    """What is cut out, from 0 to 1; counts for `tf_crop_and_resize` alone."""


def resize(node: Node, inputs: Inputs) -> List[Array]:
    """Resize by scales or to sizes."""
    x = need(inputs, 0)
    for stretch in _stretches(node, x, inputs):
        cropped = node.attributes["coordinate_transformation_mode"] == "tf_crop_and_resize"
        if cropped or stretch.extent != stretch.result or stretch.scale != 1:
            x = _along(node.attributes, x, stretch)
    return [x]


def _stretches(node: Node, x: Array, inputs: Inputs) -> List[Stretch]:
    roi, scales, sizes = (_listed(given(inputs, index)) for index in (1, 2, 3))
    named = node.attributes.get("axes") or range(x.ndim)
    places = [int(axis) % x.ndim for axis in named]
    extents = [x.shape[place] for place in places]
    if scales:
        sizes = [math.floor(n * scale) for n, scale in zip(extents, scales)]
    else:
        scales, sizes = _from_sizes(node, extents, sizes)
    regions = roi or [0.0] * len(places) + [1.0] * len(places)
    pairs = zip(regions[: len(places)], regions[len(places) :])
    rows = zip(places, extents, sizes, scales, pairs)
    return [Stretch(place, n, int(size), scale, pair) for place, n, size, scale, pair in rows]


def _listed(array: Optional[Array]) -> List[Any]:
    return [] if array is None else array.ravel().tolist()


def _from_sizes(
    node: Node, extents: Sequence[int], sizes: Sequence[int]
) -> Tuple[List[float], List[int]]:
    """Return scales and sizes, one scale for all axes where the ratio is to be kept."""
    scales = [size / n for size, n in zip(sizes, extents)]
    policy = node.attributes.get("keep_aspect_ratio_policy", "stretch")
    if policy == "stretch":
        return scales, list(sizes)
    common = min(scales) if policy == "not_larger" else max(scales)
    return [common] * len(extents), [math.floor(common * n + 0.5) for n in extents]


def _along(attributes: Mapping[str, Any], x: Array, stretch: Stretch) -> Array:
    """Resize one axis."""
    origins = [_origin(attributes, stretch, index) for index in range(stretch.result)]
    columns = [_weights(attributes, stretch, origin) for origin in origins]
    shape = [-1 if axis == stretch.place else 1 for axis in range(x.ndim)]
    result: Any = None
    for step in range(max(len(column) for column in columns)):
        taps = [c[step] if step < len(c) else (c[-1][0], 0.0) for c in columns]
        index = [min(max(place, 0), stretch.extent - 1) for place, _ in taps]
        part = np.take(x, index, axis=stretch.place)
        if attributes["mode"] != "nearest":
            part = part * np.array([w for _, w in taps]).astype(x.dtype).reshape(shape)
        result = part if result is None else result + part
    if attributes["coordinate_transformation_mode"] == "tf_crop_and_resize":
        outside = np.array([not 0 <= origin <= stretch.extent - 1 for origin in origins])
        value = np.array(attributes.get("extrapolation_value", 0.0)).astype(x.dtype)
        result = np.where(outside.reshape(shape), value, result)
    return np.asarray(result)


def _origin(attributes: Mapping[str, Any], stretch: Stretch, index: int) -> float:
    """Return where in the input an element of the result lies."""
    mode, n, scale = attributes["coordinate_transformation_mode"], stretch.extent, stretch.scale
    width = scale * n
    centre = (index + 0.5) / scale - 0.5
    if mode == "align_corners":
        return 0.0 if width == 1 else index * (n - 1) / (width - 1)
    if mode == "asymmetric":
        return index / scale
    if mode == "tf_crop_and_resize":
        begin, end = stretch.region
        reach = (end - begin) * (n - 1)
        return begin * (n - 1) + (reach / 2 if width == 1 else index * reach / (width - 1))
    if mode == "half_pixel_symmetric":
        return n / 2 * (1 - stretch.result / width) + centre
    if mode == "pytorch_half_pixel" and stretch.result == 1:
        return -0.5
    return centre + (0.5 if mode == "tf_half_pixel_for_nn" else 0.0)


def _weights(
    attributes: Mapping[str, Any], stretch: Stretch, origin: float
) -> List[Tuple[int, float]]:
    """Return places and weights for one element of the result, in the order of the places."""
    if attributes["mode"] == "nearest":
        return [(NEAREST[attributes["nearest_mode"]](origin), 1.0)]
    narrow = min(stretch.scale, 1.0) if attributes.get("antialias", 0) else 1.0
    reach = (1 if attributes["mode"] == "linear" else 2) / narrow
    places = range(math.floor(origin - reach) + 1, math.ceil(origin + reach) + 1)
    a = float(attributes.get("cubic_coeff_a", -0.75))
    kernel = _linear if attributes["mode"] == "linear" else _cubic
    taps = [(place, kernel(abs(place - origin) * narrow, a)) for place in places]
    exclude = bool(attributes.get("exclude_outside", 0))
    if exclude:
        taps = [(p, w if 0 <= p < stretch.extent else 0.0) for p, w in taps]
    if narrow == 1 and not exclude:
        return taps
    whole = math.fsum(weight for _, weight in taps)
    return [(place, weight / whole) for place, weight in taps]


def _linear(distance: float, a: float) -> float:
    return max(1.0 - distance, 0.0)


def _cubic(distance: float, a: float) -> float:
    if distance <= 1:
        return ((a + 2) * distance - (a + 3)) * distance * distance + 1
    if distance < 2:
        return ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return 0.0


NEAREST: Dict[str, Callable[[float], int]] = {
    "floor": math.floor,
    "ceil": math.ceil,
    "round_prefer_floor": lambda x: math.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: math.floor(x + 0.5),
}
"""How a place between two elements becomes one of them."""

OPERATORS: Dict[Tuple[str, str], Callable[[Any, Any], Any]] = {("", "Resize"): resize}
"""The operator of each domain and name."""
