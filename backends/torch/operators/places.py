"""Operators that pick elements by tuples of places, put them there, or tell where they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, List, Optional

import torch
import torch.nn.functional as F
from torch import Tensor

from xbackend.worker.geometry.boxes import chosen_boxes

from .operator import Operator

if TYPE_CHECKING:
    from xbackend.worker.graph import Node

REDUCTIONS = {"add": "sum", "max": "amax", "min": "amin", "mul": "prod"}
"""ONNX's names of what an update does to the element that is there, and PyTorch's."""


def _from_start(indices: Tensor, extent: int) -> Tensor:
    whole = indices.to(torch.int64)
    return torch.where(whole < 0, whole + extent, whole)


def _gather_nd(node: Node, value: Tensor, indices: Tensor) -> Tensor:
    """Take the slices that tuples name, the first axes common where `batch_dims` says so."""
    common = node.attributes["batch_dims"]
    shape = value.shape
    depth = indices.shape[-1]
    rows = value.reshape([-1, *shape[common:]]) if common else value.unsqueeze(0)
    wanted = indices.reshape([rows.shape[0], -1, depth])
    places = [_from_start(wanted[..., i], rows.shape[1 + i]) for i in range(depth)]
    each = torch.arange(rows.shape[0], device=value.device).unsqueeze(1).expand(wanted.shape[:2])
    coordinates = (each, *places)
    picked = rows[coordinates]
    return picked.reshape([*indices.shape[:-1], *shape[common + depth :]])


def _scatter_nd(node: Node, value: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    """Put slices where tuples name; updates of one place follow each other in their order."""
    depth = indices.shape[-1]
    flat = torch.zeros(indices.shape[:-1], dtype=torch.int64, device=value.device)
    for axis in range(depth):
        flat = flat * value.shape[axis] + _from_start(indices[..., axis], value.shape[axis])
    tail = value.shape[depth:]
    rows = value.reshape([-1, *tail]).reshape(-1, tail.numel()).clone()
    new = updates.reshape(-1, tail.numel())
    places = flat.reshape(-1, 1).expand_as(new)
    return _put(node, rows, 0, places, new).reshape(value.shape)


def _scatter_elements(node: Node, value: Tensor, indices: Tensor, updates: Tensor) -> Tensor:
    axis = node.attributes["axis"]
    places = _from_start(indices, value.shape[axis])
    return _put(node, value.clone(), axis % value.dim(), places, updates)


def _put(node: Node, rows: Tensor, axis: int, places: Tensor, new: Tensor) -> Tensor:
    """Scatter in place; what comes last stays, as PyTorch's kernel for CPUs goes in order."""
    word = REDUCTIONS.get(str(node.attributes.get("reduction", "none")))
    if word is None:
        return rows.scatter_(axis, places, new)
    return rows.scatter_reduce_(axis, places, new, word, include_self=True)


def _non_zero(node: Node, value: Tensor) -> Tensor:
    return torch.nonzero(value).t().contiguous()


def _one_hot(node: Node, indices: Tensor, depth: Any, values: Tensor) -> Tensor:
    """Put the second of two values at each index, the first elsewhere and beyond the depth."""
    count = int(depth[0] if isinstance(depth, list) else depth)
    places = _from_start(indices, count)
    axis = node.attributes["axis"] % (indices.dim() + 1)
    shape = [count if place == axis else 1 for place in range(indices.dim() + 1)]
    counted = torch.arange(count, device=indices.device).reshape(shape)
    return torch.where(places.unsqueeze(axis) == counted, values[1], values[0])


def _split_to_sequence(node: Node, value: Tensor, split: Any = None) -> List[List[Tensor]]:
    """Cut along an axis into a sequence; without sizes single places, whose axis may go."""
    axis = node.attributes["axis"]
    parts = list(torch.split(value, 1 if split is None else split, dim=axis))
    if split is None and not node.attributes["keepdims"]:
        parts = [part.squeeze(axis) for part in parts]
    return [parts]


def _concat_from_sequence(node: Node, values: List[Tensor]) -> Tensor:
    join = torch.stack if node.attributes["new_axis"] else torch.cat
    return join(values, dim=node.attributes["axis"])


def _grid_sample(node: Node, value: Tensor, grid: Tensor) -> Tensor:
    modes = {"linear": "bilinear", "cubic": "bicubic"}
    mode = modes.get(node.attributes["mode"], node.attributes["mode"])
    around, corners = node.attributes["padding_mode"], bool(node.attributes["align_corners"])
    return F.grid_sample(value, grid, mode, around, corners)


def _non_max_suppression(
    node: Node,
    boxes: Tensor,
    scores: Tensor,
    most: Any = None,
    overlap: Any = None,
    least: Optional[Any] = None,
) -> Tensor:
    """Choose boxes on the host: PyTorch itself has no such kernel."""
    found = chosen_boxes(
        boxes.cpu().numpy(),
        scores.cpu().numpy(),
        int(_single(most, 0)),
        float(_single(overlap, 0.0)),
        None if least is None else float(_single(least, 0.0)),
        bool(node.attributes["center_point_box"]),
    )
    return torch.from_numpy(found).to(boxes.device)


def _single(value: Any, default: Any) -> Any:
    if value is None:
        return default
    return value[0] if isinstance(value, list) else value


TABLE = {
    "ConcatFromSequence": Operator(_concat_from_sequence),
    "GatherND": Operator(_gather_nd),
    "GridSample": Operator(_grid_sample),
    "NonMaxSuppression": Operator(_non_max_suppression, python=(2, 3, 4)),
    "NonZero": Operator(_non_zero),
    "OneHot": Operator(_one_hot, python=(1,)),
    "ScatterElements": Operator(_scatter_elements),
    "ScatterND": Operator(_scatter_nd),
    "SplitToSequence": Operator(_split_to_sequence, python=(1,)),
}
