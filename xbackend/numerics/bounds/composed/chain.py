"""Several nodes as one: errors carried from what was recorded through nodes that were not."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from xbackend.numerics.bounds.bound import Array, Bound, Layer
from xbackend.numerics.bounds.composed.tracked import Steps, Tracked, exactly
from xbackend.numerics.bounds.elements import FUNCTION
from xbackend.numerics.bounds.integers import KINDS, OPERATIONS, exact_integers
from xbackend.numerics.floats import FORMATS
from xbackend.worker.geometry import shapes
from xbackend.worker.geometry.sliding_window import kernel_positions, window_of
from xbackend.worker.graph import Node

Given = Sequence[Tracked | None]
Step = Callable[[Steps, Node, Given], Tracked]
HIDDEN_ROUNDINGS = 2.0
CASTS = frozenset(("Cast", "CastLike"))
MOVED = frozenset("Neg Relu Clip Transpose Identity Reshape Flatten Squeeze Unsqueeze".split())
"""Operators that give whole numbers of whole numbers as they do floats."""
ROUNDINGS = 64.0
"""Roundings in a row that the bound of a chain is shown as, beside the terms of its sums."""


def chain_bound(
    nodes: Sequence[Node],
    known: Mapping[str, Array],
    hidden: Mapping[str, Array],
    tap: str,
    dtype: str,
) -> Bound:
    """Bound a value that some nodes compute, in order, from values that were recorded.

    `hidden` ones were not: what constants decide may have been computed with a rounding or two.

    Raises LookupError for a node that no error is carried through.
    """
    steps = Steps("float32" if dtype in KINDS else dtype)
    whole = {n: v for n, v in {**known, **hidden}.items() if v.dtype.kind in "iu"}
    values: dict[str, Tracked] = {name: exactly(array) for name, array in known.items()}
    for name, array in hidden.items():
        wide = np.asarray(array, np.float64)
        values[name] = Tracked(wide, HIDDEN_ROUNDINGS * steps.unit * np.abs(wide))
    terms = 1
    for node in nodes:
        step = STEPS.get(node.operator) if not node.domain else None
        if step is None:
            raise LookupError(f"no error is carried through {node.full_name} here")
        inputs = [values[name] if name else None for name in node.inputs]
        if node.inputs[0] in whole and node.operator not in CASTS:
            made = _in_integers(steps, node, inputs, whole)
            whole[node.outputs[0]], found = made, exactly(made)
        else:
            found = step(steps, node, inputs)
        values[node.outputs[0]] = found
        terms = max(terms, _terms(node, inputs))
    if dtype in KINDS:
        if tap not in whole:
            raise LookupError("no error is carried to a whole number here")
        return Bound(1.0, 0.0, 0.0, 0, underflows=0.0, exact=whole[tap], moves=True)
    return steps.bound(values[tap], terms, terms + ROUNDINGS)


def _in_integers(steps: Steps, node: Node, inputs: Given, whole: Mapping[str, Array]) -> Array:
    """Compute a node on whole numbers: as arithmetic of integers, or as what moves them."""
    operands = [whole.get(name) for name in node.inputs]
    first = whole[node.inputs[0]]
    if node.operator in OPERATIONS:
        shapes_of = [None if each is None else each.shape for each in operands]
        kind = str(first.dtype)
        layer = Layer(node.operator, node.attributes, operands, shapes_of, (), kind)
        found = exact_integers(layer)
        if found.undefined or found.exact is None:
            raise LookupError("what it reads is not defined, such as a division by zero")
        return found.exact
    if node.operator not in MOVED:
        raise LookupError(f"no whole numbers are carried through {node.full_name} here")
    return STEPS[node.operator](steps, node, inputs).value.astype(first.dtype)


def _terms(node: Node, inputs: Given) -> int:
    """Return how many numbers a node adds up."""
    if node.operator == "Conv":
        return int(np.prod(_at(inputs, 1).value.shape[1:]))
    if node.operator in ("MatMul", "Gemm"):
        return _at(inputs, 0).value.shape[0 if node.attributes.get("transA") else -1]
    return 1


def _at(inputs: Given, place: int) -> Tracked:
    found = inputs[place]
    assert found is not None
    return found


def _gemm(steps: Steps, node: Node, inputs: Given) -> Tracked:
    told = node.attributes
    x, w = _at(inputs, 0), _at(inputs, 1)
    x = x.moved(np.transpose) if told.get("transA") else x
    w = w.moved(np.transpose) if told.get("transB") else w
    found = steps.multiply(steps.matmul(x, w, 2), exactly(float(told.get("alpha", 1.0))))
    if len(inputs) < 3 or inputs[2] is None:  # the third is a bias
        return found
    return steps.add(found, steps.multiply(_at(inputs, 2), exactly(float(told.get("beta", 1.0)))))


def _conv(steps: Steps, node: Node, inputs: Given) -> Tracked:
    """Convolve by a product of matrices for each group, as any kernel's sum."""
    x, w = _at(inputs, 0), _at(inputs, 1)
    group = int(node.attributes.get("group") or 1)
    window = window_of(node, x.value.shape[2:], w.value.shape[2:], ceil=False)

    def columns(v: Array) -> Array:
        padded = window.pad(v, 0.0)
        seen = np.stack([padded[index] for _, index in kernel_positions(window)], 2)
        return np.asarray(seen.reshape(len(v), group, -1, int(np.prod(window.extents))))

    flat = w.moved(lambda v: v.reshape(group, len(v) // group, -1))
    found = steps.matmul(flat, x.moved(columns), 1)
    shape = (len(x.value), len(w.value), *window.extents)
    found = found.moved(lambda v: v.reshape(shape))
    if len(inputs) < 3 or inputs[2] is None:  # the third is a bias
        return found
    return steps.add(found, _at(inputs, 2).moved(lambda v: v.reshape(1, -1, *[1] * len(shape[2:]))))


def _batch_normalization(steps: Steps, node: Node, inputs: Given) -> Tracked:
    x = _at(inputs, 0)
    shape = (1, -1, *[1] * (x.value.ndim - 2))
    scale, shift, mean, variance = (_at(inputs, n).value.reshape(shape) for n in range(1, 5))
    factor = scale / np.sqrt(variance + float(node.attributes.get("epsilon", 1e-5)))
    size = np.abs(factor) * (x.size + np.abs(mean)) + np.abs(shift)
    exact = factor * (x.value - mean) + shift
    return Tracked(exact, np.abs(factor) * x.error + 2 * FUNCTION * steps.unit * size)


def _power(steps: Steps, node: Node, inputs: Given) -> Tracked:
    del node
    x, exponent = _at(inputs, 0), _at(inputs, 1).value
    if exponent.size != 1 or float(exponent.reshape(())) != 2:  # a square
        raise LookupError("no error is carried through a power that is no square here")
    found = steps.multiply(x, x)
    return Tracked(found.value, found.error + FUNCTION * steps.unit * found.size)


def _reduced(steps: Steps, node: Node, inputs: Given) -> Tracked:
    x = _at(inputs, 0)
    told = _at(inputs, 1).value if len(inputs) > 1 and inputs[1] else node.attributes.get("axes")
    axes = tuple(range(x.value.ndim)) if told is None else tuple(int(n) for n in np.ravel(told))
    axes = tuple(axis % x.value.ndim for axis in axes)
    found = steps.sum(x, axes)
    if node.operator == "ReduceMean":
        count = int(np.prod([x.value.shape[axis] for axis in axes]))
        found = steps.divide(found, exactly(float(count)))
    kept = int(node.attributes.get("keepdims", 1))
    return found if kept else found.moved(lambda v: v.reshape(_without(v, axes)))


def _plane_mean(steps: Steps, _node: Node, inputs: Given) -> Tracked:
    x = _at(inputs, 0)
    axes = tuple(range(2, x.value.ndim))
    count = float(np.prod(x.value.shape[2:]))
    return steps.divide(steps.sum(x, axes), exactly(count))


def _without(v: Array, axes: Sequence[int]) -> tuple[int, ...]:
    return tuple(size for axis, size in enumerate(v.shape) if axis not in axes)


def _softmax(steps: Steps, node: Node, inputs: Given) -> Tracked:
    if node.attributes.get("coerce_2d"):
        raise LookupError("no error is carried through a Softmax of several axes here")
    return steps.softmax(_at(inputs, 0), int(node.attributes.get("axis", -1)), waves=True)


def _transposed(_steps: Steps, node: Node, inputs: Given) -> Tracked:
    x = _at(inputs, 0)
    order = node.attributes.get("perm") or range(x.value.ndim)[::-1]
    return x.moved(lambda v: v.transpose(order))


def _clipped(steps: Steps, _node: Node, inputs: Given) -> Tracked:
    low, high = ([*inputs[1:], None, None])[:2]
    least = -np.inf if low is None else float(low.value.reshape(()))
    most = np.inf if high is None else float(high.value.reshape(()))
    return steps.exact(lambda v: np.clip(v, least, most), _at(inputs, 0))


def _cast(steps: Steps, node: Node, inputs: Given) -> Tracked:
    """Round once; formats that are no floats take no part."""
    if str(node.attributes.get("to", steps.dtype)) not in FORMATS:
        raise LookupError("no error is carried through a cast to integers here")
    x = _at(inputs, 0)
    return Tracked(x.value, x.error + steps.unit * x.size)


def _pair(name: str) -> Step:
    def step(steps: Steps, _node: Node, inputs: Given) -> Tracked:
        found: Tracked = getattr(steps, name)(_at(inputs, 0), _at(inputs, 1))
        return found

    return step


def _rising(function: Callable[[Array], Any], floor: float = 0.0) -> Step:
    return lambda steps, _node, inputs: steps.rising(function, _at(inputs, 0), floor)


def _exact(function: Callable[[Array], Any]) -> Step:
    return lambda steps, _node, inputs: steps.exact(function, _at(inputs, 0))


def _root(v: Array) -> Array:
    return np.asarray(np.sqrt(np.maximum(v, 0)))


def _reshaped(_steps: Steps, node: Node, inputs: Given) -> Tracked:
    x = _at(inputs, 0)
    told = inputs[1] if len(inputs) > 1 else None
    wanted = node.attributes.get("axes") if told is None else told.value.astype(int).tolist()
    shape = list(x.value.shape)
    if node.operator == "Reshape":
        shape = shapes.reshaped(node, shape, wanted or ())
    elif node.operator == "Flatten":
        shape = shapes.flattened(shape, int(node.attributes.get("axis", 1)))
    elif node.operator == "Squeeze":
        dropped = {int(axis) % len(shape) for axis in wanted or ()}
        shape = [n for at, n in enumerate(shape) if at not in dropped and (wanted or n != 1)]
    else:
        for axis in shapes.added_axes(len(shape), wanted or ()):
            shape.insert(axis, 1)
    return x.moved(lambda v: v.reshape(shape))


STEPS: Mapping[str, Step] = {
    "Conv": _conv,
    "Gemm": _gemm,
    "MatMul": lambda steps, _node, inputs: steps.matmul(_at(inputs, 0), _at(inputs, 1)),
    "BatchNormalization": _batch_normalization,
    "Add": _pair("add"),
    "Sub": lambda steps, _node, inputs: steps.add(_at(inputs, 0), _at(inputs, 1).negated),
    "Mul": _pair("multiply"),
    "Div": _pair("divide"),
    "Neg": lambda _steps, _node, inputs: _at(inputs, 0).negated,
    "Pow": _power,
    "Cast": _cast,
    "CastLike": _cast,
    "Erf": _rising(np.vectorize(math.erf, otypes=[float])),
    "Sqrt": _rising(_root),
    "Exp": _rising(np.exp),
    "Tanh": _rising(np.tanh),
    "Sigmoid": _rising(lambda v: 1 / (1 + np.exp(-v)), 1.0),
    "Relu": _exact(lambda v: np.maximum(v, 0)),
    "Clip": _clipped,
    "Softmax": _softmax,
    "ReduceMean": _reduced,
    "ReduceSum": _reduced,
    "GlobalAveragePool": _plane_mean,
    "Transpose": _transposed,
    "Identity": lambda _steps, _node, inputs: _at(inputs, 0),
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), _reshaped),
}
"""What errors are carried through."""
