"""Rounding or fault: what one layer gave, held against its right values and its bound."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from xbackend.numerics.floats import FORMATS

from .allowance import allowed_errors, counted_units, floor_of, rounded, sums_format
from .arithmetic import (
    Arithmetic,
    Array,
    gamma,
    is_representable,
    largest,
    roundoff,
    smallest_normal,
)
from .bound import Bound, Layer
from .judgement import BEYOND, EXACT, ROUNDING, Judgement, Worst, merged
from .pieces import pieces_of

UNUSUAL = 4.0
"""Factor on the usual size from which a layer is pointed at."""
HALF = ("float16", "bfloat16")
PRODUCTS = (
    Arithmetic("TF32 products", "float32", 11, slack=4.0),
    Arithmetic("TF32 products", "float32", 11, truncates=True, slack=4.0),
    Arithmetic("bfloat16 products", "float32", 8, slack=4.0),
    Arithmetic("bfloat16 products", "float32", 8, truncates=True, slack=4.0),
)
"""What matrix units do to float32, tried by rounding the operands before the float64 evaluation."""
EVIDENCE = 8
"""Different results, all of a narrower format, from which a layer is taken to compute in it."""
NARROWED_LIMIT = 3.0
"""Roundings more where operands are rounded to a narrower format and the result is."""


def own_arithmetics(dtype: str) -> tuple[Arithmetic, ...]:
    """Return what a run in a format may compute in, the most precise first."""
    if dtype in HALF:
        kept = f"{dtype}, float32 between layers"
        return (
            Arithmetic(dtype, "float32", result=dtype),
            Arithmetic(dtype, dtype),
            Arithmetic(kept, "float32", result=dtype, keeps=True),
        )
    return (Arithmetic(dtype if dtype in FORMATS else "float32", sums_format(dtype)),)


def narrower_arithmetics(dtype: str, recorded: Array) -> tuple[Arithmetic, ...]:
    """Return the narrower formats whose numbers all results of a run in a wider one are.

    None where there are too few different results to tell: a few zeros are numbers of any format.
    """
    if np.unique(recorded[recorded != 0]).size < EVIDENCE:
        return ()
    names = {"float32": HALF, "float64": ("float32", *HALF)}.get(dtype, ())
    wide = "float32"
    return tuple(
        one
        for name in names
        if is_representable(recorded, name)
        for one in (Arithmetic(name, wide, result=name), Arithmetic(name, name))
    )


def judge(layer: Layer, bound: Bound, products: Sequence[Arithmetic] = ()) -> Judgement:
    """Hold what was recorded against the bound, in the run's own format or one that explains it.

    `products` are arithmetics for which the layer's right values were computed with operands
    rounded already: then only these are tried.
    """
    recorded = layer.recorded
    assert recorded is not None
    if bound.moves and _is_same(layer, bound):
        return _moved(layer, bound)
    if bound.moves and (other := _other_integers(layer, bound)):
        return other
    tried = products or own_arithmetics(layer.dtype)
    usable = [each for each in tried if not (each.keeps and bound.condition is None)]
    found: list[Judgement] = []
    for each in usable:
        found.append(_judge(layer, bound, each))
        if found[-1].verdict != BEYOND:
            return found[-1]
    if bound.moves or products:
        return found[0]
    widened = replace(bound, limit=np.asarray(bound.limit) + NARROWED_LIMIT)
    others = (_judge(layer, widened, each) for each in narrower_arithmetics(layer.dtype, recorded))
    return next((each for each in others if each.verdict != BEYOND), found[0])


def _is_same(layer: Layer, bound: Bound) -> bool:
    """Tell at once whether what only moves numbers gave the right ones."""
    exact = layer.exact if bound.exact is None else bound.exact
    recorded = layer.recorded
    assert exact is not None
    assert recorded is not None
    return bool(np.array_equal(recorded, exact) or np.array_equal(recorded, exact, equal_nan=True))


def _moved(layer: Layer, bound: Bound) -> Judgement:
    elements = math.prod(layer.shape)
    name = own_arithmetics(layer.dtype)[0].name
    odd, left = _not_finite(layer.recorded), bound.undefined
    return Judgement(
        EXACT, name, bound.terms, 0.0, 0.0, 0.0, 0, 0, elements, 0, 0.0, odd, 0, None, left
    )


def _other_integers(layer: Layer, bound: Bound) -> Judgement | None:
    """Judge other whole numbers than the right ones, which float64 may not tell apart."""
    recorded = layer.recorded
    assert recorded is not None
    exact = np.asarray(layer.truth if bound.exact is None else bound.exact)
    if recorded.dtype.kind not in "iu" or exact.dtype.kind not in "iu":
        return None
    if recorded.shape != exact.shape:
        exact = np.broadcast_to(exact, recorded.shape)
    steps = np.abs(recorded.astype(np.float64) - exact.astype(np.float64))
    steps = np.where(recorded == exact, 0.0, np.maximum(steps, 1.0))
    where = np.unravel_index(int(steps.argmax()), steps.shape)
    index = tuple(int(n) for n in where)
    worst = Worst(index, float(recorded[index]), float(exact[index]), 0.0)
    return replace(
        _moved(layer, bound),
        verdict=BEYOND,
        error=float(steps.max()),
        beyond=int(np.count_nonzero(steps)),
        worst=worst,
    )


def _not_finite(recorded: Array | None) -> int:
    if recorded is None or recorded.dtype.kind != "f":
        return 0
    return int(recorded.size - np.count_nonzero(np.isfinite(recorded)))


def _judge(layer: Layer, bound: Bound, arithmetic: Arithmetic) -> Judgement:
    """Judge a layer, piece by piece where it is large."""
    pieces = []
    for offset, part, own in pieces_of(layer, bound):
        found = _judge_piece(part, own, arithmetic)
        pieces.append(
            found if found.worst is None else replace(found, worst=found.worst.at(offset))
        )
    return pieces[0] if len(pieces) == 1 else merged(pieces)


def _judge_piece(layer: Layer, bound: Bound, arithmetic: Arithmetic) -> Judgement:
    recorded = np.asarray(layer.recorded, np.float64)
    exact = np.asarray(layer.truth if bound.exact is None else bound.exact, np.float64)
    if recorded.shape != exact.shape:
        exact = np.broadcast_to(exact, recorded.shape)
    if (quick := _quick(layer, bound, arithmetic, recorded, exact)) is not None:
        return quick
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        allowed = np.broadcast_to(allowed_errors(layer, bound, arithmetic, exact), recorded.shape)
        error = np.abs(recorded - exact)
    if bound.moves and bound.exact is not None and bound.exact.dtype.kind in "iu":
        # float64 does not tell all of 64 bits apart
        error = np.where(
            np.not_equal(np.asarray(layer.recorded), bound.exact), np.maximum(error, 1.0), 0.0
        )
    if np.isfinite(error).all():
        never = np.zeros((), bool)
        return _summed(
            layer, bound, arithmetic, (recorded, exact, allowed, error, never, error > allowed)
        )
    same = (recorded == exact) | (np.isnan(recorded) & np.isnan(exact))
    error = np.where(same, 0.0, error)
    over = _overflowed(layer, bound, arithmetic, recorded, exact, allowed)
    lost = ~np.isfinite(exact) & ~same & ~_spoilt(recorded, exact, bound, arithmetic)
    beyond = ~over & ~same & (~(error <= allowed) & np.isfinite(exact) | lost)
    return _summed(layer, bound, arithmetic, (recorded, exact, allowed, error, over, beyond))


def _quick(
    layer: Layer, bound: Bound, arithmetic: Arithmetic, recorded: Array, exact: Array
) -> Judgement | None:
    """Judge in few passes what is finite and well within its bound.

    None where that is not so, or the format is a narrower one.
    """
    scale, unit = np.asarray(bound.scale), arithmetic.roundoff
    narrow = arithmetic.result or arithmetic.keeps or bound.moves or layer.dtype not in FORMATS
    several = np.ndim(bound.limit) or np.ndim(bound.usual) or scale.shape != recorded.shape
    if narrow or several or not recorded.size:
        return None
    limit, usual = float(bound.limit), float(bound.usual)
    most = _gamma(limit * arithmetic.slack, unit)
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        error = np.subtract(recorded, exact, out=np.empty(recorded.shape))
        np.abs(error, out=error)
        error /= scale + bound.underflows * arithmetic.tiny
    place = int(error.argmax())
    peak = float(error.flat[place])
    if not peak <= most:
        return None
    floor = float(np.broadcast_to(floor_of(layer, bound, arithmetic), error.shape).flat[place])
    index = tuple(int(n) for n in np.unravel_index(place, error.shape))
    allowed = most * float(scale[index]) + floor
    worst = Worst(index, float(recorded[index]), float(exact[index]), allowed)
    threshold = UNUSUAL * _gamma(usual, unit)
    own = arithmetic.name == layer.dtype and not bound.rounds_once and peak > threshold
    return Judgement(
        verdict=EXACT if _has_right_bits(layer, bound, recorded, exact) else ROUNDING,
        arithmetic=arithmetic.name,
        terms=bound.terms,
        error=peak / most * limit * arithmetic.slack if peak else 0.0,
        limit=limit * arithmetic.slack,
        usual=usual,
        unusual=int((error > threshold).sum()) if own else 0,
        beyond=0,
        elements=error.size,
        overflowed=0,
        peak=0.0,
        not_finite=0,
        flushed=_flushed(layer, recorded, exact),
        worst=worst if peak > 0 else None,
    )


def _gamma(roundings: float, unit: float) -> float:
    """Return what `gamma` does, of one number."""
    product = roundings * unit
    return product / (1 - product) if product < 1 else math.inf


def _spoilt(recorded: Array, exact: Array, bound: Bound, arithmetic: Arithmetic) -> Array:
    """Tell where both are not finite in ways that an order of summation can decide.

    What was recorded as infinite may have been finite where it was handed on.
    """
    if bound.moves:
        return np.zeros(recorded.shape, bool)
    if arithmetic.keeps:
        return np.ones(recorded.shape, bool)
    once = bound.rounds_once and np.ndim(bound.limit) == 0 and float(bound.limit) == 1
    if once and not np.any(bound.absolute):  # one operation, which has no order
        return np.zeros(recorded.shape, bool)
    return np.asarray(np.isnan(recorded) | (np.isnan(exact) & ~np.isfinite(recorded)))


def _overflowed(
    layer: Layer,
    bound: Bound,
    arithmetic: Arithmetic,
    recorded: Array,
    exact: Array,
    allowed: Array,
) -> Array:
    """Tell where a result is not finite as the format, or a partial sum in it, ends there."""
    if bound.moves and not (bound.rounds_once and layer.dtype in FORMATS):
        return np.zeros(recorded.shape, bool)
    if layer.dtype not in FORMATS:
        return np.zeros(recorded.shape, bool)
    formats = (layer.dtype, arithmetic.result or layer.dtype, arithmetic.sums)
    most = min(map(largest, formats)) * (1 - roundoff(layer.dtype))
    scale = 0.0 if bound.moves else np.asarray(bound.scale)
    reach = np.maximum(np.abs(exact), scale) + allowed
    found: Array = np.isfinite(exact) & ~np.isfinite(recorded) & (reach >= most)
    return found


def _summed(
    layer: Layer,
    bound: Bound,
    arithmetic: Arithmetic,
    found: tuple[Array, Array, Array, Array, Array, Array],
) -> Judgement:
    recorded, exact, allowed, error, over, beyond = found
    unit = roundoff(sums_format(layer.dtype))
    scale = np.broadcast_to(np.asarray(bound.scale, np.float64), error.shape)
    floor = 0.0 if bound.moves else floor_of(layer, bound, arithmetic)
    finite = np.isfinite(error) & ~over if over.ndim else np.ones((), bool)
    own = arithmetic.name == layer.dtype and not bound.rounds_once and not bound.moves
    usual = UNUSUAL * gamma(bound.usual, unit) / unit
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        own_error = np.maximum(error - floor, 0.0)
        roundings = np.where(finite & (scale > 0), own_error / (unit * scale), 0.0)
        errors, limits = counted_units(layer, bound, arithmetic, found[:4])
        share = np.where(finite, error / np.maximum(allowed, 1e-300), 0.0)
        near = np.where((roundings > usual) & ~beyond, roundings, share) if own else share
        shown = int(np.argmax(near)) if share.size else 0
        share = np.where(beyond & ~finite, np.inf, share) if over.ndim else share
    place = int(np.argmax(share)) if share.size else 0
    differs = bool(share.size and share.flat[place] > 0)
    right = _has_right_bits(layer, bound, recorded, exact) and not beyond.any()
    odd = int((finite & ~beyond & (roundings > usual)).sum()) if own else 0
    peak = float(np.abs(exact[over]).max(initial=0.0)) if over.ndim else 0.0
    return Judgement(
        verdict=BEYOND if beyond.any() else EXACT if right else ROUNDING,
        arithmetic=arithmetic.name,
        terms=bound.terms,
        error=_at(np.where(finite, errors, 0.0), error.shape, shown),
        limit=_at(limits, error.shape, shown),
        usual=float(np.max(np.broadcast_to(bound.usual, error.shape), initial=0.0)),
        unusual=odd,
        beyond=int(beyond.sum()),
        elements=int(error.size),
        overflowed=int(over.sum()),
        peak=peak,
        not_finite=_not_finite(recorded),
        flushed=_flushed(layer, recorded, exact),
        worst=_worst(recorded, exact, allowed, place) if differs else None,
    )


def _at(values: Array, shape: tuple[int, ...], place: int) -> float:
    whole = np.broadcast_to(values, shape)
    return float(whole.flat[place]) if whole.size else 0.0


def _flushed(layer: Layer, recorded: Array, exact: Array) -> int:
    """Count zeros in place of subnormal numbers that do not round to zero."""
    if layer.dtype not in FORMATS:
        return 0
    sizes = np.abs(exact[recorded == 0])
    bits = 0 if layer.dtype == "float16" else FORMATS[layer.dtype].mantissa_bits
    least = smallest_normal(layer.dtype)
    return int(((sizes > least * 2.0**-bits) & (sizes < least)).sum())


def _has_right_bits(layer: Layer, bound: Bound, recorded: Array, exact: Array) -> bool:
    """Tell whether every element is the right value, rounded once where that is all there is."""
    if not bound.rounds_once and not bound.moves and layer.dtype in FORMATS:
        return False
    wanted = rounded(exact, layer.dtype)
    return bool(np.array_equal(recorded, wanted, equal_nan=True))


def _worst(recorded: Array, exact: Array, allowed: Array, place: int) -> Worst:
    index = tuple(int(n) for n in np.unravel_index(place, recorded.shape))
    limit = float(allowed[index]) if np.isfinite(exact[index]) else 0.0
    return Worst(index, float(recorded[index]), float(exact[index]), limit)
