"""Bounds of quantized operators: exact integers, and one step where a scaled value is at a tie."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from xbackend.worker.geometry.sliding_window import Window, kernel_positions, window_of
from xbackend.worker.graph import Node

from .arithmetic import roundoff
from .bound import INTEGERS, NOTHING, Array, Bound, Layer, Rule

TIE = 0.5
"""Half a step: what rounding to a whole number moves a value by."""
SCALING = 5.0
"""Roundings of the scales' product and quotient, and of what is multiplied by it."""
DYNAMIC_LEVELS = 255
"""Steps between the least and the greatest element of DynamicQuantizeLinear."""
TABLE_ERROR = 16.0
"""Roundings of what a table holds of a function."""


def along(values: Array, axis: int, rank: int) -> Array:
    """Shape a scale so that it meets its elements: one for all, or one for each along an axis."""
    if values.size == 1:
        return values.reshape(()).astype(np.float64)
    if values.ndim != 1:
        raise LookupError("it is quantized in blocks")
    shape = [1] * rank
    shape[axis] = -1
    return values.reshape(shape).astype(np.float64)


def levels(layer: Layer, real: Array, zero: Array | float, roundings: float = SCALING) -> Bound:
    """Bound whole numbers by the real ones that they are rounded from, saturated."""
    limits = np.iinfo(layer.dtype)
    wanted = np.clip(real + zero, limits.min, limits.max)
    slack = roundings * roundoff("float32") * (np.abs(real) + np.abs(zero))
    return Bound(1.0, 0.0, 0.0, absolute=TIE + slack, underflows=0.0, exact=wanted)


def _zero(layer: Layer, place: int) -> Array:
    return layer.input(place).astype(np.float64) if layer.has(place) else np.zeros(())


def _real(layer: Layer, place: int, axis: int = 1) -> Array:
    """Return an operand of which scale and zero point follow, as the numbers that it stands for."""
    x = layer.input(place).astype(np.float64)
    scale, zero = layer.input(place + 1), _zero(layer, place + 2)
    return (x - along(zero, axis, x.ndim)) * along(scale, axis, x.ndim)


def _requantized(layer: Layer, real: Array, place: int, roundings: float = SCALING) -> Bound:
    scale = layer.input(place).reshape(()).astype(np.float64)
    return levels(layer, real / scale, _zero(layer, place + 1).reshape(()), roundings)


def quantize(layer: Layer) -> Bound:
    """Divide by the scale and round to a whole number."""
    if layer.attributes.get("block_size"):
        raise LookupError("it is quantized in blocks")
    x = layer.input(0)
    axis = int(layer.attributes.get("axis", 1)) % max(x.ndim, 1)
    scale, zero = layer.input(1), _zero(layer, 2)
    return levels(layer, x / along(scale, axis, x.ndim), along(zero, axis, x.ndim))


def dequantize(layer: Layer) -> Bound:
    """Multiply a difference of integers by the scale, rounding once."""
    if layer.attributes.get("block_size"):
        raise LookupError("it is quantized in blocks")
    rank = max(len(layer.shape), 1)
    real = _real(layer, 0, int(layer.attributes.get("axis", 1)) % rank)
    return Bound(np.abs(real), 1.0, 1.0, exact=real, rounds_once=True)


def linear(layer: Layer) -> Bound:
    """Scale an exact sum of integers: QLinearConv and QLinearMatMul."""
    weights = layer.input(4)
    columns = layer.operator == "QLinearMatMul"
    axis = len(layer.shape) - 1 if columns else 1
    if weights.ndim > 1 and weights.size > 1:
        raise LookupError("its scales have several axes")
    factor = layer.input(1).reshape(()) * along(weights, axis, len(layer.shape))
    real = layer.truth * factor / layer.input(6).reshape(())
    return levels(layer, real, _zero(layer, 7).reshape(()))


def general(layer: Layer) -> Bound:
    """Scale an exact sum of integers with its bias: QGemm, which may give floats."""
    rank = len(layer.shape)
    factor = layer.input(1).reshape(()) * along(layer.input(4), rank - 1, rank)
    real = layer.truth * factor * float(layer.attributes.get("alpha", 1.0))
    if not layer.has(7):
        return Bound(np.abs(real), SCALING, SCALING, exact=real)
    return levels(layer, real / layer.input(7).reshape(()), _zero(layer, 8).reshape(()))


def softmax(layer: Layer) -> Bound:
    """Bring the shares of exponentials, of a table of float32, to the output's scale."""
    x = (layer.input(0).astype(np.float64)) * layer.input(1).reshape(())
    old = int(layer.attributes.get("opset", 13)) < 13
    axis = int(layer.attributes.get("axis", 1 if old else -1)) % x.ndim
    axes = tuple(range(axis, x.ndim)) if old else (axis,)
    powers = np.exp(x - x.max(axes, keepdims=True))
    shares = powers / powers.sum(axes, keepdims=True)
    return _requantized(layer, shares, 3, TABLE_ERROR + powers.shape[axis])


def integer(layer: Layer) -> Bound:
    """Take a sum of integers as it is: ConvInteger and MatMulInteger."""
    return Bound(1.0, 0.0, 0.0, underflows=0.0, moves=True)


def binary(function: Callable[[Array, Array], Array]) -> Callable[[Layer], Bound]:
    """Return the bound of QLinearAdd or QLinearMul."""

    def bound(layer: Layer) -> Bound:
        a, b = _real(layer, 0), _real(layer, 3)
        found = _requantized(layer, function(a, b), 6)
        size = (np.abs(a) + np.abs(b)) / layer.input(6).reshape(())
        slack = SCALING * roundoff("float32") * np.broadcast_to(size, layer.shape)
        return Bound(1.0, 0.0, 0.0, absolute=found.absolute + slack, exact=found.exact)

    return bound


def unary(function: Callable[[Layer, Array], Array]) -> Callable[[Layer], Bound]:
    """Return the bound of a quantized function of elements, as a table holds it."""

    def bound(layer: Layer) -> Bound:
        return _requantized(layer, function(layer, _real(layer, 0)), 3, TABLE_ERROR)

    return bound


def _leaky(layer: Layer, x: Array) -> Array:
    return np.where(x >= 0, x, float(layer.attributes.get("alpha", 0.01)) * x)


def _sigmoid(layer: Layer, x: Array) -> Array:
    del layer
    return np.asarray(1 / (1 + np.exp(-x)))


def _pooled(layer: Layer, x: Array) -> Array:
    if int(layer.attributes.get("channels_last", 0)):
        raise LookupError("its channels lie last")
    return np.asarray(x.mean(tuple(range(2, x.ndim)), keepdims=True))


def concat(layer: Layer) -> Bound:
    """Bring every operand to one scale, then join them."""
    parts = [_real(layer, place) for place in range(2, len(layer.shapes), 3)]
    return _requantized(layer, np.concatenate(parts, int(layer.attributes["axis"])), 0)


def average_pool(layer: Layer) -> Bound:
    """Average what the integers stand for, in float32, over a window that moves."""
    told = dict(layer.attributes)
    if int(told.get("channels_last", 0)):
        raise LookupError("its channels lie last")
    node = Node(layer.operator, "", "", (), (), told)
    x = _real(layer, 0)
    window = window_of(node, x.shape[2:], told["kernel_shape"])
    total, size = (sum(_seen(window, each)) for each in (x, np.abs(x)))
    counts = np.asarray(window.counts(bool(told.get("count_include_pad", 0))), np.float64)
    mean, reach = (np.asarray(each) / counts.reshape(window.extents) for each in (total, size))
    found = _requantized(layer, mean, 3, TABLE_ERROR)
    terms = math.prod(window.kernel)
    slack = terms * roundoff("float32") * reach / layer.input(3).reshape(())
    return replace(found, absolute=found.absolute + slack)


def _seen(window: Window, x: Array) -> Iterator[Array]:
    """Yield what each place of a window sees at once."""
    padded = window.pad(x, 0.0)
    return (np.asarray(padded[index]) for _, index in kernel_positions(window))


def choice(layer: Layer) -> Bound:
    """Take one of two operands, and bring it to the output's scale."""
    chosen = np.where(layer.input(0), _real(layer, 1), _real(layer, 4))
    return _requantized(layer, chosen, 7)


def dynamic(layer: Layer) -> Bound:
    """Take scale and zero point from the least and the greatest element, and quantize by them."""
    x = layer.input(0)
    low, high = min(0.0, float(x.min(initial=0.0))), max(0.0, float(x.max(initial=0.0)))
    scale = (high - low) / DYNAMIC_LEVELS
    if layer.output == 1:
        return Bound(scale, 3.0, 2.0, exact=np.asarray(scale))
    if not scale:
        raise LookupError("all that it reads is 0, which no scale is defined of")
    place = np.asarray(-low / scale)
    if layer.output:
        return levels(layer, place, 0.0)
    doubt = abs(float(place) % 1 - TIE) < SCALING * roundoff("float32") * float(place)
    found = levels(layer, x / scale, np.rint(place))
    return replace(found, absolute=found.absolute + float(doubt))


RULES: Mapping[str, Rule] = {
    "DynamicQuantizeLinear": Rule(dynamic, NOTHING, reads=True),
    "QLinearAveragePool": Rule(average_pool, NOTHING, reads=True),
    "QLinearWhere": Rule(choice, NOTHING, reads=True),
    "QuantizeLinear": Rule(quantize, NOTHING, reads=True),
    "DequantizeLinear": Rule(dequantize, NOTHING, reads=True),
    "QLinearConv": Rule(linear, INTEGERS, reads=True),
    "QLinearMatMul": Rule(linear, INTEGERS, reads=True),
    "QGemm": Rule(general, INTEGERS, reads=True),
    "QLinearSoftmax": Rule(softmax, NOTHING, reads=True),
    "ConvInteger": Rule(integer, INTEGERS),
    "MatMulInteger": Rule(integer, INTEGERS),
    "QLinearAdd": Rule(binary(np.add), NOTHING, reads=True),
    "QLinearMul": Rule(binary(np.multiply), NOTHING, reads=True),
    "QLinearLeakyRelu": Rule(unary(_leaky), NOTHING, reads=True),
    "QLinearSigmoid": Rule(unary(_sigmoid), NOTHING, reads=True),
    "QLinearGlobalAveragePool": Rule(unary(_pooled), NOTHING, reads=True),
    "QLinearConcat": Rule(concat, NOTHING, reads=True),
}
