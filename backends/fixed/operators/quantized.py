"""Quantized operators on elements: between floats and integers, sums, products and tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import arithmetic, tables
from ..operands import MICROSOFT, along, given, need, rows_along, scale_of, zero_or

if TYPE_CHECKING:
    from typing import Callable, Dict, List, Optional, Tuple

    from xbackend.worker.graph import Node

    from ..operands import Scale

    Array = np.ndarray[Any, Any]
    Inputs = List[Optional[Array]]


def quantize_linear(node: Node, inputs: Inputs) -> List[Array]:
    """QuantizeLinear, per tensor, per axis or per block."""
    x, zero = need(inputs, 0), given(inputs, 2)
    asked = node.attributes.get("output_dtype", "") or "uint8"
    dtype = asked if zero is None else zero.dtype.name
    scale, zero = _spread(node, x, need(inputs, 1), zero_or(zero, dtype))
    return [arithmetic.quantize(x, scale, zero, dtype)]


def dequantize_linear(node: Node, inputs: Inputs) -> List[Array]:
    """DequantizeLinear, per tensor, per axis or per block."""
    x = need(inputs, 0)
    zero = zero_or(given(inputs, 2), x.dtype.name)
    return [arithmetic.dequantize(x, *_spread(node, x, need(inputs, 1), zero))]


def _spread(node: Node, x: Array, scale: Array, zero: Array) -> Tuple[Array, Array]:
    """Shape scale and zero point so that they broadcast against the tensor."""
    axis = int(node.attributes.get("axis", 1))
    block = int(node.attributes.get("block_size", 0))
    axis = axis % x.ndim if -x.ndim <= axis < x.ndim else 0
    if not block:
        return along(scale, axis, x.ndim), along(zero, axis, x.ndim)
    pair = (np.repeat(a, block, axis=axis) if a.ndim else a for a in (scale, zero))
    whole = range(x.shape[axis])
    scale, zero = (np.take(a, whole, axis=axis) if a.ndim else a for a in pair)
    return scale, zero


def dynamic_quantize_linear(node: Node, inputs: Inputs) -> List[Array]:
    """DynamicQuantizeLinear: uint8 between the least and the greatest value, 0 included."""
    x = need(inputs, 0)
    zero = np.zeros(1, np.float32)
    least, greatest = (f(np.concatenate([x.ravel(), zero])) for f in (np.min, np.max))
    scale = np.asarray((greatest - least) / np.float32(255) or 1, np.float32)
    zero_point = arithmetic.narrow(np.asarray(-least / scale, np.float32), "uint8")
    return [arithmetic.quantize(x, scale, zero_point, "uint8"), scale, zero_point]


def qlinear_add(node: Node, inputs: Inputs) -> List[Array]:
    """QLinearAdd, in the fused steps of ONNX Runtime's kernel for x86 CPUs with FMA.

    With ratios a_scale / y_scale and b_scale / y_scale in float32, the constant part is
    y_zero - fma(a_ratio, a_zero, b_ratio * b_zero), and fma(a, a_ratio, fma(b, b_ratio, constant))
    is rounded. Where ONNX Runtime broadcasts `a` along the innermost axes it swaps the operands,
    which can move a tie.
    """
    a, b, a_scale, b_scale, y_scale = _operands(inputs)
    if _swaps(a.shape, b.shape):
        a, a_scale, b, b_scale = b, b_scale, a, a_scale
    fma = arithmetic.fused_multiply_add
    a_ratio, b_ratio = a_scale.scale / y_scale.scale, b_scale.scale / y_scale.scale
    a_zero, b_zero, y_zero = (_float(s.zero_point) for s in (a_scale, b_scale, y_scale))
    constant = y_zero - fma(a_zero, a_ratio, b_ratio * b_zero)
    total = fma(_float(a), a_ratio, fma(_float(b), b_ratio, constant))
    return [arithmetic.narrow(total, y_scale.dtype)]


def qlinear_mul(node: Node, inputs: Inputs) -> List[Array]:
    """QLinearMul: the exact product times a_scale * b_scale / y_scale, plus the zero point."""
    a, b, a_scale, b_scale, y_scale = _operands(inputs)
    product = a_scale.centre(a) * b_scale.centre(b)
    scaled = _float(product) * (a_scale.scale * b_scale.scale / y_scale.scale)
    return [arithmetic.narrow(scaled + _float(y_scale.zero_point), y_scale.dtype)]


def _operands(inputs: Inputs) -> Tuple[Array, Array, Scale, Scale, Scale]:
    a, b = need(inputs, 0), need(inputs, 3)
    dtype = a.dtype.name
    scales = (scale_of(inputs, index, dtype) for index in (1, 4, 6))
    return (a, b, *scales)  # type: ignore[return-value]  # three scales, which mypy cannot count


def _float(array: Array) -> Array:
    return array.astype(np.float32)


def _swaps(a: Tuple[int, ...], b: Tuple[int, ...]) -> bool:
    """Tell whether ONNX Runtime takes the left operand as a scalar for each innermost run.

    It looks at the last axis on which not both extents are 1, among those that both have; where
    there is none, the left one is the scalar, unless only the right one has no axis at all.
    """
    for left, right in zip(reversed(a), reversed(b)):
        if left != 1 or right != 1:
            return left == 1
    return bool(b) or not a


def qlinear_concat(node: Node, inputs: Inputs) -> List[Array]:
    """QLinearConcat: each input through a table into the output's scale, then joined."""
    target = scale_of(inputs, 0, "uint8")
    parts = [_rescaled(inputs, index, target) for index in range(2, len(inputs), 3)]
    return [np.concatenate(parts, axis=int(node.attributes["axis"]))]


def qlinear_where(node: Node, inputs: Inputs) -> List[Array]:
    """QLinearWhere: both choices through a table into the output's scale, then chosen."""
    target = scale_of(inputs, 7, need(inputs, 1).dtype.name)
    left, right = (_rescaled(inputs, index, target) for index in (1, 4))
    return [np.where(need(inputs, 0), left, right)]


def _rescaled(inputs: Inputs, index: int, target: Scale) -> Array:
    """Read a tensor with its scale from three inputs, and bring it to another scale."""
    values = need(inputs, index)
    source = scale_of(inputs, index + 1, values.dtype.name)
    if source.scale == target.scale and source.zero_point == target.zero_point:
        return values
    return tables.look_up(tables.transfer(lambda x: x, source, target), values)


def qlinear_leaky_relu(node: Node, inputs: Inputs) -> List[Array]:
    """QLinearLeakyRelu through a table."""
    slope = float(node.attributes.get("alpha", np.float32(0.01)))
    return [_through(tables.leaky_relu(slope), inputs)]


def qlinear_sigmoid(node: Node, inputs: Inputs) -> List[Array]:
    """QLinearSigmoid through a table of the exact logistic function."""
    return [_through(tables.sigmoid, inputs)]


def _through(function: Callable[[Array], Array], inputs: Inputs) -> Array:
    values = need(inputs, 0)
    source, target = (scale_of(inputs, index, values.dtype.name) for index in (1, 3))
    return tables.look_up(tables.transfer(function, source, target), values)


def qlinear_softmax(node: Node, inputs: Inputs) -> List[Array]:
    """QLinearSoftmax: a table of exponentials, their float32 sum in order, one division each.

    ONNX Runtime multiplies before it divides, which overflows where it sums over one element.
    There the division comes first, so that the share is 1.
    """
    values = need(inputs, 0)
    target = scale_of(inputs, 3, values.dtype.name)
    opset = int(node.attributes.get("opset", 13))
    axis = int(node.attributes.get("axis", 1 if opset < 13 else -1)) % values.ndim
    rows, restore = rows_along(values, axis, whole=opset < 13)
    table = tables.softmax_exponentials(float(need(inputs, 1).reshape(())), rows.shape[1])
    ordinals = rows.astype(np.int64)
    powers = table[255 - ordinals.max(axis=1, keepdims=True) + ordinals]
    shares = _shares(powers, np.floor(np.float32(1) / target.scale))
    integers = np.rint(shares).astype(np.int64) + target.zero_point.astype(np.int64)
    limits = np.iinfo(target.dtype)
    return [restore(np.clip(integers, limits.min, limits.max).astype(target.dtype))]


def _shares(powers: Array, factor: Array) -> Array:
    total = _running_sum(powers)
    with np.errstate(over="ignore"):
        scaled = powers * factor
    return np.where(np.isfinite(scaled), scaled / total, powers / total * factor)


def _running_sum(rows: Array) -> Array:
    """Sum float32 rows from left to right, rounding after each term."""
    total = np.zeros((rows.shape[0], 1), np.float32)
    for column in range(rows.shape[1]):
        total = total + rows[:, column : column + 1]
    return total


OPERATORS: Dict[Tuple[str, str], Callable[[Any, Any], Any]] = {
    ("", "QuantizeLinear"): quantize_linear,
    ("", "DequantizeLinear"): dequantize_linear,
    ("", "DynamicQuantizeLinear"): dynamic_quantize_linear,
    (MICROSOFT, "QuantizeLinear"): quantize_linear,
    (MICROSOFT, "DequantizeLinear"): dequantize_linear,
    (MICROSOFT, "QLinearAdd"): qlinear_add,
    (MICROSOFT, "QLinearMul"): qlinear_mul,
    (MICROSOFT, "QLinearConcat"): qlinear_concat,
    (MICROSOFT, "QLinearWhere"): qlinear_where,
    (MICROSOFT, "QLinearLeakyRelu"): qlinear_leaky_relu,
    (MICROSOFT, "QLinearSigmoid"): qlinear_sigmoid,
    (MICROSOFT, "QLinearSoftmax"): qlinear_softmax,
}
"""The operator of each domain and name."""
