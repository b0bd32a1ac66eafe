"""Resize: PyTorch's own interpolation where it is the same function, else weighted picks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, List, Mapping, Optional, Sequence, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

from xbackend.worker.geometry.resize import MODES, axes_of, keeps_ratio, taps
from xbackend.worker.geometry.shapes import along

from .operator import Operator

if TYPE_CHECKING:
    from xbackend.worker.geometry.resize import Axis
    from xbackend.worker.graph import Node

LINEAR = {3: "linear", 4: "bilinear", 5: "trilinear"}
NATIVE_COORDINATES = ("half_pixel", "pytorch_half_pixel", "align_corners")


def _resize(
    node: Node,
    value: Tensor,
    roi: Optional[List[float]] = None,
    scales: Optional[List[float]] = None,
    sizes: Optional[List[int]] = None,
) -> Tensor:
    """Resize; all axes that keep their extent are left alone."""
    axes = axes_of(node, value.shape, roi, scales, sizes)
    native = _native(node, value, axes, bool(scales))
    if native is not None:
        return native
    result = value
    for place, axis in axes.items():
        if not axis.trivial:
            result = _along(node, result, place, axis)
    return result


def _native(
    node: Node, value: Tensor, axes: Mapping[int, Axis], by_scale: bool
) -> Optional[Tensor]:
    """Interpolate as `F.interpolate` does, or return None where that is another function."""
    mode = _native_mode(node, value.dim())
    spatial = [axes.get(place) for place in range(2, value.dim())]
    if mode is None or any(axis is None for axis in spatial):
        return None
    if any(not axes[place].trivial for place in (0, 1) if place in axes):
        return None
    known = [axis for axis in spatial if axis is not None]
    corners = node.attributes["coordinate_transformation_mode"] == "align_corners"
    exact = all(math.isclose(axis.result, axis.extent * axis.scale) for axis in known)
    if min(axis.result for axis in known) < 2:
        return None
    if by_scale and not corners:
        factors = [axis.scale for axis in known]
        return F.interpolate(value, scale_factor=factors, mode=mode, align_corners=False)
    if not exact and (corners or keeps_ratio(node)):
        return None
    size = [axis.result for axis in known]
    return F.interpolate(value, size=size, mode=mode, align_corners=corners)


def _native_mode(node: Node, rank: int) -> Optional[str]:
    """Return PyTorch's name of the same interpolation, None where it has none."""
    attributes = node.attributes
    if attributes["coordinate_transformation_mode"] not in NATIVE_COORDINATES:
        return None
    if attributes.get("antialias") or attributes.get("exclude_outside"):
        return None
    if attributes["mode"] == "linear":
        return LINEAR.get(rank)
    cubic = attributes["mode"] == "cubic" and attributes["cubic_coeff_a"] == -0.75
    return "bicubic" if cubic and rank == 4 else None


def _along(node: Node, value: Tensor, place: int, axis: Axis) -> Tensor:
    """Resize one axis: a weighted sum of picked elements for each place of the result."""
    origins = axis.origins(node.attributes["coordinate_transformation_mode"])
    indices, weights = _rows(node, axis, origins)
    shape, device = along(place, value.dim()), value.device
    index = torch.tensor(indices, dtype=torch.int64, device=device)
    if node.attributes["mode"] == "nearest":
        result = torch.index_select(value, place, index[0])
    else:
        factors = torch.tensor(weights, dtype=value.dtype, device=device)
        result = torch.index_select(value, place, index[0]) * factors[0].reshape(shape)
        for pick, factor in zip(index[1:], factors[1:]):
            result = result + torch.index_select(value, place, pick) * factor.reshape(shape)
    outside = [axis.is_outside(origin) for origin in origins]
    if any(outside):
        mask = torch.tensor(outside, device=device).reshape(shape)
        result = torch.where(mask, node.attributes["extrapolation_value"], result)
    return result


def _rows(
    node: Node, axis: Axis, origins: Sequence[float]
) -> Tuple[List[List[int]], List[List[float]]]:
    """Return places and weights, one row for each tap; a row has a column for each origin."""
    columns = [taps(node.attributes, axis, origin, _places, sum) for origin in origins]
    width = max(len(column) for column in columns)
    padded = [[*column, *[(column[0][0], 0.0)] * (width - len(column))] for column in columns]
    rows = list(zip(*padded))
    indices = [[axis.clamp(place) for place, _ in row] for row in rows]
    return indices, [[weight for _, weight in row] for row in rows]


def _places(origin: float, reach: float) -> Sequence[int]:
    """Return as many places before as after, and so on the near side perhaps one of weight 0."""
    first = math.ceil(origin) - 1 + math.floor(-reach) + 1
    return range(first, first + 2 * math.ceil(reach))


def _lacks(node: Node, constants: Mapping[str, Any]) -> str:
    mode = node.attributes["mode"]
    return "" if mode in MODES else f"with mode='{mode}'"


TABLE = {"Resize": Operator(_resize, python=(1, 2, 3), unsupported_reason=_lacks)}
