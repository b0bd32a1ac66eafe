"""Operators that move elements and never compute with them, so they are exact for every type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .operands import given, need

if TYPE_CHECKING:
    from typing import Callable, Dict, List, Optional, Tuple

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
    start, end = node.attributes.get("start", 0), node.attributes.get("end")
    return [np.array(need(inputs, 0).shape[start:end], np.int64)]


def size(node: Node, inputs: Inputs) -> List[Array]:
    """Size."""
    return [np.array(need(inputs, 0).size, np.int64)]


def reshape(node: Node, inputs: Inputs) -> List[Array]:
    """Reshape; a 0 keeps the extent unless `allowzero`."""
    x, wanted = need(inputs, 0), _integers(need(inputs, 1))
    if not node.attributes.get("allowzero", 0):
        wanted = [extent or x.shape[axis] for axis, extent in enumerate(wanted)]
    return [x.reshape(wanted)]


def flatten(node: Node, inputs: Inputs) -> List[Array]:
    """Flatten into two axes."""
    x = need(inputs, 0)
    axis = int(node.attributes.get("axis", 1))
    axis = axis + x.ndim if axis < 0 else axis
    return [x.reshape(int(np.prod(x.shape[:axis], dtype=np.int64)), -1)]


def transpose(node: Node, inputs: Inputs) -> List[Array]:
    """Transpose; all axes reversed where no order is given."""
    return [np.transpose(need(inputs, 0), node.attributes.get("perm"))]


def squeeze(node: Node, inputs: Inputs) -> List[Array]:
    """Squeeze."""
    axes = given(inputs, 1)
    return [np.squeeze(need(inputs, 0), None if axes is None else tuple(_integers(axes)))]


def unsqueeze(node: Node, inputs: Inputs) -> List[Array]:
    """Unsqueeze."""
    x, axes = need(inputs, 0), _integers(need(inputs, 1))
    rank = x.ndim + len(axes)
    for axis in sorted(axis % rank for axis in axes):
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
    if lengths is None:
        part = -(-x.shape[axis] // len(node.outputs))
        ends = [part * (index + 1) for index in range(len(node.outputs) - 1)]
    else:
        ends = list(np.cumsum(lengths)[:-1])
    return list(np.split(x, ends, axis=axis))


def slices(node: Node, inputs: Inputs) -> List[Array]:
    """Slice, with negative steps too."""
    x, starts, ends = need(inputs, 0), need(inputs, 1), need(inputs, 2)
    axes, steps = given(inputs, 3), given(inputs, 4)
    order = list(range(len(starts))) if axes is None else _integers(axes)
    strides = [1] * len(starts) if steps is None else _integers(steps)
    cut = [slice(None)] * x.ndim
    for axis, begin, end, step in zip(order, _integers(starts), _integers(ends), strides):
        low = -1 if step < 0 and end < -x.shape[axis] else end
        out = step < 0 and end < -x.shape[axis]
        cut[axis] = slice(begin, None if out else low, step)
    return [x[tuple(cut)]]


def gather(node: Node, inputs: Inputs) -> List[Array]:
    """Gather along an axis."""
    x, indices = need(inputs, 0), need(inputs, 1)
    axis = int(node.attributes.get("axis", 0))
    return [np.take(x, indices.astype(np.int64), axis=axis)]


def pad(node: Node, inputs: Inputs) -> List[Array]:
    """Pad with a value, the edge, a reflection or a wrap; a negative pad cuts off."""
    x, pads = need(inputs, 0), _integers(need(inputs, 1))
    value, axes = given(inputs, 2), given(inputs, 3)
    order = [axis % x.ndim for axis in (range(x.ndim) if axes is None else _integers(axes))]
    widths = [(0, 0)] * x.ndim
    for place, axis in enumerate(order):
        widths[axis] = (pads[place], pads[place + len(order)])
    cut = tuple(slice(max(-b, 0), n - max(-e, 0)) for (b, e), n in zip(widths, x.shape))
    positive = [(max(b, 0), max(e, 0)) for b, e in widths]
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
    x, block = need(inputs, 0), int(node.attributes["blocksize"])
    batch, channels, height, width = x.shape
    deep = channels // block**2
    if node.attributes.get("mode", "DCR") == "DCR":
        parts = x.reshape(batch, block, block, deep, height, width).transpose(0, 3, 4, 1, 5, 2)
    else:
        parts = x.reshape(batch, deep, block, block, height, width).transpose(0, 1, 4, 2, 5, 3)
    return [parts.reshape(batch, deep, height * block, width * block)]


def space_to_depth(node: Node, inputs: Inputs) -> List[Array]:
    """SpaceToDepth, in either order of the channels."""
    x, block = need(inputs, 0), int(node.attributes["blocksize"])
    batch, channels, height, width = x.shape
    parts = x.reshape(batch, channels, height // block, block, width // block, block)
    depth_first = node.attributes.get("mode", "DCR") == "DCR"
    moved = parts.transpose((0, 3, 5, 1, 2, 4) if depth_first else (0, 1, 3, 5, 2, 4))
    return [moved.reshape(batch, channels * block**2, height // block, width // block)]


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
