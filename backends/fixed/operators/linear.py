"""Convolutions and matrix products of quantized tensors: exact sums, one scaling at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xbackend.worker.geometry.sliding_window import window_of

from .. import arithmetic, products
from ..operands import MICROSOFT, along, given, need, per_column, per_row, zero_or

if TYPE_CHECKING:
    from typing import Callable, Dict, List, Optional, Tuple

    from xbackend.worker.graph import Node

    Array = np.ndarray[Any, Any]
    Inputs = List[Optional[Array]]


def qlinear_conv(node: Node, inputs: Inputs) -> List[Array]:
    """QLinearConv: int32 accumulators, bias among them, times x_scale * w_scale / y_scale."""
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero = (need(inputs, i) for i in range(8))
    total = _convolve(node, x, x_zero, w, w_zero)
    bias = given(inputs, 8)
    if bias is not None:
        total = total + along(bias.astype(np.int64), 1, total.ndim)
    scale = along(x_scale * w_scale / y_scale, 1, total.ndim)
    zero = y_zero.reshape(())
    return [arithmetic.requantize(arithmetic.int32(total), scale, zero, zero.dtype.name)]


def conv_integer(node: Node, inputs: Inputs) -> List[Array]:
    """ConvInteger: the int32 accumulators themselves."""
    x, w = need(inputs, 0), need(inputs, 1)
    x_zero = zero_or(given(inputs, 2), x.dtype.name)
    w_zero = zero_or(given(inputs, 3), w.dtype.name)
    return [arithmetic.int32(_convolve(node, x, x_zero, w, w_zero))]


def _convolve(node: Node, x: Array, x_zero: Array, w: Array, w_zero: Array) -> Array:
    window = window_of(node, x.shape[2:], w.shape[2:])
    image = products.centred(x, x_zero.reshape(()))
    kernel = products.centred(w, along(w_zero, 0, w.ndim))
    return products.convolve(image, kernel, int(node.attributes.get("group", 1)), window)


def qlinear_matmul(node: Node, inputs: Inputs) -> List[Array]:
    """QLinearMatMul; scales and zero points may be per row of the left, per column of the right."""
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = (need(inputs, i) for i in range(8))
    scale = per_row(a_scale) * per_column(b_scale) / per_row(y_scale)
    total = arithmetic.int32(products.matmul(a, per_row(a_zero), b, per_column(b_zero)))
    return [arithmetic.requantize(total, scale, per_row(y_zero), y_zero.dtype.name)]


def matmul_integer(node: Node, inputs: Inputs) -> List[Array]:
    """MatMulInteger: the int32 accumulators themselves."""
    a, b = need(inputs, 0), need(inputs, 1)
    a_zero = per_row(zero_or(given(inputs, 2), a.dtype.name))
    b_zero = per_column(zero_or(given(inputs, 3), b.dtype.name))
    return [arithmetic.int32(products.matmul(a, a_zero, b, b_zero))]


def qgemm(node: Node, inputs: Inputs) -> List[Array]:
    """QGemm of com.microsoft; float32 accumulators times scale where it has no y_scale."""
    accumulator = arithmetic.int32(_gemm(node, inputs))
    alpha = np.float32(node.attributes.get("alpha", 1.0))
    scale = alpha * need(inputs, 1).reshape(()) * per_column(need(inputs, 4))
    y_scale, y_zero = given(inputs, 7), given(inputs, 8)
    if y_scale is None or y_zero is None:
        return [accumulator.astype(np.float32) * scale]
    scale, zero = scale / y_scale.reshape(()), y_zero.reshape(())
    return [arithmetic.requantize(accumulator, scale, zero, zero.dtype.name)]


def _gemm(node: Node, inputs: Inputs) -> Array:
    a, b, bias = need(inputs, 0), need(inputs, 3), given(inputs, 6)
    left = a.T if node.attributes.get("transA", 0) else a
    right = b.T if node.attributes.get("transB", 0) else b
    zeros = need(inputs, 2).reshape(()), per_column(need(inputs, 5))
    total = products.matmul(left, zeros[0], right, zeros[1])
    return total if bias is None else total + bias.astype(np.int64)


OPERATORS: Dict[Tuple[str, str], Callable[[Any, Any], Any]] = {
    ("", "QLinearConv"): qlinear_conv,
    ("", "ConvInteger"): conv_integer,
    ("", "QLinearMatMul"): qlinear_matmul,
    ("", "MatMulInteger"): matmul_integer,
    (MICROSOFT, "QGemm"): qgemm,
}
"""The operator of each domain and name."""
