"""Shapes and axes that operators name, before any framework computes with them."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, List, Optional, Sequence, Tuple

if TYPE_CHECKING:
    from xbackend.worker.graph import Node

Blocks = Tuple[List[int], List[int], List[int]]
"""A shape with the blocks as axes, the order in which these are put, and the shape at last."""


def along(axis: int, rank: int) -> List[int]:
    """Return the shape with which numbers of one axis broadcast against a tensor.

    >>> along(1, 4)
    [1, -1, 1, 1]
    """
    return [-1 if place == axis else 1 for place in range(rank)]


def reshaped(node: Node, shape: Sequence[int], wanted: Sequence[int]) -> List[int]:
    """Return the shape that Reshape asks for: 0 keeps an extent unless `allowzero` is set."""
    if node.attributes.get("allowzero"):
        return list(wanted)
    return [shape[axis] if extent == 0 else extent for axis, extent in enumerate(wanted)]


def flattened(shape: Sequence[int], axis: int) -> List[int]:
    """Return rows and columns: what is before an axis, and what is from it on.

    >>> flattened([2, 3, 4], -1), flattened([2, 3, 4], 3)
    ([6, 4], [24, 1])
    """
    axis = axis + len(shape) if axis < 0 else axis
    return [prod(shape[:axis]), prod(shape[axis:])]


def added_axes(rank: int, axes: Sequence[int]) -> List[int]:
    """Return the axes that Unsqueeze puts in, counted in the result, the first one first.

    >>> added_axes(2, [-1, 0])
    [0, 3]
    """
    return sorted(axis % (rank + len(axes)) for axis in axes)


def reversed_unless(node: Node, rank: int) -> List[int]:
    """Return the order of Transpose, all axes reversed where none is given."""
    return list(node.attributes.get("perm") or reversed(range(rank)))


def part_of(node: Node, shape: Sequence[int]) -> List[int]:
    """Return the extents that Shape gives, from `start` to `end`."""
    return list(shape)[node.attributes.get("start", 0) : node.attributes.get("end")]


def parts(node: Node, extent: int) -> List[int]:
    """Return as equal parts as there are outputs; the last may be smaller, or nothing."""
    count = node.attributes.get("num_outputs") or len(node.outputs)
    step = -(-extent // count)
    return [max(min(step, extent - place * step), 0) for place in range(count)]


def reduced(node: Node, rank: int, axes: Optional[Sequence[int]]) -> Optional[List[int]]:
    """Return the axes that a node reduces, from 0: all where it names none.

    None where it then is to do nothing.
    """
    if not axes and node.attributes.get("noop_with_empty_axes"):
        return None
    return [axis % rank for axis in axes] if axes else list(range(rank))


def blocks_to_plane(node: Node, shape: Sequence[int]) -> Blocks:
    """Return how DepthToSpace moves channels; in `DCR` order the block stands before them."""
    (n, c, h, w), block = shape, node.attributes["blocksize"]
    deep = c // block**2
    result = [n, deep, h * block, w * block]
    if node.attributes.get("mode", "DCR") == "CRD":
        return [n, deep, block, block, h, w], [0, 1, 4, 2, 5, 3], result
    return [n, block, block, deep, h, w], [0, 3, 4, 1, 5, 2], result


def plane_to_blocks(node: Node, shape: Sequence[int]) -> Blocks:
    """Return how SpaceToDepth moves squares; in `DCR` order the block stands before channels."""
    (n, c, h, w), block = shape, node.attributes["blocksize"]
    split = [n, c, h // block, block, w // block, block]
    order = [0, 1, 3, 5, 2, 4] if node.attributes.get("mode") == "CRD" else [0, 3, 5, 1, 2, 4]
    return split, order, [n, c * block**2, h // block, w // block]
