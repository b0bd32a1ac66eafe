"""Resize: where in the input each element of the output lies, and what weights its neighbours."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

if TYPE_CHECKING:
    from xbackend.worker.graph import Node

MODES = ("nearest", "linear", "cubic")
"""What ONNX has."""

CROP = "tf_crop_and_resize"
"""The coordinates of which a region is cut out."""

Taps = List[Tuple[int, float]]
"""Places in the input, which may lie outside of it, and their weights."""


@dataclass(frozen=True)
class Axis:
    """How one axis is resized."""

    extent: int
    """In the input."""
    result: int
    """In the output."""
    scale: float
    """Output over input; not always the ratio of the extents, which are whole."""
    region: Tuple[float, float]
    """What is cut out, as fractions of the input."""
    cropped: bool
    """Whether the region counts."""

    @property
    def trivial(self) -> bool:
        """Whether the axis stays as it is."""
        whole = not self.cropped or self.region == (0.0, 1.0)
        return self.extent == self.result and self.scale == 1 and whole

    def origins(self, mode: str) -> List[float]:
        """Return where in the input each element of the output lies, by a coordinate mode."""
        return [_origin(mode, self, index) for index in range(self.result)]

    def is_outside(self, origin: float) -> bool:
        """Tell whether an element takes `extrapolation_value`."""
        return self.cropped and not 0 <= origin <= self.extent - 1

    def clamp(self, place: int) -> int:
        """Return the place within the input that is nearest."""
        return min(max(place, 0), self.extent - 1)


def axes_of(
    node: Node,
    shape: Sequence[int],
    region: Optional[Sequence[float]],
    scales: Optional[Sequence[float]],
    sizes: Optional[Sequence[int]],
) -> Dict[int, Axis]:
    """Read how each axis that a node names is resized, by its number from 0.

    Of scales and sizes one is given; what is left out is None or empty.
    """
    places = [axis % len(shape) for axis in node.attributes.get("axes") or range(len(shape))]
    extents = [shape[place] for place in places]
    if scales:
        results = [math.floor(n * scale) for n, scale in zip(extents, scales)]
    elif sizes:
        scales, results = _from_sizes(node, extents, sizes)
    else:
        raise ValueError("Resize has neither scales nor sizes.")
    parts = list(region or ()) or [0.0] * len(places) + [1.0] * len(places)
    regions = zip(parts[: len(places)], parts[len(places) :])
    cropped = node.attributes["coordinate_transformation_mode"] == CROP
    rows = zip(places, extents, results, scales, regions)
    return {place: Axis(n, int(m), scale, part, cropped) for place, n, m, scale, part in rows}


def keeps_ratio(node: Node) -> bool:
    """Tell whether all axes are resized by the same factor."""
    return bool(node.attributes.get("keep_aspect_ratio_policy", "stretch") != "stretch")


def _from_sizes(
    node: Node, extents: Sequence[int], sizes: Sequence[int]
) -> Tuple[List[float], List[int]]:
    scales = [size / n for size, n in zip(sizes, extents)]
    if not keeps_ratio(node):
        return scales, list(sizes)
    smaller = node.attributes["keep_aspect_ratio_policy"] == "not_larger"
    factor = min(scales) if smaller else max(scales)
    return [factor] * len(extents), [math.floor(factor * n + 0.5) for n in extents]


def _origin(mode: str, axis: Axis, index: int) -> float:
    """Return where in the input an element of the output lies."""
    width = axis.scale * axis.extent
    half_pixel = (index + 0.5) / axis.scale - 0.5
    if mode == "align_corners":
        return 0.0 if width == 1 else index * (axis.extent - 1) / (width - 1)
    if mode == "asymmetric":
        return index / axis.scale
    if mode == CROP:
        begin, end = axis.region
        reach = (end - begin) * (axis.extent - 1)
        offset = reach / 2 if width == 1 else index * reach / (width - 1)
        return begin * (axis.extent - 1) + offset
    if mode == "half_pixel_symmetric":
        return axis.extent / 2 * (1 - axis.result / width) + half_pixel
    if mode == "pytorch_half_pixel" and axis.result == 1:
        return -0.5
    return half_pixel + (0.5 if mode == "tf_half_pixel_for_nn" else 0.0)


def taps(
    attributes: Mapping[str, Any],
    axis: Axis,
    origin: float,
    places: Callable[[float, float], Sequence[int]],
    total: Callable[[List[float]], float] = math.fsum,
) -> Taps:
    """Return the neighbours of a place, in their order, and their weights in float64.

    `places` takes the place and how far a kernel reaches from it, and returns all within that;
    more of them have the weight 0. `total` sums the weights where they are to be made 1 together.
    """
    if attributes["mode"] == "nearest":
        return [(NEAREST[attributes["nearest_mode"]](origin), 1.0)]
    narrow = min(axis.scale, 1.0) if attributes.get("antialias") else 1.0
    linear = attributes["mode"] == "linear"
    kernel, reach = (_linear, 1) if linear else (_cubic, 2)
    a = float(attributes.get("cubic_coeff_a", -0.75))
    found = places(origin, reach / narrow)
    weights = [kernel(abs(place - origin) * narrow, a) for place in found]
    exclude = bool(attributes.get("exclude_outside"))
    if exclude:
        inside = (0 <= place < axis.extent for place in found)
        weights = [weight if kept else 0.0 for weight, kept in zip(weights, inside)]
    if narrow < 1 or exclude:
        whole = total(weights)
        weights = [weight / whole for weight in weights]
    return list(zip(found, weights))


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
