"""Convolutions over one, two or three axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, List, Mapping, Optional, Sequence

import torch.nn.functional as F
from torch import Tensor

from .operator import Operator
from .window import split_pads, torch_pads, window_of

if TYPE_CHECKING:
    from xbackend.worker.graph import Node

CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def _conv(node: Node, value: Tensor, weight: Tensor, bias: Optional[Tensor] = None) -> Tensor:
    """Convolve with the padding inside of the operation.

    Only what one end has more than the other is padded before, as `padding="same"` of PyTorch.
    """
    spatial = value.shape[2:]
    window = window_of(node, weight.shape[2:], spatial)
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
    spatial = value.shape[2:]
    window = window_of(node, weight.shape[2:], spatial)
    extra = list(node.attributes.get("output_padding") or [0] * len(spatial))
    strides, dilations = window.strides, window.dilations
    full = [
        (n - 1) * s + extent + e for n, s, extent, e in zip(spatial, strides, window.extents, extra)
    ]
    pads = _transposed_pads(node, full, [n * s for n, s in zip(spatial, strides)])
    begins, ends = pads[: len(spatial)], pads[len(spatial) :]
    common = [max(min(pair), 0) for pair in zip(begins, ends)]
    extra = [e + max(-end, 0) for e, end in zip(extra, ends)]
    convolve = TRANSPOSED[len(spatial)]
    group = node.attributes["group"]
    result = convolve(value, weight, bias, strides, common, extra, group, dilations)
    for axis, (begin, end, both) in enumerate(zip(begins, ends, common), start=2):
        length = result.shape[axis] - (begin - both) - max(end - both, 0)
        result = result.narrow(axis, begin - both, length)
    return result


def _transposed_pads(node: Node, full: Sequence[int], same: Sequence[int]) -> List[int]:
    """Return what is lost at each begin and each end; less than nothing where an end grows."""
    how = node.attributes["auto_pad"]
    wanted = node.attributes.get("output_shape")
    if how == "VALID" or (how == "NOTSET" and not wanted):
        none = [0] * 2 * len(full)
        return none if how == "VALID" else list(node.attributes.get("pads") or none)
    extents = list(wanted)[-len(full) :] if wanted else same
    totals = [have - want for have, want in zip(full, extents)]
    pads = split_pads([max(total, 0) for total in totals], how == "SAME_UPPER")
    growth = [min(total, 0) for total in totals]
    return [*pads[: len(full)], *(e + g for e, g in zip(pads[len(full) :], growth))]


def _lacks(node: Node, constants: Mapping[str, Any]) -> str:
    """Say no to windows over more than three axes where the weight tells."""
    weight = constants.get(node.inputs[1])
    axes = 2 if weight is None else len(weight.shape) - 2
    return "" if axes in CONVOLUTIONS else f"over {axes} spatial axes"


TABLE = {
    "Conv": Operator(_conv, unsupported_reason=_lacks),
    "ConvTranspose": Operator(_conv_transpose, unsupported_reason=_lacks),
}
