"""Operators that pick elements by place, and padding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional

import torch
import torch.nn.functional as F
from torch import Tensor

from xbackend.worker.geometry.slices import PAD_MODES, cuts, repeated, widths

from .operator import Operator
from .padding import torch_pads

if TYPE_CHECKING:
    from xbackend.worker.graph import Node


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
    for axis, cut in cuts(value.shape, starts, ends, axes, steps).items():
        value = _along(value, axis, range(*cut.indices(value.shape[axis])))
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
    pads_of = widths(value.dim(), pads, axes)
    mode = node.attributes["mode"]
    if mode == "constant":
        fill = 0 if fill is None else fill[0] if isinstance(fill, list) else fill
        begins, ends = zip(*pads_of)
        return F.pad(value, torch_pads(begins, ends), value=fill)
    for axis, (begin, end) in enumerate(pads_of):
        if begin or end:
            places = repeated(value.shape[axis], begin, end, mode)
            index = torch.tensor(places, dtype=torch.int64, device=value.device)
            value = torch.index_select(value, axis, index)
    return value


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
