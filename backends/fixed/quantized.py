"""Quantized operators: exact integers within, one rounding at the end, as ONNX Runtime defines it.

Each function takes the node and the arrays of its inputs (None where one is left out).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import arithmetic, products, tables
from .windows import window_of

if TYPE_CHECKING:
    from typing import Callable, Dict, List, Optional, Tuple

    from xbackend.worker.graph import Node

    Array = np.ndarray[Any, Any]
    Inputs = List[Optional[Array]]


def _zero_point(array: Optional[Array], dtype: str) -> Array:
    return np.zeros((), dtype) if array is None else array


def _pair(scale: Optional[Array], zero_point: Optional[Array], dtype: str) -> Tuple[Array, Array]:
    """Return scale and zero point of a whole tensor as scalars; a missing zero point is 0."""
    assert scale is not None
    return scale.reshape(()), _zero_point(zero_point, dtype).reshape(())


def _given(inputs: Inputs, index: int) -> Optional[Array]:
    return inputs[index] if index < len(inputs) else None


def _along(array: Array, axis: int, rank: int) -> Array:
    """Shape a scale or zero point so that it broadcasts along one axis of a tensor."""
    if array.size == 1:
        return array.reshape(())
    return array.reshape([-1 if index == axis else 1 for index in range(rank)])


def qlinear_conv(node: Node, inputs: Inputs) -> List[Array]:
    """QLinearConv: int32 accumulators, bias among them, times x_scale * w_scale / y_scale."""
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero = _all(inputs[:8])
    total = _convolve(node, x, x_zero, w, w_zero)
    bias = _given(inputs, 8)
    if bias is not None:
        total = total + _along(bias.astype(np.int64), 1, total.ndim)
    scale = _along(x_scale * w_scale / y_scale, 1, total.ndim)
    return [arithmetic.requantize(arithmetic.int32(total), scale, y_zero, y_zero.dtype.name)]


def conv_integer(node: Node, inputs: Inputs) -> List[Array]:
    """ConvInteger: the int32 accumulators themselves."""
    x, w = _all(inputs[:2])
    x_zero = _zero_point(_given(inputs, 2), x.dtype.name)
    w_zero = _zero_point(_given(inputs, 3), w.dtype.name)
    return [arithmetic.int32(_convolve(node, x, x_zero, w, w_zero))]


def _convolve(node: Node, x: Array, x_zero: Array, w: Array, w_zero: Array) -> Array:
    window = window_of(node, x.shape[2:], w.shape[2:])
    image = products.centred(x, x_zero.reshape(()))
    kernel = products.centred(w, _along(w_zero, 0, w.ndim))
    return products.convolve(image, kernel, int(node.attributes.get("group", 1)), window)


def qlinear_matmul(node: Node, inputs: Inputs) -> List[Array]:
    """QLinearMatMul; scales and zero points may be per row of the left, per column of the right."""
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = _all(inputs)
    left = products.centred(a, _per_row(a_zero))
    right = products.centred(b, _per_column(b_zero))
    scale = _per_row(a_scale) * _per_column(b_scale) / _per_row(y_scale)
    total = arithmetic.int32(_matmul(left, right))
    return [arithmetic.requantize(total, scale, _per_row(y_zero), y_zero.dtype.name)]


def matmul_integer(node: Node, inputs: Inputs) -> List[Array]:
    """MatMulInteger: the int32 accumulators themselves."""
    a, b = _all(inputs[:2])
    a_zero = _per_row(_zero_point(_given(inputs, 2), a.dtype.name))
    b_zero = _per_column(_zero_point(_given(inputs, 3), b.dtype.name))
    left, right = products.centred(a, a_zero), products.centred(b, b_zero)
    return [arithmetic.int32(_matmul(left, right))]


def _matmul(left: Array, right: Array) -> Array:
    return products.matmul(left, right)


def _per_row(array: Array) -> Array:
    if array.size == 1:
        return array.reshape(())
    return array.reshape(-1, 1) if array.ndim == 1 else array


def _per_column(array: Array) -> Array:
    return array.reshape(()) if array.size == 1 else array


def qgemm(node: Node, inputs: Inputs) -> List[Array]:
    """QGemm of com.microsoft; float32 accumulators times scale where it has no y_scale."""
    a, a_scale, a_zero, b, b_scale, b_zero = _all(inputs[:6])
    bias, y_scale, y_zero = (_given(inputs, index) for index in (6, 7, 8))
    transpose_a, transpose_b = (node.attributes.get(key, 0) for key in ("transA", "transB"))
    left = products.centred(a.T if transpose_a else a, a_zero.reshape(()))
    right = products.centred(b.T if transpose_b else b, _per_column(b_zero))
    total = products.matmul(left, right)
    if bias is not None:
        total = total + bias.astype(np.int64)
    accumulator = arithmetic.int32(total)
    alpha = np.float32(node.attributes.get("alpha", 1.0))
    scale = alpha * a_scale.reshape(()) * _per_column(b_scale)
    if y_scale is None or y_zero is None:
        return [accumulator.astype(np.float32) * scale]
    scale = scale / y_scale.reshape(())
    return [
        arithmetic.requantize(accumulator, scale, y_zero.reshape(()), y_zero.dtype.name),
    ]


def qlinear_add(node: Node, inputs: Inputs) -> List[Array]:
    """QLinearAdd, in the two fused steps of ONNX Runtime's kernel for x86 with FMA.

    zero = y_zero - fma(a_ratio, a_zero, b_ratio * b_zero), each step in float32, then
    fma(a, a_ratio, fma(b, b_ratio, zero)) is rounded. Where ONNX Runtime broadcasts `a` along
    the innermost axes it swaps the two operands, which can move a tie.
    """
    a, b, (a_scale, a_zero), (b_scale, b_zero), (y_scale, y_zero) = _operands(inputs)
    if _swaps(a.shape, b.shape):
        a, a_scale, a_zero, b, b_scale, b_zero = b, b_scale, b_zero, a, a_scale, a_zero
    fma = arithmetic.fused_multiply_add
    a_ratio, b_ratio = a_scale / y_scale, b_scale / y_scale
    offset = fma(_float(a_zero), a_ratio, b_ratio * _float(b_zero))
    zero = _float(y_zero) - offset
    inner = fma(_float(b), b_ratio, zero)
    return [arithmetic.narrow(fma(_float(a), a_ratio, inner), y_zero.dtype.name)]


def qlinear_mul(node: Node, inputs: Inputs) -> List[Array]:
    """QLinearMul: the exact product times a_scale * b_scale / y_scale, plus the zero point."""
    a, b, (a_scale, a_zero), (b_scale, b_zero), (y_scale, y_zero) = _operands(inputs)
    product = _difference(a, a_zero) * _difference(b, b_zero)
    scaled = product.astype(np.float32) * (a_scale * b_scale / y_scale)
    return [arithmetic.narrow(scaled + _float(y_zero), y_zero.dtype.name)]


def _operands(inputs: Inputs) -> Tuple[Any, ...]:
    a, b = _all([inputs[0], inputs[3]])
    dtype = a.dtype.name
    left = _pair(inputs[1], inputs[2], dtype)
    right = _pair(inputs[4], inputs[5], dtype)
    return a, b, left, right, _pair(inputs[6], _given(inputs, 7), dtype)


def _swaps(a: Tuple[int, ...], b: Tuple[int, ...]) -> bool:
    """Tell whether ONNX Runtime takes the left operand as a scalar for each innermost run.

    It looks at the last axis on which not both extents are 1, among those that both have; where
    there is none, the left one is the scalar.
    """
    for left, right in zip(reversed(a), reversed(b)):
        if left != 1 or right != 1:
            return left == 1
    return True


def _float(array: Array) -> Array:
    return array.astype(np.float32)


def _difference(array: Array, zero_point: Array) -> Array:
    return array.astype(np.int32) - zero_point.astype(np.int32)


def qlinear_concat(node: Node, inputs: Inputs) -> List[Array]:
    """QLinearConcat: each input through a table into the output's scale, then joined."""
    (y_zero,) = _all(inputs[1:2])
    target = _pair(inputs[0], y_zero, y_zero.dtype.name)
    parts = []
    for index in range(2, len(inputs), 3):
        (values,) = _all(inputs[index : index + 1])
        source = _pair(inputs[index + 1], inputs[index + 2], values.dtype.name)
        parts.append(_rescale(values, source, target))
    return [np.concatenate(parts, axis=int(node.attributes["axis"]))]


def qlinear_where(node: Node, inputs: Inputs) -> List[Array]:
    """QLinearWhere: both choices through a table into the output's scale, then chosen."""
    condition, x, y = _all([inputs[0], inputs[1], inputs[4]])
    target = _pair(inputs[7], inputs[8], x.dtype.name)
    left = _rescale(x, _pair(inputs[2], inputs[3], x.dtype.name), target)
    right = _rescale(y, _pair(inputs[5], inputs[6], y.dtype.name), target)
    return [np.where(condition, left, right)]


def _rescale(values: Array, source: Tuple[Array, Array], target: Tuple[Array, Array]) -> Array:
    if all(mine == its for mine, its in zip(source, target)):
        return values
    table = tables.transfer(lambda x: x, source, target, target[1].dtype.name)
    return tables.look_up(table, values)


def qlinear_leaky_relu(node: Node, inputs: Inputs) -> List[Array]:
    """QLinearLeakyRelu through a table."""
    function = tables.leaky_relu(float(node.attributes.get("alpha", np.float32(0.01))))
    return [_through(function, inputs)]


def qlinear_sigmoid(node: Node, inputs: Inputs) -> List[Array]:
    """QLinearSigmoid through a table of the exact logistic function."""
    return [_through(tables.sigmoid, inputs)]


def _through(function: Callable[[Array], Array], inputs: Inputs) -> Array:
    (values,) = _all(inputs[:1])
    dtype = values.dtype.name
    source = _pair(inputs[1], inputs[2], dtype)
    target = _pair(inputs[3], _given(inputs, 4), dtype)
    return tables.look_up(tables.transfer(function, source, target, dtype), values)


def qlinear_softmax(node: Node, inputs: Inputs) -> List[Array]:
    """QLinearSoftmax: a table of exponentials, their float32 sum in order, one division each."""
    (values,) = _all(inputs[:1])
    dtype = values.dtype.name
    (x_scale, _), (y_scale, y_zero) = _pair(inputs[1], None, dtype), _pair(*_tail(inputs), dtype)
    opset = int(node.attributes.get("opset", 13))
    axis = int(node.attributes.get("axis", 1 if opset < 13 else -1)) % values.ndim
    rows, restore = _rows(values, axis, coerce=opset < 13)
    table = tables.softmax_exponentials(float(x_scale), rows.shape[1])
    ordinal = rows.astype(np.int64) - np.iinfo(dtype).min
    powers = table[255 - ordinal.max(axis=1, keepdims=True) + ordinal]
    total = _running_sum(powers)
    factor = np.floor(np.float32(1) / y_scale)
    shares = np.rint(powers * factor / total).astype(np.int64) + y_zero.astype(np.int64)
    limits = np.iinfo(dtype)
    return [restore(np.clip(shares, limits.min, limits.max).astype(dtype))]


def _tail(inputs: Inputs) -> Tuple[Optional[Array], Optional[Array]]:
    return inputs[3], _given(inputs, 4)


def _rows(values: Array, axis: int, coerce: bool) -> Tuple[Array, Callable[[Array], Array]]:
    """Bring what a softmax sums over into rows, and return how to undo it."""
    if coerce:
        count = int(np.prod(values.shape[axis:], dtype=np.int64))
        return values.reshape(-1, count), lambda rows: rows.reshape(values.shape)
    moved = np.swapaxes(values, axis, -1)
    rows = moved.reshape(-1, moved.shape[-1])
    return rows, lambda back: np.swapaxes(back.reshape(moved.shape), axis, -1)


def _running_sum(rows: Array) -> Array:
    """Sum float32 rows from left to right, rounding after each term."""
    total = np.zeros((rows.shape[0], 1), np.float32)
    for column in range(rows.shape[1]):
        total = total + rows[:, column : column + 1]
    return total


def qlinear_global_average_pool(node: Node, inputs: Inputs) -> List[Array]:
    """QLinearGlobalAveragePool: the exact sum times x_scale / (y_scale * count)."""
    (values,) = _all(inputs[:1])
    dtype = values.dtype.name
    source, target = _pair(inputs[1], inputs[2], dtype), _pair(*_tail(inputs), dtype)
    return [_global_average(values, source, target)]


def _global_average(
    values: Array, source: Tuple[Array, Array], target: Tuple[Array, Array]
) -> Array:
    axes = tuple(range(2, values.ndim))
    count = np.float32(np.prod(values.shape[2:], dtype=np.int64))
    total = (values.astype(np.int64) - source[1].astype(np.int64)).sum(axis=axes, keepdims=True)
    scale = source[0] / (target[0] * count)
    return arithmetic.requantize(arithmetic.int32(total), scale, target[1], values.dtype.name)


def qlinear_average_pool(node: Node, inputs: Inputs) -> List[Array]:
    """QLinearAveragePool, in ONNX Runtime's steps: dequantize, sum in order, divide, quantize.

    Every step is one float32 operation for each element. A window over the whole image is a
    global average, in integers.
    """
    (values,) = _all(inputs[:1])
    dtype = values.dtype.name
    source, target = _pair(inputs[1], inputs[2], dtype), _pair(*_tail(inputs), dtype)
    window = window_of(node, values.shape[2:], node.attributes["kernel_shape"])
    if window.kernel == values.shape[2:] and not any(window.begins + window.ends):
        return [_global_average(values, source, target)]
    real = arithmetic.dequantize(values, *source)
    total = _window_sum(window, real)
    if node.attributes.get("count_include_pad", 0):
        count = np.asarray(np.prod(window.kernel, dtype=np.int64), np.float32)
    else:
        count = _window_sum(window, np.ones((1, 1, *values.shape[2:]), np.float32))
    scaled = total / count / target[0] + _float(target[1])
    return [arithmetic.narrow(scaled, dtype)]


def _window_sum(window: Any, values: Array) -> Array:
    from .windows import positions

    padded = window.pad(values, 0.0)
    total = np.zeros((*values.shape[:2], *window.extents), np.float32)
    for _, cut in positions(window):
        total = total + padded[(slice(None), slice(None), *cut)]
    return total


def quantize_linear(node: Node, inputs: Inputs) -> List[Array]:
    """QuantizeLinear, per tensor, per axis or per block."""
    x, scale = _all(inputs[:2])
    zero = _given(inputs, 2)
    dtype = node.attributes.get("output_dtype", "") or "uint8" if zero is None else zero.dtype.name
    scale, zero = _spread(node, x, scale, _zero_point(zero, dtype))
    return [arithmetic.quantize(x, scale, zero, dtype)]


def dequantize_linear(node: Node, inputs: Inputs) -> List[Array]:
    """DequantizeLinear, per tensor, per axis or per block."""
    x, scale = _all(inputs[:2])
    zero = _zero_point(_given(inputs, 2), x.dtype.name)
    return [arithmetic.dequantize(x, *_spread(node, x, scale, zero))]


def _spread(node: Node, x: Array, scale: Array, zero: Array) -> Tuple[Array, Array]:
    """Shape scale and zero point so that they broadcast against the tensor."""
    axis = int(node.attributes.get("axis", 1))
    block = int(node.attributes.get("block_size", 0))
    axis = axis % x.ndim if x.ndim else 0
    if not block:
        return _along(scale, axis, x.ndim), _along(zero, axis, x.ndim)
    spread = [np.repeat(array, block, axis=axis) for array in (scale, zero) if array.ndim]
    cut = [np.take(array, range(x.shape[axis]), axis=axis) for array in spread]
    return (cut[0], cut[1]) if len(cut) == 2 else (cut[0], zero)


def dynamic_quantize_linear(node: Node, inputs: Inputs) -> List[Array]:
    """DynamicQuantizeLinear: uint8 between the least and the greatest value, zero included."""
    (x,) = _all(inputs[:1])
    low = np.minimum(x.min(), np.float32(0)) if x.size else np.float32(0)
    high = np.maximum(x.max(), np.float32(0)) if x.size else np.float32(0)
    scale = np.float32((high - low) / np.float32(255)) if high != low else np.float32(1)
    zero = arithmetic.narrow(np.asarray(np.float32(0) - low / scale), "uint8")
    scaled = arithmetic.quantize(x, np.asarray(scale), zero, "uint8")
    return [scaled, np.asarray(scale), zero]


def _all(inputs: Inputs) -> List[Array]:
    """Return inputs that a node must have. Raises ValueError for one that is left out."""
    arrays = [array for array in inputs if array is not None]
    if len(arrays) != len(inputs):
        raise ValueError("A quantized operator lacks an input that it must have.")
    return arrays


MICROSOFT = "com.microsoft"

OPERATORS: Dict[Tuple[str, str], Callable[[Any, Any], Any]] = {
    ("", "QLinearConv"): qlinear_conv,
    ("", "ConvInteger"): conv_integer,
    ("", "QLinearMatMul"): qlinear_matmul,
    ("", "MatMulInteger"): matmul_integer,
    ("", "QuantizeLinear"): quantize_linear,
    ("", "DequantizeLinear"): dequantize_linear,
    ("", "DynamicQuantizeLinear"): dynamic_quantize_linear,
    (MICROSOFT, "QuantizeLinear"): quantize_linear,
    (MICROSOFT, "DequantizeLinear"): dequantize_linear,
    (MICROSOFT, "QGemm"): qgemm,
    (MICROSOFT, "QLinearAdd"): qlinear_add,
    (MICROSOFT, "QLinearMul"): qlinear_mul,
    (MICROSOFT, "QLinearConcat"): qlinear_concat,
    (MICROSOFT, "QLinearWhere"): qlinear_where,
    (MICROSOFT, "QLinearLeakyRelu"): qlinear_leaky_relu,
    (MICROSOFT, "QLinearSigmoid"): qlinear_sigmoid,
    (MICROSOFT, "QLinearSoftmax"): qlinear_softmax,
    (MICROSOFT, "QLinearAveragePool"): qlinear_average_pool,
    (MICROSOFT, "QLinearGlobalAveragePool"): qlinear_global_average_pool,
}
"""The operator of each domain and name."""
