"""Normalisations and softmax of floats: every step rounded, every sum in the order of sums.py."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import elementary
from ..operands import given, need, rounded, rows_along
from ..sums import fold, total
from .reduction import extreme, mean

if TYPE_CHECKING:
    from typing import Callable, Dict, List, Optional, Sequence, Tuple

    from xbackend.worker.graph import Node

    Array = np.ndarray[Any, Any]
    Inputs = List[Optional[Array]]


def batch_normalization(node: Node, inputs: Inputs) -> List[Array]:
    """BatchNormalization: (x - mean) * (scale / sqrt(variance + epsilon)) + bias."""
    x = need(inputs, 0)
    shape = [1, -1, *[1] * (x.ndim - 2)] if x.ndim > 1 else [-1]
    scale, bias, centre, variance = (
        need(inputs, i).astype(x.dtype).reshape(shape) for i in range(1, 5)
    )
    with np.errstate(all="ignore"):
        factor = scale / np.sqrt(variance + _epsilon(node, x))
        return [np.asarray((x - centre) * factor + bias)]


def _epsilon(node: Node, x: Array) -> Array:
    return np.array(node.attributes.get("epsilon", 1e-5)).astype(x.dtype)


def standardised(x: Array, axes: Sequence[int], epsilon: Array) -> Tuple[Array, Array, Array]:
    """Return (x - mean) / sqrt(variance + epsilon), the mean, and the root.

    The variance is the mean of squared differences from the mean.
    """
    centre = mean(x, axes)
    difference = x - centre
    root = np.sqrt(mean(difference * difference, axes) + epsilon)
    return difference / root, centre, np.asarray(root)


def layer_normalization(node: Node, inputs: Inputs) -> List[Array]:
    """LayerNormalization over the last axes, times scale, plus bias."""
    x, scale, bias = need(inputs, 0), need(inputs, 1), given(inputs, 2)
    axes = range(int(node.attributes.get("axis", -1)) % x.ndim, x.ndim)
    with np.errstate(all="ignore"):
        result, centre, root = standardised(x, axes, _epsilon(node, x))
        result = result * scale
        result = result if bias is None else result + bias
        inverse = np.ones((), x.dtype) / root
    return [np.asarray(result), centre, inverse][: len(node.outputs)]


def instance_normalization(node: Node, inputs: Inputs) -> List[Array]:
    """InstanceNormalization: each channel of each sample by itself."""
    x = need(inputs, 0)
    scale, bias = (need(inputs, i).reshape(-1, *[1] * (x.ndim - 2)) for i in (1, 2))
    with np.errstate(all="ignore"):
        result = standardised(x, range(2, x.ndim), _epsilon(node, x))[0]
        return [np.asarray(result * scale + bias)]


def group_normalization(node: Node, inputs: Inputs) -> List[Array]:
    """GroupNormalization; scale and bias of each channel, before opset 21 of each group."""
    x, groups = need(inputs, 0), int(node.attributes["num_groups"])
    each = x.shape[1] // groups
    pair = [need(inputs, i) for i in (1, 2)]
    scale, bias = (np.repeat(a, each) if a.size != x.shape[1] else a for a in pair)
    shape = [-1, *[1] * (x.ndim - 2)]
    with np.errstate(all="ignore"):
        rows = x.reshape(len(x), groups, -1)
        result = standardised(rows, (2,), _epsilon(node, x))[0].reshape(x.shape)
        return [np.asarray(result * scale.reshape(shape) + bias.reshape(shape))]


def mean_variance_normalization(node: Node, inputs: Inputs) -> List[Array]:
    """MeanVarianceNormalization, with 1e-9 added to the root as in ONNX's own function."""
    x = need(inputs, 0)
    axes = [int(axis) for axis in node.attributes.get("axes", (0, 2, 3))]
    with np.errstate(all="ignore"):
        difference = x - mean(x, axes)
        root = np.sqrt(mean(difference * difference, axes))
        return [np.asarray(difference / (root + np.array(1e-9).astype(x.dtype)))]


def lp_normalization(node: Node, inputs: Inputs) -> List[Array]:
    """LpNormalization, p being 1 or 2."""
    x = need(inputs, 0)
    axis = int(node.attributes.get("axis", -1))
    with np.errstate(all="ignore"):
        if int(node.attributes.get("p", 2)) == 1:
            norm = total(np.abs(x), (axis,))
        else:
            norm = np.sqrt(total(x * x, (axis,)))
        return [np.asarray(np.where(norm == 0, np.zeros((), x.dtype), x / norm))]


def local_response_normalization(node: Node, inputs: Inputs) -> List[Array]:
    """LRN: x / (bias + alpha / size * sum of squares of neighbouring channels) ** beta."""
    x, size = need(inputs, 0), int(node.attributes["size"])
    alpha, beta, bias = (float(node.attributes[key]) for key in ("alpha", "beta", "bias"))
    before = (size - 1) // 2
    widths = [(0, 0), (before, size - 1 - before), *[(0, 0)] * (x.ndim - 2)]
    with np.errstate(all="ignore"):
        squares = np.pad(x * x, widths)
        around = fold(lambda i: np.asarray(squares[:, i : i + x.shape[1]]), 0, size)
        base = np.array(bias).astype(x.dtype) + np.array(alpha / size).astype(x.dtype) * around
        powers = elementary.power(base.astype(np.float64), np.array(beta)).astype(x.dtype)
        return [np.asarray(x / powers)]


def softmax(node: Node, inputs: Inputs) -> List[Array]:
    """Softmax: e**(x - greatest), divided by the sum of these."""
    rows, restore = _rows(node, need(inputs, 0))
    with np.errstate(all="ignore"):
        powers = rounded(elementary.exp, rows - extreme(rows, (1,), least=False))
        return [restore(powers / total(powers, (1,)))]


def log_softmax(node: Node, inputs: Inputs) -> List[Array]:
    """LogSoftmax: x - greatest, less the logarithm of the sum of e**(x - greatest)."""
    rows, restore = _rows(node, need(inputs, 0))
    with np.errstate(all="ignore"):
        difference = rows - extreme(rows, (1,), least=False)
        sums = total(rounded(elementary.exp, difference), (1,))
        return [restore(difference - rounded(elementary.log, sums))]


def hardmax(node: Node, inputs: Inputs) -> List[Array]:
    """Hardmax: 1 at the first of the greatest, 0 elsewhere."""
    rows, restore = _rows(node, need(inputs, 0))
    chosen = rows.argmax(1)[:, None] == np.arange(rows.shape[1])
    return [restore(chosen.astype(rows.dtype))]


def _rows(node: Node, values: Array) -> Tuple[Array, Callable[[Array], Array]]:
    """Bring what is normalised together into rows, and return how to undo it."""
    if not values.ndim:
        return values.reshape(1, 1), lambda rows: rows.reshape(())
    axis = int(node.attributes.get("axis", -1)) % values.ndim
    return rows_along(values, axis, whole=bool(node.attributes.get("coerce_2d", 0)))


OPERATORS: Dict[Tuple[str, str], Callable[[Any, Any], Any]] = {
    ("", "BatchNormalization"): batch_normalization,
    ("", "GroupNormalization"): group_normalization,
    ("", "Hardmax"): hardmax,
    ("", "InstanceNormalization"): instance_normalization,
    ("", "LRN"): local_response_normalization,
    ("", "LayerNormalization"): layer_normalization,
    ("", "LogSoftmax"): log_softmax,
    ("", "LpNormalization"): lp_normalization,
    ("", "MeanVarianceNormalization"): mean_variance_normalization,
    ("", "Softmax"): softmax,
}
"""The operator of each domain and name."""
