"""Operators that move elements and never compute with them, so they are exact for every type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xbackend.worker.geometry import shapes
from xbackend.worker.geometry.slices import cut_and_padded, cuts, widths

from ..operands import given, need

if TYPE_CHECKING:
    from typing import Callable, Dict, List, Optional, Tuple

    from xbackend.worker.geometry.shapes import Blocks
    from xbackend.worker.graph import Node

    Array = np.ndarray[Any, Any]
    Inputs = List[Optional[Array]]


def _integers(array: Array) -> List[int]:
    return [int(value) for value in array.ravel()]


def identity(node: Node, inputs: Inputs) -> List[Array]:
    """Identity."""
    return [need(inputs, 0)]


def dropout(node: Node, inputs: Inputs) -> List[Array]:
    """Dropout as inference has it: the input, and a mask that keeps everything."""
    x = need(inputs, 0)
    return [x, np.ones(x.shape, np.bool_)][: len(node.outputs)]


def constant(node: Node, inputs: Inputs) -> List[Array]:
    """Constant."""
    return [node.attributes["value"].array]


def constant_of_shape(node: Node, inputs: Inputs) -> List[Array]:
    """ConstantOfShape."""
    value = node.attributes["value"].array.reshape(())
    return [np.full(_integers(need(inputs, 0)), value, value.dtype)]


def shape(node: Node, inputs: Inputs) -> List[Array]:
    """Shape, of some of the axes where `start` and `end` say so."""
    x = need(inputs, 0)
    return [np.array(shapes.part_of(node, x.shape), np.int64)]


def size(node: Node, inputs: Inputs) -> List[Array]:
    """Size."""
    return [np.array(need(inputs, 0).size, np.int64)]


def reshape(node: Node, inputs: Inputs) -> List[Array]:
    """Reshape; a 0 keeps the extent unless `allowzero`."""
    x, wanted = need(inputs, 0), _integers(need(inputs, 1))
    return [x.reshape(shapes.reshaped(node, x.shape, wanted))]


def flatten(node: Node, inputs: Inputs) -> List[Array]:
    """Flatten into two axes."""
    x = need(inputs, 0)
    return [x.reshape(shapes.flattened(x.shape, int(node.attributes.get("axis", 1))))]


def transpose(node: Node, inputs: Inputs) -> List[Array]:
    """Transpose; all axes reversed where no order is given."""
    x = need(inputs, 0)
    return [np.transpose(x, shapes.reversed_unless(node, x.ndim))]


def squeeze(node: Node, inputs: Inputs) -> List[Array]:
    """Squeeze."""
    axes = given(inputs, 1)
    return [np.squeeze(need(inputs, 0), None if axes is None else tuple(_integers(axes)))]


def unsqueeze(node: Node, inputs: Inputs) -> List[Array]:
    """Unsqueeze."""
    x, axes = need(inputs, 0), _integers(need(inputs, 1))
    for axis in shapes.added_axes(x.ndim, axes):
        x = np.expand_dims(x, axis)
    return [x]


def concat(node: Node, inputs: Inputs) -> List[Array]:
    """Concat."""
    arrays = [need(inputs, index) for index in range(len(inputs))]
    return [np.concatenate(arrays, axis=int(node.attributes["axis"]))]


def split(node: Node, inputs: Inputs) -> List[Array]:
    """Split into given lengths, or into as equal parts as there are outputs."""
    x, lengths = need(inputs, 0), given(inputs, 1)
    axis = int(node.attributes.get("axis", 0))
    sizes = shapes.parts(node, x.shape[axis]) if lengths is None else _integers(lengths)
    return list(np.split(x, np.cumsum(sizes)[:-1], axis=axis))


def slices(node: Node, inputs: Inputs) -> List[Array]:
    """Slice, with negative steps too."""
    x, starts, ends = need(inputs, 0), need(inputs, 1), need(inputs, 2)
    rest = (
        None if part is None else _integers(part) for part in (given(inputs, 3), given(inputs, 4))
    )
    found = cuts(x.shape, _integers(starts), _integers(ends), *rest)
    return [x[tuple(found.get(axis, slice(None)) for axis in range(x.ndim))]]


def gather(node: Node, inputs: Inputs) -> List[Array]:
    """Gather along an axis."""
    x, indices = need(inputs, 0), need(inputs, 1)
    axis = int(node.attributes.get("axis", 0))
    return [np.take(x, indices.astype(np.int64), axis=axis)]


def pad(node: Node, inputs: Inputs) -> List[Array]:
    """Pad with a value, the edge, a reflection or a wrap; a negative pad cuts off."""
    x, pads = need(inputs, 0), _integers(need(inputs, 1))
    value, axes = given(inputs, 2), given(inputs, 3)
    pairs = widths(x.ndim, pads, None if axes is None else _integers(axes))
    cut, positive = cut_and_padded(x.shape, pairs)
    mode = str(node.attributes.get("mode", "constant"))
    if mode != "constant":
        return [np.pad(x[cut], positive, mode=mode)]  # type: ignore[call-overload]  # a word of four
    filler = np.zeros((), x.dtype) if value is None else value.reshape(())
    return [np.pad(x[cut], positive, mode="constant", constant_values=filler)]


def expand(node: Node, inputs: Inputs) -> List[Array]:
    """Expand by broadcasting both ways."""
    x, wanted = need(inputs, 0), tuple(_integers(need(inputs, 1)))
    target = np.broadcast(np.empty(x.shape, np.bool_), np.empty(wanted, np.bool_)).shape
    return [np.broadcast_to(x, target)]


def tile(node: Node, inputs: Inputs) -> List[Array]:
    """Tile."""
    return [np.tile(need(inputs, 0), _integers(need(inputs, 1)))]


def where(node: Node, inputs: Inputs) -> List[Array]:
    """Where."""
    return [np.where(need(inputs, 0), need(inputs, 1), need(inputs, 2))]


def depth_to_space(node: Node, inputs: Inputs) -> List[Array]:
    """DepthToSpace, in either order of the channels."""
    x = need(inputs, 0)
    return [_rearranged(x, shapes.blocks_to_plane(node, x.shape))]


def space_to_depth(node: Node, inputs: Inputs) -> List[Array]:
    """SpaceToDepth, in either order of the channels."""
    x = need(inputs, 0)
    return [_rearranged(x, shapes.plane_to_blocks(node, x.shape))]


def _rearranged(x: Array, blocks: Blocks) -> Array:
    split, order, result = blocks
    return x.reshape(split).transpose(order).reshape(result)


OPERATORS: Dict[Tuple[str, str], Callable[[Any, Any], Any]] = {
    ("", "Identity"): identity,
    ("", "Dropout"): dropout,
    ("", "Constant"): constant,
    ("", "ConstantOfShape"): constant_of_shape,
    ("", "Shape"): shape,
    ("", "Size"): size,
    ("", "Reshape"): reshape,
    ("", "Flatten"): flatten,
    ("", "Transpose"): transpose,
    ("", "Squeeze"): squeeze,
    ("", "Unsqueeze"): unsqueeze,
    ("", "Concat"): concat,
    ("", "Split"): split,
    ("", "Slice"): slices,
    ("", "Gather"): gather,
    ("", "Pad"): pad,
    ("", "Expand"): expand,
    ("", "Tile"): tile,
    ("", "Where"): where,
    ("", "DepthToSpace"): depth_to_space,
    ("", "SpaceToDepth"): space_to_depth,
}
"""The operator of each domain and name."""
