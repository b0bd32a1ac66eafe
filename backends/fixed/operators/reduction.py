"""Reductions of floats over axes, each in the order of sums.py, and what is made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xbackend.worker.geometry import shapes

from .. import elementary
from ..operands import given, need, rounded
from ..sums import total
from .elementwise import divide

if TYPE_CHECKING:
    from typing import Callable, Dict, List, Optional, Sequence, Tuple

    from xbackend.worker.graph import Node

    Array = np.ndarray[Any, Any]
    Inputs = List[Optional[Array]]
    Reduction = Callable[[Array, Sequence[int]], Array]


def mean(values: Array, axes: Sequence[int]) -> Array:
    """Divide the sum by the number of elements; the axes stay, of extent 1."""
    count = int(np.prod([values.shape[axis] for axis in axes], dtype=np.int64))
    with np.errstate(all="ignore"):
        return divide(total(values, axes), np.array(count).astype(values.dtype))


def extreme(values: Array, axes: Sequence[int], least: bool) -> Array:
    """Return the greatest element, or the least; the first of equals, and of those not a number."""
    places = sorted({axis % values.ndim for axis in axes})
    shape = [1 if axis in places else extent for axis, extent in enumerate(values.shape)]
    rows = np.moveaxis(values, places, range(len(places)))
    rows = rows.reshape(-1, *rows.shape[len(places) :])
    if not len(rows):
        return np.full(shape, worst(values.dtype, least), values.dtype)
    index = rows.argmin(0) if least else rows.argmax(0)
    return np.take_along_axis(rows, np.asarray(index)[None], 0).reshape(shape)


def worst(dtype: np.dtype[Any], least: bool) -> Any:
    """Return what no element is greater than, or less than: what is found among none."""
    if dtype.kind == "b":
        return least
    limits = np.iinfo(dtype) if dtype.kind in "iu" else None
    if limits is None:
        return np.inf if least else -np.inf
    return limits.max if least else limits.min


def log_sum_exp(values: Array, axes: Sequence[int]) -> Array:
    """Return the greatest element plus the logarithm of the sum of e**(x - greatest)."""
    greatest = extreme(values, axes, least=False)
    shift = np.where(np.isinf(greatest), np.zeros((), values.dtype), greatest)
    with np.errstate(all="ignore"):
        powers = rounded(elementary.exp, np.asarray(values - shift))
        return np.asarray(shift + rounded(elementary.log, total(powers, axes)))


def _l2(values: Array, axes: Sequence[int]) -> Array:
    return rounded(np.sqrt, total(values * values, axes))


def _log_sum(values: Array, axes: Sequence[int]) -> Array:
    return rounded(elementary.log, total(values, axes))


def reducing(reduction: Reduction) -> Callable[[Node, Inputs], List[Array]]:
    """Make an operator of a function that keeps the axes, with extent 1."""

    def operator(node: Node, inputs: Inputs) -> List[Array]:
        x, named = need(inputs, 0), given(inputs, 1)
        over = shapes.reduced(node, x.ndim, None if named is None else named.ravel().tolist())
        if over is None:
            return [x]
        axes = tuple(sorted(set(over)))
        if not axes:
            return [np.asarray(reduction(x[None], (0,))[0])]
        with np.errstate(all="ignore"):
            result = np.asarray(reduction(x, axes))
        return [result if node.attributes.get("keepdims", 1) else np.squeeze(result, axes)]

    return operator


def _arg(function: Callable[..., Any]) -> Callable[[Node, Inputs], List[Array]]:
    """Make an operator of `np.argmax` or `np.argmin`; the first or the last of equals counts."""

    def operator(node: Node, inputs: Inputs) -> List[Array]:
        x = need(inputs, 0)
        axis = int(node.attributes.get("axis", 0))
        if node.attributes.get("select_last_index", 0):
            index = x.shape[axis] - 1 - function(np.flip(x, axis), axis)
        else:
            index = function(x, axis)
        keep = node.attributes.get("keepdims", 1)
        return [np.expand_dims(index, axis) if keep else np.asarray(index)]

    return operator


def cumulative_sum(node: Node, inputs: Inputs) -> List[Array]:
    """CumSum: each element plus the sum before it, so from left to right."""
    x, axis = need(inputs, 0), int(need(inputs, 1).reshape(()))
    backwards = bool(node.attributes.get("reverse", 0))
    rows = np.moveaxis(np.flip(x, axis) if backwards else x, axis, 0)
    sums = np.zeros(rows.shape, x.dtype)
    exclusive = bool(node.attributes.get("exclusive", 0))
    for index in range(int(exclusive), len(rows)):
        before = sums[index - 1] if index else np.zeros((), x.dtype)
        sums[index] = before + rows[index - exclusive]
    result = np.moveaxis(sums, 0, axis)
    return [np.flip(result, axis) if backwards else result]


def global_average_pool(node: Node, inputs: Inputs) -> List[Array]:
    """GlobalAveragePool: the sum over rows and columns, divided by their number."""
    x = need(inputs, 0)
    return [mean(x, range(2, x.ndim)) if x.ndim > 2 else x]


OPERATORS: Dict[Tuple[str, str], Callable[[Any, Any], Any]] = {
    ("", "ArgMax"): _arg(np.argmax),
    ("", "ArgMin"): _arg(np.argmin),
    ("", "CumSum"): cumulative_sum,
    ("", "GlobalAveragePool"): global_average_pool,
    ("", "ReduceL1"): reducing(lambda x, axes: total(np.abs(x), axes)),
    ("", "ReduceL2"): reducing(_l2),
    ("", "ReduceLogSum"): reducing(_log_sum),
    ("", "ReduceLogSumExp"): reducing(log_sum_exp),
    ("", "ReduceMax"): reducing(lambda x, axes: extreme(x, axes, least=False)),
    ("", "ReduceMean"): reducing(mean),
    ("", "ReduceMin"): reducing(lambda x, axes: extreme(x, axes, least=True)),
    ("", "ReduceProd"): reducing(lambda x, axes: total(x, axes, np.multiply)),
    ("", "ReduceSum"): reducing(total),
    ("", "ReduceSumSquare"): reducing(lambda x, axes: total(x * x, axes)),
}
"""The operator of each domain and name."""
