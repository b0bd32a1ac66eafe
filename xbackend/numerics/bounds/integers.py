"""Right values of arithmetic on integers, which never rounds: one value, or none that is defined.

Sums and products wrap around; a quotient is cut off toward zero. What ONNX leaves open (a division
by zero, a power that does not fit) is not judged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from .bound import NOTHING, Array, Bound, Layer, Rule

KINDS = frozenset(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
"""The formats of whole numbers."""
Values = tuple[Array, Array]
"""Right values, and where they are defined."""


def exact_integers(layer: Layer) -> Bound:
    """Allow the right whole number alone, and anything where none is defined."""
    operands = [layer.input(place) for place in range(len(layer.shapes)) if layer.has(place)]
    with np.errstate(all="ignore"):
        values, defined = OPERATIONS[layer.operator](layer, operands)
    recorded = layer.recorded
    defined = np.broadcast_to(defined, values.shape)
    if recorded is not None and recorded.shape == values.shape:
        values = np.where(defined, values, recorded)
    left = int(defined.size - np.count_nonzero(defined))
    kept = values.astype(layer.dtype)
    return Bound(1.0, 0.0, 0.0, 0, underflows=0.0, exact=kept, moves=True, undefined=left)


def divided(a: Array, b: Array) -> Values:
    """Divide whole numbers and cut off toward zero, without a detour over floats.

    >>> divided(np.array([-7, 7, 7]), np.array([3, -3, 0]))[0][:2].tolist()
    [-2, -2]
    """
    safe = _without_traps(a, b)
    down = a // safe
    found = down + ((a % safe != 0) & ((a < 0) != (safe < 0)))
    return np.asarray(found, a.dtype), _is_divisible(a, b)


def _without_traps(a: Array, b: Array) -> Array:
    return np.where(_is_divisible(a, b), b, np.ones((), b.dtype))


def _is_divisible(a: Array, b: Array) -> Array:
    """Tell where a quotient exists: not by zero, nor of the least number by -1."""
    if a.dtype.kind == "u":
        return np.asarray(b != 0)
    return np.asarray((b != 0) & ~((a == np.iinfo(a.dtype).min) & (b == -1)))


def _divided(_layer: Layer, operands: list[Array]) -> Values:
    return divided(*operands)


def _remainder(layer: Layer, operands: list[Array]) -> Values:
    """Take the sign of the divisor, or with `fmod` of what is divided; by -1 it is 0."""
    a, b = operands
    safe = np.where(b == 0, np.ones((), b.dtype), b)
    how = np.fmod if layer.attributes.get("fmod") else np.mod
    found = how(a, np.where(_is_divisible(a, safe), safe, np.ones((), b.dtype)))
    return np.asarray(found), np.asarray(b != 0)


def power(base: Array, exponent: Array) -> Values:
    """Multiply whole numbers repeatedly; defined where that fits into their format.

    >>> power(np.array([2, 2], np.int8), np.array([6, 7]))[1].tolist()
    [True, False]
    """
    if exponent.dtype.kind == "f":
        if not np.array_equal(exponent, np.rint(exponent)):
            raise LookupError("it takes a whole number to a power that is none")
        exponent = exponent.astype(np.int64)
    a, n = np.broadcast_arrays(base, exponent)
    limits = np.iinfo(base.dtype)
    found, defined = np.zeros(a.shape, base.dtype), np.zeros(a.shape, bool)
    for place in np.ndindex(a.shape):
        value = _powered(int(a[place]), int(n[place]), limits.bits)
        if value is not None and limits.min <= value <= limits.max:
            found[place], defined[place] = value, True
    return found, defined


def _powered(base: int, exponent: int, bits: int) -> int | None:
    """Return a power in whole numbers; None where it is none, or surely too large."""
    if exponent < 0:
        return None
    if abs(base) > 1 and exponent > bits:
        return None
    return int(base ** (exponent if abs(base) > 1 else min(exponent, 2 - exponent % 2)))


def _powers(_layer: Layer, operands: list[Array]) -> Values:
    return power(*operands)


def _pair(function: Callable[[Array, Array], Array]) -> Operation:
    return lambda _layer, operands: (np.asarray(function(*operands)), np.ones((), bool))


def _many(_layer: Layer, operands: list[Array]) -> Values:
    total = operands[0]
    for each in operands[1:]:
        total = total + each
    return total, np.ones((), bool)


def _matmul(_layer: Layer, operands: list[Array]) -> Values:
    return np.asarray(np.matmul(*operands)), np.ones((), bool)


def _gemm(layer: Layer, operands: list[Array]) -> Values:
    told = layer.attributes
    if any(float(told.get(key, 1.0)) != 1 for key in ("alpha", "beta")):
        raise LookupError("it scales whole numbers by fractions")
    x, w = operands[:2]
    found = (x.T if told.get("transA") else x) @ (w.T if told.get("transB") else w)
    return found + operands[2] if len(operands) > 2 else found, np.ones((), bool)  # a bias


def _reduced(layer: Layer, operands: list[Array]) -> Values:
    x, told = operands[0], layer.attributes
    axes = operands[1] if len(operands) > 1 else told.get("axes")
    if axes is None or not np.size(axes):
        if told.get("noop_with_empty_axes"):
            raise LookupError("it reduces no axis")
        axes = range(x.ndim)
    places = tuple(int(axis) % x.ndim for axis in np.ravel(np.asarray(axes)))
    kept = bool(told.get("keepdims", 1))
    terms = {"ReduceL1": np.abs(x), "ReduceSumSquare": x * x}.get(layer.operator, x)
    how = np.prod if layer.operator == "ReduceProd" else np.sum
    found = how(terms, axis=places, keepdims=kept, dtype=x.dtype)
    return np.asarray(found), np.ones((), bool)


def _cumulative(layer: Layer, operands: list[Array]) -> Values:
    x, axis = operands[0], int(operands[1].reshape(())) % operands[0].ndim
    turned = np.flip(x, axis) if layer.attributes.get("reverse") else x
    found = np.cumsum(turned, axis, dtype=x.dtype)
    found = found - turned if layer.attributes.get("exclusive") else found
    return np.flip(found, axis) if layer.attributes.get("reverse") else found, np.ones((), bool)


def _refused(layer: Layer) -> Bound:
    raise LookupError(f"how {layer.operator} rounds to whole numbers is not defined")


Operation = Callable[[Layer, list[Array]], Values]
OPERATIONS: Mapping[str, Operation] = {
    "Add": _pair(np.add),
    "Sub": _pair(np.subtract),
    "Mul": _pair(np.multiply),
    "Div": _divided,
    "Mod": _remainder,
    "Pow": _powers,
    "Sum": _many,
    "MatMul": _matmul,
    "Gemm": _gemm,
    **dict.fromkeys(("ReduceSum", "ReduceProd", "ReduceL1", "ReduceSumSquare"), _reduced),
    "CumSum": _cumulative,
}
RULES: Mapping[str, Rule] = {
    **{name: Rule(exact_integers, NOTHING, reads=True) for name in OPERATIONS},
    **{
        name: Rule(_refused, NOTHING)
        for name in "Einsum Mean ReduceMean ReduceL2 ReduceLogSum ReduceLogSumExp AveragePool "
        "GlobalAveragePool Conv ConvTranspose PRelu LeakyRelu ThresholdedRelu Shrink Sqrt "
        "Reciprocal Resize LpNormalization Det".split()
    },
}
"""What is judged otherwise where its result is whole."""
