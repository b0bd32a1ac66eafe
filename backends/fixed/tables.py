"""Tables of what an 8-bit operator gives for each of the 256 inputs, without a libm.

Exponentials are computed with Python's decimal numbers to 50 digits and rounded once, so that a
table does not depend on the machine's mathematics library. Tables are indexed by the bit pattern
of the input: an int8 of -1 is entry 255.
"""

from __future__ import annotations

from decimal import Context, Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from typing import Callable

    from .operands import Scale

    Array = np.ndarray[Any, Any]

DIGITS = Context(prec=50)

FLOAT32_MAX = float(np.finfo(np.float32).max)


def every(dtype: str) -> Array:
    """Return all 256 values of an 8-bit type, ordered by bit pattern."""
    return np.arange(256).astype(np.uint8).view(dtype)


def look_up(table: Array, values: Array) -> Array:
    """Replace each 8-bit value by its entry."""
    return np.asarray(table[values.view(np.uint8)])


def transfer(function: Callable[[Array], Array], source: Scale, target: Scale) -> Array:
    """Return the table of a float32 function between two quantized tensors."""
    return target.quantize(function(source.dequantize(every(source.dtype))))


def leaky_relu(alpha: float) -> Callable[[Array], Array]:
    """Return the function that multiplies what is negative by `alpha`, in float32."""
    return lambda x: np.where(x >= 0, x, np.float32(alpha) * x)


def sigmoid(values: Array) -> Array:
    """Return the logistic function of each value, rounded to float64 and that to float32."""
    return np.array([_sigmoid(float(x)) for x in values.ravel()], np.float32).reshape(values.shape)


@lru_cache(maxsize=1 << 16)
def _sigmoid(value: float) -> float:
    decay = DIGITS.exp(Decimal(-abs(value)))
    part = DIGITS.divide(decay if value < 0 else Decimal(1), DIGITS.add(1, decay))
    return float(part)


@lru_cache(maxsize=256)
def softmax_exponentials(scale: float, count: int) -> Array:
    """Return exp((i - 255 + shift) * scale) for i from 0 to 255 as float32, ONNX Runtime's table.

    The shift uses the range of float32: the greatest entry, times `count` of them, times e**5,
    is still finite. Softmax is the same with any shift but for rounding.
    """
    room = float(DIGITS.ln(Decimal(float(np.float32(FLOAT32_MAX) / np.float32(count)))))
    shift = max(0.0, room - 5.0) / scale
    exponents = [(index - 255.0 + shift) * scale for index in range(256)]
    return np.array([float(DIGITS.exp(Decimal(x))) for x in exponents]).astype(np.float32)
