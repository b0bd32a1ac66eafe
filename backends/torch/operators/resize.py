"""Resize: PyTorch's own interpolation where it is the same function, else weighted picks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .coordinate import Axis, picks
from .operator import Operator

if TYPE_CHECKING:
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
    named = node.attributes.get("axes") or list(range(value.dim()))
    places = [axis % value.dim() for axis in named]
    axes = _axes(node, value, places, roi or None, scales or None, sizes or None)
    native = _native(node, value, axes, bool(scales))
    if native is not None:
        return native
    result = value
    for place, axis in axes.items():
        if not axis.trivial:
            result = _along(node, result, place, axis)
    return result


def _axes(
    node: Node,
    value: Tensor,
    places: List[int],
    roi: Optional[List[float]],
    scales: Optional[List[float]],
    sizes: Optional[List[int]],
) -> Dict[int, Axis]:
    """Work out extent, scale and region of each axis."""
    extents = [value.shape[place] for place in places]
    if scales is None:
        scales, sizes = _from_sizes(node, extents, sizes or [])
    else:
        sizes = [math.floor(n * scale) for n, scale in zip(extents, scales)]
    region = roi or [0.0] * len(places) + [1.0] * len(places)
    cropped = node.attributes["coordinate_transformation_mode"] == "tf_crop_and_resize"
    return {
        place: Axis(extents[i], sizes[i], scales[i], region[i], region[i + len(places)], cropped)
        for i, place in enumerate(places)
    }


def _from_sizes(node: Node, extents: List[int], sizes: List[int]) -> Tuple[List[float], List[int]]:
    """Return scales and sizes, all by the same factor where the ratio is to be kept."""
    scales = [size / n for size, n in zip(sizes, extents)]
    policy = node.attributes.get("keep_aspect_ratio_policy", "stretch")
    if policy == "stretch":
        return scales, sizes
    factor = min(scales) if policy == "not_larger" else max(scales)
    rounded = [math.floor(factor * n + 0.5) for n in extents]
    return [factor] * len(extents), rounded


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
    if not exact and (corners or _keeps_ratio(node)):
        return None
    size = [axis.result for axis in known]
    return F.interpolate(value, size=size, mode=mode, align_corners=corners)


def _keeps_ratio(node: Node) -> bool:
    return bool(node.attributes.get("keep_aspect_ratio_policy", "stretch") != "stretch")


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
    indices, weights, outside = picks(node.attributes, axis)
    device = value.device
    index = torch.tensor(indices, dtype=torch.int64, device=device)
    if node.attributes["mode"] == "nearest":
        result = torch.index_select(value, place, index[0])
    else:
        shape = [-1 if i == place else 1 for i in range(value.dim())]
        factors = torch.tensor(weights, dtype=value.dtype, device=device)
        result = torch.index_select(value, place, index[0]) * factors[0].reshape(shape)
        for pick, factor in zip(index[1:], factors[1:]):
            result = result + torch.index_select(value, place, pick) * factor.reshape(shape)
    if any(outside):
        shape = [-1 if i == place else 1 for i in range(value.dim())]
        mask = torch.tensor(outside, device=device).reshape(shape)
        result = torch.where(mask, node.attributes["extrapolation_value"], result)
    return result


def _lacks(node: Node, constants: Mapping[str, Any]) -> str:
    mode = node.attributes["mode"]
    return "" if mode in ("nearest", "linear", "cubic") else f"with mode='{mode}'"


TABLE = {"Resize": Operator(_resize, python=(1, 2, 3), unsupported_reason=_lacks)}
