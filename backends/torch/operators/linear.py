"""Matrix products."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

import torch
import torch.nn.functional as F
from torch import Tensor

from .operator import Operator, ignoring_node

if TYPE_CHECKING:
    from xbackend.worker.graph import Node


def _gemm(node: Node, left: Tensor, right: Tensor, bias: Optional[Tensor] = None) -> Tensor:
    """Use `F.linear` where the node is a linear layer, `torch.addmm` otherwise."""
    alpha, beta = _factor(node, "alpha", left), _factor(node, "beta", left)
    left = left.t() if node.attributes["transA"] else left
    plain = alpha == 1 and beta == 1 and (bias is None or bias.dim() == 1)
    if node.attributes["transB"]:
        if plain and (bias is None or bias.shape[0] == right.shape[0]):
            return F.linear(left, right, bias)
        right = right.t()
    if bias is None:
        product = torch.mm(left, right)
        return product if alpha == 1 else product * alpha
    return torch.addmm(bias, left, right, beta=beta, alpha=alpha)


def _factor(node: Node, key: str, like: Tensor) -> Any:
    factor = node.attributes[key]
    return factor if like.is_floating_point() else int(factor)


def _einsum(node: Node, *values: Tensor) -> Tensor:
    return torch.einsum(node.attributes["equation"], *values)


TABLE = {
    "Det": Operator(ignoring_node(torch.det)),
    "Einsum": Operator(_einsum),
    "Gemm": Operator(_gemm),
    "MatMul": Operator(ignoring_node(torch.matmul)),
}
