"""Operators that change a shape, tell it, or make a tensor of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, List, Optional

import torch
from torch import Tensor

from xbackend.worker.geometry import shapes

from .operator import Operator, ignoring_node

if TYPE_CHECKING:
    from xbackend.worker.graph import Node


def _reshape(node: Node, value: Tensor, shape: List[int]) -> Tensor:
    """Reshape; 0 keeps an extent unless `allowzero` is set."""
    return value.reshape(shapes.reshaped(node, value.shape, shape))


def _flatten(node: Node, value: Tensor) -> Tensor:
    return value.reshape(shapes.flattened(value.shape, node.attributes["axis"]))


def _squeeze(node: Node, value: Tensor, axes: Optional[List[int]] = None) -> Tensor:
    """Remove the named axes of extent 1, or all of them. Raises ValueError for another extent."""
    if axes is None:
        return value.squeeze()
    gone = {axis % value.dim() for axis in _listed(axes)}
    long = [axis for axis in sorted(gone) if value.shape[axis] != 1]
    if long:
        raise ValueError(f"Squeeze of axis {long[0]}, whose extent is {value.shape[long[0]]}.")
    return value.reshape([n for axis, n in enumerate(value.shape) if axis not in gone])


def _unsqueeze(node: Node, value: Tensor, axes: List[int]) -> Tensor:
    for axis in shapes.added_axes(value.dim(), _listed(axes)):
        value = value.unsqueeze(axis)
    return value


def _listed(axes: Any) -> List[int]:
    """Return axes as a list; some give one without an axis."""
    return axes if isinstance(axes, list) else [axes]


def _transpose(node: Node, value: Tensor) -> Tensor:
    return value.permute(shapes.reversed_unless(node, value.dim()))


def _expand(node: Node, value: Tensor, shape: List[int]) -> Tensor:
    return value.expand(torch.broadcast_shapes(value.shape, shape))


def _tile(node: Node, value: Tensor, repeats: List[int]) -> Tensor:
    return value.repeat(repeats)


def _concat(node: Node, *values: Tensor) -> Tensor:
    return torch.cat(values, dim=node.attributes["axis"])


def _split(node: Node, value: Tensor, sizes: Optional[List[int]] = None) -> List[Tensor]:
    """Split into the given sizes, or into equal parts of which the last may be smaller."""
    axis = node.attributes["axis"]
    sizes = shapes.parts(node, value.shape[axis]) if sizes is None else sizes
    return list(torch.split(value, sizes, dim=axis))


def _shape(node: Node, value: Tensor) -> Tensor:
    return torch.tensor(shapes.part_of(node, value.shape), dtype=torch.int64)


def _size(node: Node, value: Tensor) -> Tensor:
    return torch.tensor(value.numel(), dtype=torch.int64)


def _constant_of_shape(node: Node, shape: List[int]) -> Tensor:
    """Fill a shape with the node's one element."""
    return node.attributes["value"].reshape(()).expand(shape).contiguous()


def _range(node: Node, start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    first, last, step = start.item(), limit.item(), delta.item()
    return torch.arange(first, last, step, dtype=start.dtype, device=start.device)


def _depth_to_space(node: Node, value: Tensor) -> Tensor:
    """Move blocks of channels into the plane; `DCR` has the block before the channel."""
    block = node.attributes["blocksize"]
    if node.attributes["mode"] == "CRD":
        return torch.pixel_shuffle(value, block)
    return _rearranged(value, shapes.blocks_to_plane(node, value.shape))


def _space_to_depth(node: Node, value: Tensor) -> Tensor:
    """Move blocks of the plane into channels; `DCR` has the block before the channel."""
    block = node.attributes["blocksize"]
    if node.attributes.get("mode") == "CRD":
        return torch.pixel_unshuffle(value, block)
    return _rearranged(value, shapes.plane_to_blocks(node, value.shape))


def _rearranged(value: Tensor, blocks: shapes.Blocks) -> Tensor:
    split, order, result = blocks
    return value.reshape(split).permute(order).reshape(result)


def _same(value: Tensor) -> Tensor:
    return value


TABLE = {
    "Concat": Operator(_concat),
    "ConstantOfShape": Operator(_constant_of_shape, python=(0,)),
    "DepthToSpace": Operator(_depth_to_space),
    "Expand": Operator(_expand, python=(1,)),
    "Flatten": Operator(_flatten),
    "Identity": Operator(ignoring_node(_same)),
    "Range": Operator(_range),
    "Reshape": Operator(_reshape, python=(1,)),
    "Shape": Operator(_shape),
    "Size": Operator(_size),
    "SpaceToDepth": Operator(_space_to_depth),
    "Split": Operator(_split, python=(1,)),
    "Squeeze": Operator(_squeeze, python=(1,)),
    "Tile": Operator(_tile, python=(1,)),
    "Transpose": Operator(_transpose),
    "Unsqueeze": Operator(_unsqueeze, python=(1,)),
}
