"""Which elements of an input axis make each element of a resized one, and with what weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Tuple

Picks = Tuple[List[List[int]], List[List[float]], List[bool]]


@dataclass(frozen=True)
class Axis:
    """How one axis is resized."""

    extent: int
    result: int
    """The extent afterwards."""
    scale: float
    start: float
    """Begin of the region that is cut out, 0 to 1."""
    end: float
    cropped: bool
    """Whether the region counts (`tf_crop_and_resize`)."""

    @property
    def trivial(self) -> bool:
        """Whether the axis stays as it is."""
        whole = not self.cropped or (self.start, self.end) == (0.0, 1.0)
        return self.extent == self.result and self.scale == 1 and whole


def picks(attributes: Mapping[str, Any], axis: Axis) -> Picks:
    """Return places and weights, one row for each tap, and which results lie outside.

    Rows have one column for each element of the result. Computed in float64.
    """
    origins = [
        _origin(attributes["coordinate_transformation_mode"], axis, x) for x in range(axis.result)
    ]
    outside = [axis.cropped and not 0 <= origin <= axis.extent - 1 for origin in origins]
    columns = [_taps(attributes, axis, origin) for origin in origins]
    width = max(len(column) for column in columns)
    indices, weights = [], []
    for tap in range(width):
        row = [column[tap] if tap < len(column) else (column[0][0], 0.0) for column in columns]
        indices.append([min(max(place, 0), axis.extent - 1) for place, _ in row])
        weights.append([weight for _, weight in row])
    return indices, weights, outside


def _origin(mode: str, axis: Axis, x: int) -> float:
    """Return where in the input an element of the result lies."""
    width = axis.scale * axis.extent
    half_pixel = (x + 0.5) / axis.scale - 0.5
    if mode == "align_corners":
        return 0.0 if width == 1 else x * (axis.extent - 1) / (width - 1)
    if mode == "asymmetric":
        return x / axis.scale
    if mode == "tf_crop_and_resize":
        span = (axis.end - axis.start) * (axis.extent - 1)
        offset = span / 2 if width == 1 else x * span / (width - 1)
        return offset + axis.start * (axis.extent - 1)
    if mode == "pytorch_half_pixel":
        return half_pixel if axis.result > 1 else -0.5
    if mode == "tf_half_pixel_for_nn":
        return half_pixel + 0.5
    if mode == "half_pixel_symmetric":
        return axis.extent / 2 * (1 - axis.result / width) + half_pixel
    return half_pixel


def _taps(attributes: Mapping[str, Any], axis: Axis, origin: float) -> List[Tuple[int, float]]:
    """Return places and weights for one element of the result."""
    if attributes["mode"] == "nearest":
        return [(NEAREST[attributes["nearest_mode"]](origin), 1.0)]
    stretch = min(axis.scale, 1.0) if attributes.get("antialias") else 1.0
    a = attributes["cubic_coeff_a"]
    reach = 1 if attributes["mode"] == "linear" else 2
    first = math.ceil(origin) - 1 + math.floor(-reach / stretch) + 1
    places = range(first, first + 2 * math.ceil(reach / stretch))
    kernel = _linear if reach == 1 else _cubic
    weights = [kernel(abs(place - origin) * stretch, a) for place in places]
    if attributes.get("exclude_outside"):
        inside = (0 <= place < axis.extent for place in places)
        weights = [weight if kept else 0.0 for weight, kept in zip(weights, inside)]
    total = sum(weights) if stretch < 1 or attributes.get("exclude_outside") else 1.0
    return [(place, weight / total) for place, weight in zip(places, weights)]


def _linear(distance: float, a: float) -> float:
    return max(1 - distance, 0.0)


def _cubic(distance: float, a: float) -> float:
    if distance <= 1:
        return ((a + 2) * distance - (a + 3)) * distance * distance + 1
    if distance < 2:
        return ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    return 0.0


def _round_prefer_floor(x: float) -> int:
    return math.ceil(x - 0.5)


def _round_prefer_ceil(x: float) -> int:
    return math.floor(x + 0.5)


NEAREST: Dict[str, Any] = {
    "floor": math.floor,
    "ceil": math.ceil,
    "round_prefer_floor": _round_prefer_floor,
    "round_prefer_ceil": _round_prefer_ceil,
}
