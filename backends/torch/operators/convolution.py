"""Convolutions over one, two or three axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping, Optional

import torch.nn.functional as F
from torch import Tensor

from xbackend.worker.geometry.conv_transpose import spread_of
from xbackend.worker.geometry.sliding_window import window_of

from .operator import Operator
from .padding import torch_pads

if TYPE_CHECKING:
    from xbackend.worker.graph import Node

CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def _conv(node: Node, value: Tensor, weight: Tensor, bias: Optional[Tensor] = None) -> Tensor:
    """Convolve with the padding inside of the operation.

    Only what one end has more than the other is padded before, as `padding="same"` of PyTorch.
    """
    spatial = value.shape[2:]
    window = window_of(node, spatial, weight.shape[2:])
    common = [min(pair) for pair in zip(window.begins, window.ends)]
    if not window.symmetric:
        begins = [pad - both for pad, both in zip(window.begins, common)]
        ends = [pad - both for pad, both in zip(window.ends, common)]
        value = F.pad(value, torch_pads(begins, ends))
    convolve = CONVOLUTIONS[len(spatial)]
    group = node.attributes["group"]
    return convolve(value, weight, bias, window.strides, common, window.dilations, group)


def _conv_transpose(
    node: Node, value: Tensor, weight: Tensor, bias: Optional[Tensor] = None
) -> Tensor:
    """Convolve transposed; what one end loses more than the other is cut off afterwards."""
    spread = spread_of(node, value.shape[2:], weight.shape[2:])
    common = [max(min(pair), 0) for pair in zip(spread.begins, spread.ends)]
    extra = [more + max(-end, 0) for more, end in zip(spread.added, spread.ends)]
    convolve = TRANSPOSED[len(spread.spans)]
    group = node.attributes["group"]
    result = convolve(value, weight, bias, spread.strides, common, extra, group, spread.dilations)
    rest = zip(spread.begins, spread.ends, common)
    for axis, (begin, end, both) in enumerate(rest, start=2):
        length = result.shape[axis] - (begin - both) - max(end - both, 0)
        result = result.narrow(axis, begin - both, length)
    return result


def _lacks(node: Node, constants: Mapping[str, Any]) -> str:
    """Say no to windows over more than three axes where the weight tells."""
    weight = constants.get(node.inputs[1])
    axes = 2 if weight is None else len(weight.shape) - 2
    return "" if axes in CONVOLUTIONS else f"over {axes} spatial axes"


TABLE = {
    "Conv": Operator(_conv, unsupported_reason=_lacks),
    "ConvTranspose": Operator(_conv_transpose, unsupported_reason=_lacks),
}
