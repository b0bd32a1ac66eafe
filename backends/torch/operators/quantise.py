"""Changes of format: casts, and linear quantisation spelt out as ONNX defines it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping, Optional

import torch
from torch import Tensor

from xbackend.worker.geometry.shapes import along

from ..exchange import DTYPES
from .operator import Operator

if TYPE_CHECKING:
    from xbackend.worker.graph import Node

QUANTISED = ("uint8", "int8", "uint16", "int16")


def _cast(node: Node, value: Tensor) -> Tensor:
    return value.to(DTYPES[node.attributes["to"]])


def _lacks_format(node: Node, constants: Mapping[str, Any]) -> str:
    name = node.attributes["to"]
    return "" if name in DTYPES else f"to {name}"


def _cast_like(node: Node, value: Tensor, like: Tensor) -> Tensor:
    return value.to(like.dtype)


def _quantise(
    node: Node, value: Tensor, scale: Tensor, zero_point: Optional[Tensor] = None
) -> Tensor:
    """Divide, round half to even, move by the zero point and saturate."""
    named = DTYPES[node.attributes.get("output_dtype") or "uint8"]
    dtype = named if zero_point is None else zero_point.dtype
    levels = torch.round(value / _spread(node, scale, value))
    if zero_point is not None:
        levels = levels + _spread(node, zero_point, value).to(levels.dtype)
    limits = torch.iinfo(dtype)
    return torch.clamp(levels, limits.min, limits.max).to(torch.int32).to(dtype)


def _dequantise(
    node: Node, value: Tensor, scale: Tensor, zero_point: Optional[Tensor] = None
) -> Tensor:
    """Take the zero point off in int32, then multiply in the scale's format."""
    levels = value if value.is_floating_point() else value.to(torch.int32)
    if zero_point is not None:
        levels = levels - _spread(node, zero_point, value).to(levels.dtype)
    result = levels.to(scale.dtype) * _spread(node, scale, value)
    named = node.attributes.get("output_dtype")
    return result.to(DTYPES[named]) if named else result


def _spread(node: Node, parameter: Tensor, value: Tensor) -> Tensor:
    """Shape scales or zero points so that they meet their elements: one, per axis, or per block."""
    if parameter.numel() == 1 and parameter.dim() <= 1:
        return parameter.reshape(())
    axis = node.attributes["axis"] % value.dim()
    if parameter.dim() == 1:
        return parameter.reshape(along(axis, value.dim()))
    each = node.attributes.get("block_size") or 1
    wide = parameter.to(torch.int32) if not parameter.is_floating_point() else parameter
    return wide.repeat_interleave(each, dim=axis).narrow(axis, 0, value.shape[axis])


def _lacks_quantised(node: Node, constants: Mapping[str, Any]) -> str:
    """Say no to formats that PyTorch cannot compute with, as far as they are named."""
    point = node.inputs[2] if len(node.inputs) > 2 else ""
    known = constants.get(point)
    name = known.dtype if known is not None else node.attributes.get("output_dtype")
    if node.operator == "DequantizeLinear" or not name or name in QUANTISED:
        return ""
    return f"to {name}"


TABLE = {
    "Cast": Operator(_cast, unsupported_reason=_lacks_format),
    "CastLike": Operator(_cast_like),
    "DequantizeLinear": Operator(_dequantise, unsupported_reason=_lacks_quantised),
    "QuantizeLinear": Operator(_quantise, unsupported_reason=_lacks_quantised),
}
