"""Operators that pick elements by computed places, put them there, or sort them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xbackend.worker.geometry.boxes import chosen_boxes

from ..operands import given, need
from .elementwise import greater, less

if TYPE_CHECKING:
    from typing import Callable, Dict, List, Optional, Tuple

    from xbackend.worker.graph import Node

    Array = np.ndarray[Any, Any]
    Inputs = List[Optional[Array]]


def gather_elements(node: Node, inputs: Inputs) -> List[Array]:
    """GatherElements."""
    x, indices = need(inputs, 0), need(inputs, 1).astype(np.int64)
    axis = int(node.attributes.get("axis", 0))
    places = np.where(indices < 0, indices + x.shape[axis], indices)
    picked = list(np.indices(places.shape, np.int64))
    picked[axis] = places
    return [x[tuple(picked)]]


def gather_nd(node: Node, inputs: Inputs) -> List[Array]:
    """GatherND, the first axes common where `batch_dims` says so."""
    x, indices = need(inputs, 0), need(inputs, 1).astype(np.int64)
    common = int(node.attributes.get("batch_dims", 0))
    count = int(np.prod(x.shape[:common], dtype=np.int64))
    rows = x.reshape(count, *x.shape[common:])
    wanted = indices.reshape(count, -1, indices.shape[-1])
    picked = [row[tuple(places.T)] for row, places in zip(rows, wanted)]
    tail = x.shape[common + indices.shape[-1] :]
    return [np.stack(picked).reshape(indices.shape[:-1] + tail)]


def scatter_nd(node: Node, inputs: Inputs) -> List[Array]:
    """ScatterND; updates of one place follow each other in their order."""
    result = need(inputs, 0).copy()
    indices, updates = need(inputs, 1).astype(np.int64), need(inputs, 2)
    combine = UPDATES[str(node.attributes.get("reduction", "none"))]
    for place in np.ndindex(*indices.shape[:-1]):
        target = tuple(indices[place])
        result[target] = combine(result[target], updates[place])
    return [result]


def scatter_elements(node: Node, inputs: Inputs) -> List[Array]:
    """ScatterElements; updates of one place follow each other in their order."""
    result = need(inputs, 0).copy()
    indices, updates = need(inputs, 1).astype(np.int64), need(inputs, 2)
    axis = int(node.attributes.get("axis", 0)) % result.ndim
    combine = UPDATES[str(node.attributes.get("reduction", "none"))]
    with np.errstate(all="ignore"):
        for place in np.ndindex(*indices.shape):
            target = list(place)
            target[axis] = int(indices[place])
            result[tuple(target)] = combine(result[tuple(target)], updates[place])
    return [result]


def split_to_sequence(node: Node, inputs: Inputs) -> List[Any]:
    """SplitToSequence: sizes, one size for all parts, or single places whose axis may go."""
    x, given_sizes = need(inputs, 0), given(inputs, 1)
    axis = int(node.attributes.get("axis", 0))
    extent = x.shape[axis]
    if given_sizes is None:
        parts = np.split(x, extent, axis)
        kept = node.attributes.get("keepdims", 1)
        return [parts if kept else [np.squeeze(part, axis) for part in parts]]
    sizes = [int(n) for n in given_sizes.ravel()]
    if not given_sizes.ndim:
        sizes = [min(sizes[0], extent - begin) for begin in range(0, extent, sizes[0])]
    return [np.split(x, list(np.cumsum(sizes))[:-1], axis)]


def concat_from_sequence(node: Node, inputs: Inputs) -> List[Array]:
    """ConcatFromSequence, along an axis or a new one."""
    join = np.stack if node.attributes.get("new_axis", 0) else np.concatenate
    values: Any = need(inputs, 0)
    return [join(values, axis=int(node.attributes["axis"]))]


def non_max_suppression(node: Node, inputs: Inputs) -> List[Array]:
    """NonMaxSuppression."""
    most, overlap, least = (given(inputs, place) for place in (2, 3, 4))
    return [
        chosen_boxes(
            need(inputs, 0),
            need(inputs, 1),
            0 if most is None else int(most.reshape(())),
            0.0 if overlap is None else float(overlap.reshape(())),
            None if least is None else float(least.reshape(())),
            bool(node.attributes.get("center_point_box", 0)),
        )
    ]


def span(node: Node, inputs: Inputs) -> List[Array]:
    """Range: start + index * delta, each rounded to the format."""
    start, limit, delta = (need(inputs, i).reshape(()) for i in range(3))
    count = max(int(np.ceil((limit.astype(np.float64) - start) / delta)), 0)
    return [np.asarray(start + np.arange(count).astype(start.dtype) * delta)]


def trilu(node: Node, inputs: Inputs) -> List[Array]:
    """Trilu: the upper or the lower triangle, zeros elsewhere."""
    x, offset = need(inputs, 0), given(inputs, 1)
    k = 0 if offset is None else int(offset.reshape(()))
    distance = np.arange(x.shape[-1])[None] - np.arange(x.shape[-2])[:, None]
    kept = distance >= k if node.attributes.get("upper", 1) else distance <= k
    return [np.where(kept, x, np.zeros((), x.dtype))]


def top_k(node: Node, inputs: Inputs) -> List[Array]:
    """TopK; of equal elements that of the lower place comes first."""
    x, count = need(inputs, 0), int(need(inputs, 1).reshape(()))
    axis = int(node.attributes.get("axis", -1))
    keys = np.flip(x, axis) if node.attributes.get("largest", 1) else x
    order = np.argsort(keys, axis=axis, kind="stable")
    if node.attributes.get("largest", 1):
        order = x.shape[axis] - 1 - np.flip(order, axis)
    places = np.take(order, range(count), axis=axis)
    return [np.take_along_axis(x, places, axis), places.astype(np.int64)]


def one_hot(node: Node, inputs: Inputs) -> List[Array]:
    """OneHot along an axis."""
    indices, depth, values = need(inputs, 0), int(need(inputs, 1).reshape(())), need(inputs, 2)
    axis = int(node.attributes.get("axis", -1))
    whole = indices.astype(np.int64)
    places = np.expand_dims(np.where(whole < 0, whole + depth, whole), axis)
    shape = [depth if size == axis % places.ndim else 1 for size in range(places.ndim)]
    return [np.where(places == np.arange(depth).reshape(shape), values[1], values[0])]


def non_zero(node: Node, inputs: Inputs) -> List[Array]:
    """NonZero."""
    return [np.array(np.nonzero(need(inputs, 0)), np.int64)]


UPDATES: Dict[str, Callable[[Any, Any], Any]] = {
    "none": lambda old, new: new,
    "add": np.add,
    "mul": np.multiply,
    "max": greater,
    "min": less,
}
"""What an update makes of the element that is there."""

OPERATORS: Dict[Tuple[str, str], Callable[[Any, Any], Any]] = {
    ("", "ConcatFromSequence"): concat_from_sequence,
    ("", "GatherElements"): gather_elements,
    ("", "GatherND"): gather_nd,
    ("", "NonMaxSuppression"): non_max_suppression,
    ("", "NonZero"): non_zero,
    ("", "OneHot"): one_hot,
    ("", "Range"): span,
    ("", "ScatterElements"): scatter_elements,
    ("", "ScatterND"): scatter_nd,
    ("", "SplitToSequence"): split_to_sequence,
    ("", "TopK"): top_k,
    ("", "Trilu"): trilu,
}
"""The operator of each domain and name."""
