"""Reductions over axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, List, Optional

import torch
from torch import Tensor

from xbackend.worker.geometry import shapes

from .operator import Operator

if TYPE_CHECKING:
    from xbackend.worker.graph import Node

Reduction = Callable[[Tensor, List[int], bool], Tensor]


def _reducing(reduction: Reduction) -> Callable[..., Tensor]:
    """Make an operator of a function that takes a tensor, axes and whether to keep them."""

    def compute(node: Node, value: Tensor, axes: Optional[List[int]] = None) -> Tensor:
        dims = shapes.reduced(node, value.dim(), axes)
        if not dims:
            return value
        return reduction(value, dims, bool(node.attributes["keepdims"]))

    return compute


def _sum(value: Tensor, dims: List[int], keep: bool) -> Tensor:
    return torch.sum(value, dims, keepdim=keep, dtype=value.dtype)


def _mean(value: Tensor, dims: List[int], keep: bool) -> Tensor:
    if value.is_floating_point():
        return torch.mean(value, dims, keepdim=keep)
    count = 1
    for dim in dims:
        count *= value.shape[dim]
    return torch.div(_sum(value, dims, keep), count, rounding_mode="trunc")


def _extreme(function: Callable[..., Tensor], worst: Callable[[Any], Any]) -> Reduction:
    """Make a maximum or minimum, which over no elements is the format's worst number."""

    def reduction(value: Tensor, dims: List[int], keep: bool) -> Tensor:
        if any(value.shape[dim] == 0 for dim in dims):
            empty = torch.sum(value, dims, keepdim=keep, dtype=value.dtype)
            return torch.full_like(empty, worst(value.dtype))
        return function(value, dim=dims, keepdim=keep)

    return reduction


def lowest(dtype: Any) -> Any:
    """Return minus infinity, or the least that a format without it holds."""
    if dtype.is_floating_point:
        return float("-inf")
    return False if dtype == torch.bool else torch.iinfo(dtype).min


def _highest(dtype: Any) -> Any:
    if dtype.is_floating_point:
        return float("inf")
    return True if dtype == torch.bool else torch.iinfo(dtype).max


def _prod(value: Tensor, dims: List[int], keep: bool) -> Tensor:
    for dim in sorted(dims, reverse=True):
        value = torch.prod(value, dim, keepdim=keep, dtype=value.dtype)
    return value


def _l1(value: Tensor, dims: List[int], keep: bool) -> Tensor:
    return _sum(torch.abs(value), dims, keep)


def _l2(value: Tensor, dims: List[int], keep: bool) -> Tensor:
    return torch.sqrt(_sum(torch.square(value), dims, keep).to(_real(value))).to(value.dtype)


def _real(value: Tensor) -> Any:
    return value.dtype if value.is_floating_point() else torch.float64


def _log_sum(value: Tensor, dims: List[int], keep: bool) -> Tensor:
    return torch.log(_sum(value, dims, keep))


def _log_sum_exp(value: Tensor, dims: List[int], keep: bool) -> Tensor:
    return torch.logsumexp(value, dims, keepdim=keep)


def _sum_square(value: Tensor, dims: List[int], keep: bool) -> Tensor:
    return _sum(torch.square(value), dims, keep)


def _arg(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Make ArgMax or ArgMin; of equal elements the first counts unless the last is asked for."""

    def compute(node: Node, value: Tensor) -> Tensor:
        axis, keep = node.attributes["axis"], bool(node.attributes["keepdims"])
        if not node.attributes.get("select_last_index"):
            return function(value, dim=axis, keepdim=keep)
        last = value.shape[axis] - 1
        return last - function(value.flip(axis), dim=axis, keepdim=keep)

    return compute


_REDUCTIONS = {
    "ReduceL1": _l1,
    "ReduceL2": _l2,
    "ReduceLogSum": _log_sum,
    "ReduceLogSumExp": _log_sum_exp,
    "ReduceMax": _extreme(torch.amax, lowest),
    "ReduceMean": _mean,
    "ReduceMin": _extreme(torch.amin, _highest),
    "ReduceProd": _prod,
    "ReduceSum": _sum,
    "ReduceSumSquare": _sum_square,
}

TABLE = {
    **{name: Operator(_reducing(function), python=(1,)) for name, function in _REDUCTIONS.items()},
    "ArgMax": Operator(_arg(torch.argmax)),
    "ArgMin": Operator(_arg(torch.argmin)),
}
