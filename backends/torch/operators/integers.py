"""Exact products of integers, by sums in float64 of whole numbers below 2**53; and bits."""

from __future__ import annotations

from typing import TYPE_CHECKING, List, Optional

import torch
from torch import Tensor

from .convolution import TABLE as CONVOLUTIONS
from .operator import Operator, ignoring_node

if TYPE_CHECKING:
    from xbackend.worker.graph import Node


def _centred(value: Tensor, zero: Optional[Tensor], shape: Optional[List[int]] = None) -> Tensor:
    """Take the zero point off, in float64."""
    wide = value.to(torch.float64)
    if zero is None:
        return wide
    if zero.numel() == 1:
        return wide - zero.reshape(()).to(torch.float64)
    return wide - (zero if shape is None else zero.reshape(shape)).to(torch.float64)


def _matmul_integer(
    node: Node,
    left: Tensor,
    right: Tensor,
    left_zero: Optional[Tensor] = None,
    right_zero: Optional[Tensor] = None,
) -> Tensor:
    """Multiply matrices; a zero point may be one, or one for each row or column."""
    rows = [-1, 1] if left_zero is not None and left_zero.dim() == 1 else None
    a, b = _centred(left, left_zero, rows), _centred(right, right_zero)
    return torch.matmul(a, b).to(torch.int64).to(torch.int32)


def _conv_integer(
    node: Node,
    value: Tensor,
    weight: Tensor,
    zero: Optional[Tensor] = None,
    weight_zero: Optional[Tensor] = None,
) -> Tensor:
    """Convolve; the padding is the zero point."""
    each = [-1] + [1] * (weight.dim() - 1)
    x, w = _centred(value, zero), _centred(weight, weight_zero, each)
    return CONVOLUTIONS["Conv"].compute(node, x, w).to(torch.int64).to(torch.int32)


def _bit_shift(node: Node, value: Tensor, count: Tensor) -> Tensor:
    """Shift bits of unsigned integers, in int64 so that every width has it."""
    left = node.attributes["direction"] == "LEFT"
    wide, by = value.to(torch.int64), count.to(torch.int64)
    moved = torch.bitwise_left_shift(wide, by) if left else torch.bitwise_right_shift(wide, by)
    return moved.to(value.dtype)


TABLE = {
    "BitShift": Operator(_bit_shift),
    "BitwiseAnd": Operator(ignoring_node(torch.bitwise_and)),
    "BitwiseNot": Operator(ignoring_node(torch.bitwise_not)),
    "BitwiseOr": Operator(ignoring_node(torch.bitwise_or)),
    "BitwiseXor": Operator(ignoring_node(torch.bitwise_xor)),
    "ConvInteger": Operator(_conv_integer),
    "MatMulInteger": Operator(_matmul_integer),
}
