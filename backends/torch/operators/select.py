"""Operators that pick elements by place, and padding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional

import torch
import torch.nn.functional as F
from torch import Tensor

from .operator import Operator
from .window import torch_pads

if TYPE_CHECKING:
    from xbackend.worker.graph import Node

PAD_MODES = ("constant", "reflect", "edge", "wrap")


def _gather(node: Node, value: Tensor, indices: Tensor) -> Tensor:
    axis = node.attributes["axis"] % value.dim()
    flat = indices.reshape(-1).to(torch.int64)
    flat = torch.where(flat < 0, flat + value.shape[axis], flat)
    picked = torch.index_select(value, axis, flat)
    return picked.reshape([*value.shape[:axis], *indices.shape, *value.shape[axis + 1 :]])


def _gather_elements(node: Node, value: Tensor, indices: Tensor) -> Tensor:
    axis = node.attributes["axis"]
    places = torch.where(indices < 0, indices + value.shape[axis], indices)
    return torch.gather(value, axis, places.to(torch.int64))


def _slice(
    node: Node,
    value: Tensor,
    starts: List[int],
    ends: List[int],
    axes: Optional[List[int]] = None,
    steps: Optional[List[int]] = None,
) -> Tensor:
    """Cut a range out of each named axis, with Python's own rules for slices."""
    axes = list(range(len(starts))) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    for start, end, axis, step in zip(starts, ends, axes, steps):
        extent = value.shape[axis]
        if step < 0 and end < -extent:
            places = range(*slice(start, None, step).indices(extent))
        else:
            places = range(*slice(start, end, step).indices(extent))
        value = _along(value, axis, places)
    return value


def _along(value: Tensor, axis: int, places: range) -> Tensor:
    """Take a range of places along an axis; backwards by index, since PyTorch has no such view."""
    if places.step > 0:
        cut = [slice(None)] * value.dim()
        cut[axis] = slice(places.start, max(places.start, places.stop), places.step)
        return value[tuple(cut)]
    index = torch.tensor(list(places), dtype=torch.int64, device=value.device)
    return torch.index_select(value, axis, index)


def _pad(
    node: Node,
    value: Tensor,
    pads: List[int],
    fill: Any = None,
    axes: Optional[List[int]] = None,
) -> Tensor:
    """Pad with a number, or with elements of the tensor itself."""
    axes = list(range(value.dim())) if axes is None else [axis % value.dim() for axis in axes]
    begins, ends = [0] * value.dim(), [0] * value.dim()
    for place, axis in enumerate(axes):
        begins[axis], ends[axis] = pads[place], pads[place + len(axes)]
    mode = node.attributes["mode"]
    if mode == "constant":
        fill = 0 if fill is None else fill[0] if isinstance(fill, list) else fill
        return F.pad(value, torch_pads(begins, ends), value=fill)
    for axis, (begin, end) in enumerate(zip(begins, ends)):
        if begin or end:
            places = _pad_places(value.shape[axis], begin, end, mode)
            index = torch.tensor(places, dtype=torch.int64, device=value.device)
            value = torch.index_select(value, axis, index)
    return value


def _pad_places(extent: int, begin: int, end: int, mode: str) -> List[int]:
    """Return which element stands at each place of a padded axis.

    >>> _pad_places(3, 2, 1, "reflect")
    [2, 1, 0, 1, 2, 1]
    """
    places = range(-begin, extent + end)
    if mode == "edge":
        return [min(max(place, 0), extent - 1) for place in places]
    if mode == "wrap":
        return [place % extent for place in places]
    period = max(2 * (extent - 1), 1)
    return [min(place % period, period - place % period) if extent > 1 else 0 for place in places]


def _lacks_mode(node: Node, constants: Mapping[str, Any]) -> str:
    mode = node.attributes["mode"]
    return "" if mode in PAD_MODES else f"with mode='{mode}'"


def _cum_sum(node: Node, value: Tensor, axis: Any) -> Tensor:
    """Sum up along an axis, backwards or without the element itself where asked."""
    axis = axis[0] if isinstance(axis, list) else axis
    backwards = bool(node.attributes["reverse"])
    value = value.flip(axis) if backwards else value
    sums = torch.cumsum(value, axis, dtype=value.dtype)
    if node.attributes["exclusive"]:
        first = torch.zeros_like(sums.narrow(axis, 0, 1))
        sums = torch.cat([first, sums.narrow(axis, 0, value.shape[axis] - 1)], axis)
    return sums.flip(axis) if backwards else sums


def _top_k(node: Node, value: Tensor, k: List[int]) -> List[Tensor]:
    """Take the k extreme elements; of equal ones that of the lower place, by a stable sort."""
    axis, largest = node.attributes["axis"], bool(node.attributes["largest"])
    values, places = torch.sort(value, dim=axis, descending=largest, stable=True)
    return [values.narrow(axis, 0, k[0]), places.narrow(axis, 0, k[0])]


def _trilu(node: Node, value: Tensor, k: Any = None) -> Tensor:
    diagonal = 0 if k is None else k[0] if isinstance(k, list) else k
    return (torch.triu if node.attributes["upper"] else torch.tril)(value, diagonal)


TABLE: Dict[str, Operator] = {
    "CumSum": Operator(_cum_sum, python=(1,)),
    "Gather": Operator(_gather),
    "GatherElements": Operator(_gather_elements),
    "Pad": Operator(_pad, python=(1, 2, 3), unsupported_reason=_lacks_mode),
    "Slice": Operator(_slice, python=(1, 2, 3, 4)),
    "TopK": Operator(_top_k, python=(1,)),
    "Trilu": Operator(_trilu, python=(1,)),
}
