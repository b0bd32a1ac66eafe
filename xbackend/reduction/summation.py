"""In which order each side of a reduced difference added its few terms, by trying all orders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from xbackend.numerics.summation import MOST_TERMS, Array, Explanation, Terms, explain
from xbackend.store.records import Record
from xbackend.worker.geometry.sliding_window import kernel_positions, window_of
from xbackend.worker.graph import Graph, Node
from xbackend.worker.tensor import Tensor

MOST_ELEMENTS = 64
"""Elements of the result that an order has to explain at once."""


@dataclass(frozen=True)
class SummationFacts:
    """How each side of a difference may have added the terms of the one sum that is left."""

    operator: str
    terms: int
    """Products, the bias not counted."""
    bias: bool
    sides: tuple[Explanation, Explanation]
    right: tuple[bool, bool]
    """Whether the side's numbers are the exact sums, rounded once."""

    def to_dict(self) -> Record:
        """Return JSON values."""
        return {
            "operator": self.operator,
            "terms": self.terms,
            "bias": self.bias,
            "sides": [
                {
                    "orders": each.count,
                    "tried": each.tried,
                    "simplest": [
                        {
                            "products": order.products,
                            "kind": order.kind,
                            "bias": order.bias,
                            "order": list(order.order),
                        }
                        for order in each.simplest
                    ],
                }
                for each in self.sides
            ],
        }


def summation_facts(
    graph: Graph, inputs: Mapping[str, Tensor], sides: tuple[Tensor, Tensor]
) -> SummationFacts | None:
    """Return which orders of summation give each side's bits.

    None where what is left is not one sum of at most `MOST_TERMS` float32 terms.
    """
    if len(graph.nodes) != 1 or any(side.dtype != "float32" for side in sides):
        return None
    node, values = graph.nodes[0], {**graph.constants, **inputs}
    makers = {"Conv": _conv, "Gemm": _gemm, "MatMul": _matmul, "ReduceSum": _reduce_sum}
    if node.operator not in makers or node.domain or len(node.outputs) != 1:
        return None
    held = [values.get(name) if name else None for name in node.inputs]
    if any(each is not None and each.dtype not in ("float32", "int64") for each in held):
        return None
    arrays = [None if each is None else each.array for each in held]
    terms = makers[node.operator](node, arrays, sides[0].shape)
    results = [np.ascontiguousarray(side.array).reshape(-1) for side in sides]
    if terms is None or not terms.count + (terms.bias is not None) >= 2 or terms.count < 1:
        return None
    if terms.count > MOST_TERMS or terms.left.shape[1] != results[0].size:
        return None
    chosen = _decisive(results)
    terms = Terms(
        terms.left[:, chosen],
        terms.right[:, chosen],
        None if terms.bias is None else terms.bias[chosen],
    )
    one, other = explain(terms, [each[chosen] for each in results])
    return SummationFacts(
        node.operator,
        terms.count,
        terms.bias is not None,
        (one, other),
        _are_right(terms, [each[chosen] for each in results]),
    )


def _decisive(results: list[Array]) -> Array:
    """Return which elements are explained: those that differ first, then others, few in all."""
    one, other = (each.view(np.uint32) for each in results)
    order = np.argsort(one == other, kind="stable")
    chosen: Array = np.sort(order[:MOST_ELEMENTS])
    return chosen


def _are_right(terms: Terms, results: list[Array]) -> tuple[bool, bool]:
    """Tell which results are within what rounding each partial sum may make: a gamma of n."""
    left, right = terms.left.astype(np.float64), terms.right.astype(np.float64)
    bias = 0.0 if terms.bias is None else terms.bias.astype(np.float64)
    exact, scale = (left * right).sum(0) + bias, np.abs(left * right).sum(0) + np.abs(bias)
    bound = (terms.count + 1) * 2.0**-24 * scale * (1 + 2.0**-20) + 2.0**-149
    one, other = (bool((np.abs(each - exact) <= bound).all()) for each in results)
    return one, other


def _laid_out(products: list[tuple[Array, Array]], bias: Array | None) -> Terms | None:
    """Return terms from pairs of factors, term by term, each of the result's shape."""
    if not products:
        return None
    left, right = (
        np.stack([np.asarray(pair[side], np.float32).reshape(-1) for pair in products])
        for side in (0, 1)
    )
    return Terms(left, right, None if bias is None else bias.reshape(-1).astype(np.float32))


def _conv(node: Node, arrays: list[Array | None], shape: tuple[int, ...]) -> Terms | None:
    x, w, bias = (*arrays, None)[:3]
    if x is None or w is None or node.attributes.get("group", 1) != 1 or len(shape) != x.ndim:
        return None
    window = window_of(node, x.shape[2:], w.shape[2:])
    if w[0].size > MOST_TERMS or window.extents != tuple(shape[2:]):
        return None
    padded, seen = window.pad(x, 0.0), list(kernel_positions(window))
    axes = (-1, *[1] * (x.ndim - 2))
    pairs = []
    for channel in range(w.shape[1]):
        for at, cut in seen:
            index: Any = (slice(None), channel, *at)
            factor = np.broadcast_to(padded[cut][:, channel : channel + 1], shape)
            pairs.append((factor, _spread(w[index], axes, shape)))
    return _laid_out(pairs, None if bias is None else _spread(bias, axes, shape))


def _spread(values: Array, axes: tuple[int, ...], shape: tuple[int, ...]) -> Array:
    """Give each channel's number to all its elements."""
    return np.broadcast_to(values.reshape(axes), shape)


def _gemm(node: Node, arrays: list[Array | None], shape: tuple[int, ...]) -> Terms | None:
    a, b, bias = (*arrays, None)[:3]
    given = node.attributes
    if a is None or b is None or given.get("alpha", 1.0) != 1.0 or given.get("beta", 1.0) != 1.0:
        return None
    a = a.T if given.get("transA", 0) else a
    b = b.T if given.get("transB", 0) else b
    return _products(a, b, shape, bias)


def _matmul(node: Node, arrays: list[Array | None], shape: tuple[int, ...]) -> Terms | None:
    a, b = arrays
    return (
        None if a is None or b is None or min(a.ndim, b.ndim) < 2 else _products(a, b, shape, None)
    )


def _products(a: Array, b: Array, shape: tuple[int, ...], bias: Array | None) -> Terms | None:
    count = a.shape[-1]
    if count > MOST_TERMS:
        return None
    pairs = [
        (np.broadcast_to(a[..., :, k : k + 1], shape), np.broadcast_to(b[..., k : k + 1, :], shape))
        for k in range(count)
    ]
    return _laid_out(pairs, None if bias is None else np.broadcast_to(bias, shape))


def _reduce_sum(node: Node, arrays: list[Array | None], shape: tuple[int, ...]) -> Terms | None:
    x, axes = (*arrays, None)[:2]
    if x is None:
        return None
    given = (
        tuple(range(x.ndim)) if axes is None else tuple(int(n) % x.ndim for n in axes.reshape(-1))
    )
    rest = [axis for axis in range(x.ndim) if axis not in given]
    terms = x.transpose(*given, *rest).reshape(-1, *[x.shape[axis] for axis in rest])
    if len(terms) > MOST_TERMS:
        return None
    return _laid_out([(each, np.ones_like(each)) for each in terms], None)
