"""The error that is allowed of each element, and both in the units that are shown."""

from __future__ import annotations

import numpy as np

from xbackend.numerics.float64_error import round_bits
from xbackend.numerics.floats import FORMATS
from xbackend.worker.tensor import Tensor, cast, storage_dtype

from .arithmetic import Arithmetic, Array, gamma, roundoff, smallest_normal
from .bound import Bound, Layer

TIE = 0.5
"""Half a step of whole numbers."""
NOISE = 1e-6
"""Share of a bound from which what is allowed beside roundings is told with it."""


def allowed_errors(layer: Layer, bound: Bound, arithmetic: Arithmetic, exact: Array) -> Array:
    """Return the error that is allowed of each element."""
    if bound.moves and not bound.rounds_once:
        return np.zeros(())
    if bound.moves and layer.dtype in FORMATS:
        return np.asarray(np.abs(rounded(exact, layer.dtype) - exact))
    unit = arithmetic.roundoff
    limit = np.asarray(bound.limit, np.float64) * arithmetic.slack
    if layer.dtype == "float64":
        limit = 2 * limit + 1
    rounding = gamma(limit, unit) * bound.scale
    rounding = np.where(np.asarray(bound.scale) == 0, 0.0, rounding)
    whole = rounding + floor_of(layer, bound, arithmetic)
    if arithmetic.keeps and bound.condition is not None:
        whole = whole + roundoff(layer.dtype) * np.asarray(bound.condition)
    if arithmetic.result and layer.dtype in FORMATS:
        half = roundoff(arithmetic.result)
        whole = whole + half * (np.abs(exact) + whole)
    return np.asarray(whole)


def floor_of(layer: Layer, bound: Bound, arithmetic: Arithmetic) -> Array | float:
    """Return what is allowed of every element however small it is."""
    return bound.absolute + _underflow(bound, arithmetic)


def _underflow(bound: Bound, arithmetic: Arithmetic) -> float:
    result = smallest_normal(arithmetic.result) / 2 if arithmetic.result else 0.0
    return bound.underflows * arithmetic.tiny + result


def counted_units(
    layer: Layer, bound: Bound, arithmetic: Arithmetic, found: tuple[Array, Array, Array, Array]
) -> tuple[Array, Array]:
    """Return errors and what is allowed of each in units of u, one within the other as it judged.

    What underflows is in neither; of whole numbers both are steps.
    """
    recorded, exact, allowed, error = found
    unit = roundoff(sums_format(layer.dtype))
    if layer.dtype not in FORMATS:
        steps = np.maximum(np.floor(allowed + TIE), 0.0 if bound.moves else 1.0)
        return np.abs(recorded - np.rint(exact)), steps
    if bound.moves:
        return error / unit, allowed / unit
    limit = np.asarray(bound.limit, np.float64) * arithmetic.slack
    limit = 2 * limit + 1 if layer.dtype == "float64" else limit
    counted = limit * (arithmetic.roundoff / unit)
    scale, tiny = np.asarray(bound.scale), _underflow(bound, arithmetic)
    beside = allowed - tiny - gamma(limit, arithmetic.roundoff) * scale
    more = np.where(scale > 0, beside / (unit * scale), 0.0)
    limits = counted + np.where(np.isfinite(more) & (more > NOISE * counted), more, 0.0)
    share = np.maximum(error - tiny, 0.0) / np.maximum(allowed - tiny, 1e-300)
    return share * limits, limits


def rounded(values: Array, dtype: str) -> Array:
    """Return numbers as a format holds them, in float64; whole numbers for integers."""
    if dtype not in FORMATS:
        return np.rint(values)
    if dtype == "float32":
        with np.errstate(over="ignore", invalid="ignore"):
            return values.astype(np.float32).astype(np.float64)
    flat = np.ascontiguousarray(values, np.float64).reshape(-1)
    bits = round_bits(flat, dtype).view(storage_dtype(dtype))
    held = cast(Tensor(dtype, bits), "float64" if dtype != "bfloat16" else "float32").array
    return held.astype(np.float64).reshape(values.shape)


def sums_format(dtype: str) -> str:
    """Return the format in which results of a format are added up: float32 of whole numbers."""
    return dtype if dtype in FORMATS else "float32"
