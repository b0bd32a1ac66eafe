"""The steps between integers and scales, each correctly rounded, so the same on every machine.

Nothing here depends on the CPU, the number of threads or a mathematics library: integers are
exact, and what is left of floating point are single IEEE 754 operations on each element, which
NumPy cannot fuse or reorder. Scales are float32, as in ONNX, and every rounding is to nearest,
ties to even, as ONNX Runtime's kernels do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]


def int32(values: Array) -> Array:
    """Return integers modulo 2**32 as int32: what a 32-bit accumulator holds, by ONNX's rule."""
    return np.asarray(values, np.int64).astype(np.int32)


def requantize(accumulator: Array, scale: Array, zero_point: Array, dtype: str) -> Array:
    """Scale int32 accumulators into 8 bits: one float32 product, clamp, round, add zero point.

    `scale` and `zero_point` broadcast against the accumulator.
    """
    return saturate(accumulator.astype(np.float32) * scale, zero_point, dtype)


def quantize(values: Array, scale: Array, zero_point: Array, dtype: str) -> Array:
    """Divide float32 values by their scale, clamp, round, add zero point: ONNX's QuantizeLinear.

    NaN becomes the least integer, as in ONNX Runtime.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return saturate(values.astype(np.float32) / scale, zero_point, dtype)


def dequantize(values: Array, scale: Array, zero_point: Array) -> Array:
    """Return (values - zero_point) * scale in float32: ONNX's DequantizeLinear."""
    if values.dtype.kind == "f":
        return np.asarray((values - zero_point).astype(np.float32) * scale, np.float32)
    difference = values.astype(np.int64) - zero_point.astype(np.int64)
    return np.asarray(difference.astype(np.float32) * scale, np.float32)


def saturate(scaled: Array, zero_point: Array, dtype: str) -> Array:
    """Clamp float32 values to what the type holds, round them and add the zero point."""
    limits = np.iinfo(dtype)
    offset = np.asarray(zero_point, np.int32)
    low = (np.int32(limits.min) - offset).astype(np.float32)
    high = (np.int32(limits.max) - offset).astype(np.float32)
    rounded = np.rint(np.fmin(np.fmax(scaled, low), high)).astype(np.int32)
    return np.asarray(rounded + offset, dtype)


def narrow(values: Array, dtype: str) -> Array:
    """Round float32 values that have their zero point in them already, and clamp them."""
    limits = np.iinfo(dtype)
    rounded = np.rint(np.fmin(np.fmax(values, np.float32(limits.min)), np.float32(limits.max)))
    return np.asarray(rounded, dtype)


def fused_multiply_add(factor: Array, scale: Array, addend: Array) -> Array:
    """Return factor * scale + addend of float32 values, rounded to float32 once.

    The product is exact in float64. The sum is rounded to odd there: where it is not exact and
    its last bit is even, it moves to the odd neighbour on the side of the exact value. Rounding
    that to float32 gives what rounding the exact value gives.
    """
    product = np.multiply(factor, scale, dtype=np.float64)
    addend = np.asarray(addend, np.float64)
    total = np.asarray(product + addend)
    part = total - product
    error = (product - (total - part)) + (addend - part)
    bits = total.view(np.int64)
    step = np.where((error > 0) == (total > 0), 1, -1)
    odd = np.where((error != 0) & (bits & 1 == 0), bits + step, bits)
    return odd.view(np.float64).astype(np.float32)
