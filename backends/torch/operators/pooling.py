"""Pooling over windows and over whole planes."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, Mapping, Sequence, Tuple, Union

import torch
import torch.nn.functional as F
from torch import Tensor

from xbackend.worker.geometry.sliding_window import window_of

from .operator import Operator
from .padding import fitting_pads, torch_pads
from .reduce import lowest

if TYPE_CHECKING:
    from xbackend.worker.geometry.sliding_window import Window
    from xbackend.worker.graph import Node

MAXIMA = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
MEANS = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
GLOBAL_MEANS = {1: F.adaptive_avg_pool1d, 2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}


def _max_pool(node: Node, value: Tensor) -> Union[Tensor, Tuple[Tensor, Tensor]]:
    """Pool with the padding inside of the operation, unless it lacks that padding."""
    spatial = value.shape[2:]
    ceil = _ceil_mode(node)
    window = window_of(node, spatial, node.attributes["kernel_shape"], ceil)
    indices = node.gives(1)
    pool = MAXIMA[len(spatial)]
    size, strides, dilations = window.kernel, window.strides, window.dilations
    if window.symmetric and _fits(window):
        result = pool(value, size, strides, window.begins, dilations, ceil, indices)
        planes, begins = spatial, [0] * len(spatial)
    else:
        padded = F.pad(value, fitting_pads(window), value=lowest(value.dtype))
        result = pool(padded, size, strides, 0, dilations, False, indices)
        planes, begins = padded.shape[2:], list(window.begins)
    if not indices:
        return result
    return result[0], _onnx_indices(result[1], planes, begins, spatial, node)


def _fits(window: Window) -> bool:
    """Tell whether PyTorch's pooling takes the padding: at most half of the window."""
    return all(2 * pad <= size for pad, size in zip(window.begins, window.kernel))


def _ceil_mode(node: Node) -> bool:
    return bool(node.attributes.get("ceil_mode")) and node.attributes["auto_pad"] == "NOTSET"


def _onnx_indices(
    indices: Tensor,
    planes: Sequence[int],
    begins: Sequence[int],
    spatial: Sequence[int],
    node: Node,
) -> Tensor:
    """Turn places in a padded plane into places in the whole unpadded tensor."""
    places = []
    rest = indices
    for extent, begin in zip(reversed(planes), reversed(begins)):
        places.append(rest % extent - begin)
        rest = torch.div(rest, extent, rounding_mode="floor")
    if not node.attributes.get("storage_order"):
        order = list(zip(reversed(places), spatial))
    else:
        order = list(zip(places, reversed(spatial)))
    flat = torch.zeros_like(indices)
    for place, extent in order:
        flat = flat * extent + place
    plane = torch.arange(prod(indices.shape[:2]), device=indices.device) * prod(spatial)
    return flat + plane.reshape(*indices.shape[:2], *[1] * len(spatial))


def _average_pool(node: Node, value: Tensor) -> Tensor:
    """Use the native mean where it has the form; else sum the windows and divide by counts."""
    spatial = value.shape[2:]
    include, ceil = bool(node.attributes["count_include_pad"]), _ceil_mode(node)
    window = window_of(node, spatial, node.attributes["kernel_shape"], ceil)
    pool = MEANS[len(spatial)]
    dilated = any(step != 1 for step in window.dilations)
    if window.symmetric and _fits(window) and not dilated:
        return pool(value, window.kernel, window.strides, window.begins, ceil, include)
    if include and not ceil and not dilated:
        padded = F.pad(value, torch_pads(window.begins, window.ends))
        return pool(padded, window.kernel, window.strides)
    sums = _window_sums(F.pad(value, fitting_pads(window)), window)
    counts = torch.tensor(window.counts(include), dtype=value.dtype).reshape(window.extents)
    return sums / counts.to(value.device)


def _window_sums(padded: Tensor, window: Window) -> Tensor:
    """Sum each window of a padded input."""
    axes = len(window.kernel)
    views = padded
    for axis, extent in enumerate(window.spans):
        views = views.unfold(2 + axis, extent, window.strides[axis])
    taps = (Ellipsis, *(slice(None, None, step) for step in window.dilations))
    return views[taps].sum(dim=tuple(range(-axes, 0)))


def _global_average_pool(node: Node, value: Tensor) -> Tensor:
    """Average each plane as `AdaptiveAvgPool2d(1)` does."""
    axes = value.dim() - 2
    if axes in GLOBAL_MEANS:
        return GLOBAL_MEANS[axes](value, 1)
    return value.mean(dim=tuple(range(2, value.dim())), keepdim=True)


def _global_max_pool(node: Node, value: Tensor) -> Tensor:
    return torch.amax(value, dim=tuple(range(2, value.dim())), keepdim=True)


def _lacks(node: Node, constants: Mapping[str, Any]) -> str:
    axes = len(node.attributes["kernel_shape"])
    return "" if axes in MAXIMA else f"over {axes} spatial axes"


TABLE = {
    "AveragePool": Operator(_average_pool, unsupported_reason=_lacks),
    "GlobalAveragePool": Operator(_global_average_pool),
    "GlobalMaxPool": Operator(_global_max_pool),
    "MaxPool": Operator(_max_pool, unsupported_reason=_lacks),
}
