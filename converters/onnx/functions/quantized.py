"""Quantized operators: sums of integers, exact, and the scales in float32 around them.

Where ONNX has no sum of integers (elements, pooling, activations) it is the operator on reals
between DequantizeLinear and QuantizeLinear.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .body import NotSpelled

if TYPE_CHECKING:
    from .body import Body

FLOAT, INT32 = 1, 6
"""ONNX's numbers of the formats."""


def _real(body: Body, value: int, scale: int, axis: int | None = None) -> str:
    """Return an input as real numbers; its scale is another input, the zero point the next."""
    inputs = [body.input(index) for index in (value, scale, scale + 1)]
    return body.add("DequantizeLinear", *inputs, axis=axis)


def _give(body: Body, value: str, scale: int) -> None:
    """Give real numbers as integers, with a scale that is an input and the zero point after it."""
    body.add("QuantizeLinear", value, body.input(scale), body.input(scale + 1), out=0)


def _requantized(body: Body, total: str, scales: tuple[str, str], scale: int) -> None:
    """Give int32 sums times the scales of both factors over that of the result, saturated."""
    left, right, result = (_single(body, name) for name in (*scales, body.input(scale)))
    factor = body.add("Div", body.add("Mul", left, right), result)
    moved = body.add("Mul", body.add("Cast", total, to=FLOAT), factor)
    one = body.constant(1.0)
    body.add("QuantizeLinear", moved, one, body.input(scale + 1), out=0)


def _single(body: Body, scale: str) -> str:
    """Return a scale in float32, in which the steps are."""
    return body.add("Cast", scale, to=FLOAT) if body.dtype(scale) != "float32" else scale


def _per_channel(body: Body, name: str, rank: int) -> str:
    """Shape a scale of output channels so that it meets axis 1 of a convolution's result."""
    if body.shape(name) in ((), (1,)):
        return name
    return body.add("Reshape", name, body.integers(-1, *[1] * (rank - 2)))


def qlinear_conv(body: Body) -> None:
    """QLinearConv: x, scale, zero; w, scale, zero; scale and zero of y; bias in int32."""
    rank = len(body.shape(body.input(3)))
    inputs = [body.input(index) for index in (0, 3, 2, 5)]
    kept = {
        key: body.attribute(key)
        for key in ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
    }
    total = body.add("ConvInteger", *inputs, **kept)
    if body.input(8):
        shape = body.integers(-1, *[1] * (rank - 2))
        total = body.add("Add", total, body.add("Reshape", body.input(8), shape))
    _requantized(body, total, (body.input(1), _per_channel(body, body.input(4), rank)), 6)


def qlinear_matmul(body: Body) -> None:
    """QLinearMatMul: a, scale, zero; b, scale, zero; scale and zero of y."""
    total = body.add("MatMulInteger", *(body.input(index) for index in (0, 3, 2, 5)))
    left = body.input(1)
    if len(body.shape(left)) == 1 and body.shape(left) != (1,):
        left = body.add("Unsqueeze", left, body.integers(-1))
    _requantized(body, total, (left, body.input(4)), 6)


def qgemm(body: Body) -> None:
    """QGemm: a, scale, zero; b, scale, zero; bias; scale and zero of y, a float without them."""
    a, b = body.input(0), body.input(3)
    a = body.add("Transpose", a, perm=[1, 0]) if body.attribute("transA", 0) else a
    b = body.add("Transpose", b, perm=[1, 0]) if body.attribute("transB", 0) else b
    total = body.add("MatMulInteger", a, b, body.input(2), body.input(5))
    total = body.add("Add", total, body.input(6)) if body.input(6) else total
    left = body.add("Mul", body.input(1), body.constant(body.attribute("alpha", 1.0)))
    if body.input(7):
        _requantized(body, total, (left, body.input(4)), 7)
        return
    scale = body.add("Mul", left, body.input(4))
    body.add("Mul", body.add("Cast", total, to=FLOAT), scale, out=0)


def matmul_integer_to_float(body: Body) -> None:
    """MatMulIntegerToFloat: a, b, their scales, their zero points, bias."""
    total = body.add("MatMulInteger", *(body.input(index) for index in (0, 1, 4, 5)))
    scale = body.add("Mul", body.input(2), body.input(3))
    _scaled(body, total, scale, body.input(6))


def dynamic_quantize_matmul(body: Body) -> None:
    """DynamicQuantizeMatMul: a in floats, b, its scale, its zero point, bias."""
    a, scale, zero = dynamic(body, body.input(0))
    total = body.add("MatMulInteger", a, body.input(1), zero, body.input(3))
    _scaled(body, total, body.add("Mul", scale, body.input(2)), body.input(4))


def _scaled(body: Body, total: str, scale: str, bias: str) -> None:
    real = body.add("Mul", body.add("Cast", total, to=FLOAT), scale, out=None if bias else 0)
    if bias:
        body.add("Add", real, bias, out=0)


def dynamic(body: Body, value: str) -> tuple[str, str, str]:
    """Quantize floats to uint8 between their least and greatest; return scale and zero point too.

    These are the steps of DynamicQuantizeLinear.
    """
    zero, top = body.constant(0.0), body.constant(255.0)
    high = body.add("Max", body.add("ReduceMax", value, keepdims=0), zero)
    low = body.add("Min", body.add("ReduceMin", value, keepdims=0), zero)
    spread = body.add("Div", body.add("Sub", high, low), top)
    nothing = body.add("Equal", spread, zero)
    scale = body.add("Where", nothing, body.constant(1.0), spread)
    place = body.add(
        "Round", body.add("Clip", body.add("Div", body.add("Neg", low), scale), zero, top)
    )
    point = body.add("Cast", place, to=2)
    return body.add("QuantizeLinear", value, scale, point), scale, point


def _of_two(operator: str) -> Callable[[Body], None]:
    def write(body: Body) -> None:
        _give(body, body.add(operator, _real(body, 0, 1), _real(body, 3, 4)), 6)

    return write


def _of_one(operator: str, **defaults: Any) -> Callable[[Body], None]:
    def write(body: Body) -> None:
        if body.attribute("channels_last", 0):
            raise NotSpelled("Channels come last.")
        kept = {key: body.attribute(key, default) for key, default in defaults.items()}
        _give(body, body.add(operator, _real(body, 0, 1), **kept), 3)

    return write


def qlinear_concat(body: Body) -> None:
    """QLinearConcat: scale and zero of y, then each input with its own."""
    count = (len(body.node.input) - 2) // 3
    parts = [_real(body, 2 + 3 * place, 3 + 3 * place) for place in range(count)]
    _give(body, body.add("Concat", *parts, axis=body.attribute("axis")), 0)


def qlinear_where(body: Body) -> None:
    """QLinearWhere: condition; x, scale, zero; y, scale, zero; scale and zero of the result."""
    chosen = body.add("Where", body.input(0), _real(body, 1, 2), _real(body, 4, 5))
    _give(body, chosen, 7)


def qlinear_softmax(body: Body) -> None:
    """QLinearSoftmax, whose attribute tells the opset of the Softmax that it stands for."""
    opset, axis = body.attribute("opset", 13), body.attribute("axis", -1)
    if opset < 13 and axis not in (-1, len(body.shape(body.input(0))) - 1):
        raise NotSpelled("All axes from one on count as one.")
    _give(body, body.add("Softmax", _real(body, 0, 1), axis=axis), 3)


def _same(operator: str) -> Callable[[Body], None]:
    """Stand for ONNX's own operator of that name."""

    def write(body: Body) -> None:
        body.add(operator, *body.node.input, out=0, axis=body.attribute("axis"))

    return write


POOLING = dict.fromkeys(
    ("auto_pad", "ceil_mode", "count_include_pad", "kernel_shape", "pads", "strides")
)

FUNCTIONS = {
    "QLinearConv": qlinear_conv,
    "QLinearMatMul": qlinear_matmul,
    "com.microsoft.DequantizeLinear": _same("DequantizeLinear"),
    "com.microsoft.DynamicQuantizeMatMul": dynamic_quantize_matmul,
    "com.microsoft.MatMulIntegerToFloat": matmul_integer_to_float,
    "com.microsoft.QGemm": qgemm,
    "com.microsoft.QLinearAdd": _of_two("Add"),
    "com.microsoft.QLinearAveragePool": _of_one("AveragePool", **POOLING),
    "com.microsoft.QLinearConcat": qlinear_concat,
    "com.microsoft.QLinearGlobalAveragePool": _of_one("GlobalAveragePool"),
    "com.microsoft.QLinearLeakyRelu": _of_one("LeakyRelu", alpha=0.01),
    "com.microsoft.QLinearMul": _of_two("Mul"),
    "com.microsoft.QLinearSigmoid": _of_one("Sigmoid"),
    "com.microsoft.QLinearSoftmax": qlinear_softmax,
    "com.microsoft.QLinearWhere": qlinear_where,
    "com.microsoft.QuantizeLinear": _same("QuantizeLinear"),
}
