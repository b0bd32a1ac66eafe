"""Which axes of a graph's tensors must be cut to the same size together, operator by operator."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx

Axis = tuple[str, int]
"""A tensor's name and the position of one of its axes."""
Shapes = Mapping[str, tuple[int, ...]]

ELEMENTWISE = frozenset(
    """
    Abs Add Ceil Clip Cos Div Elu Erf Exp Floor Gelu HardSigmoid HardSwish Identity LeakyRelu Log
    Max Min Mish Mod Mul Neg PRelu Pow Reciprocal Relu Round Selu Sigmoid Sign Sin Softplus
    Softsign Sqrt Sub Sum Tan Tanh ThresholdedRelu Where
    """.split()
)
ALONG_AN_AXIS = frozenset("LogSoftmax LpNormalization Softmax".split())
"""Operators whose output has the shape of the first input, whatever its extents are."""
POOLS = frozenset("AveragePool GlobalAveragePool GlobalMaxPool LpPool MaxPool".split())


def linked_axes(nodes: Iterable[onnx.NodeProto], shapes: Shapes) -> list[tuple[Axis, ...]]:
    """Return the sets of axes that have one extent, and can be cut at all.

    An axis that an operator reads of which nothing is known here cannot be cut.
    """
    parents: dict[Axis, Axis] = {}
    frozen: set[Axis] = set()
    for node in nodes:
        linked = _links(node, shapes)
        if linked is None:
            names = [*node.input, *node.output]
            frozen |= {axis for name in names for axis in _axes(name, shapes)}
            continue
        for axes in linked:
            known = [axis for axis in axes if axis[0] in shapes]
            for axis in known:
                parents.setdefault(axis, axis)
            for axis in known[1:]:
                parents[_root(parents, axis)] = _root(parents, known[0])
    found: dict[Axis, list[Axis]] = {}
    for axis in parents:
        found.setdefault(_root(parents, axis), []).append(axis)
    return [tuple(axes) for axes in found.values() if not frozen & set(axes)]


def _root(parents: dict[Axis, Axis], axis: Axis) -> Axis:
    while parents[axis] != axis:
        axis = parents[axis]
    return axis


def _axes(name: str, shapes: Shapes) -> Iterator[Axis]:
    yield from ((name, place) for place in range(len(shapes.get(name, ()))))


def _links(node: onnx.NodeProto, shapes: Shapes) -> list[list[Axis]] | None:
    if any(name and name not in shapes for name in (*node.input, node.output[0])):
        return None
    if node.op_type == "Conv":
        return _conv(node, shapes)
    if node.op_type == "Gemm":
        return _gemm(node, shapes)
    if node.op_type == "MatMul":
        return _matmul(node, shapes)
    if node.op_type in POOLS:
        x, y = node.input[0], node.output[0]
        spatial = [[(x, place)] for place in range(2, len(shapes[x]))]
        return [[(x, 0), (y, 0)], [(x, 1), (y, 1)], *spatial]
    if node.op_type == "BatchNormalization":
        parameters = [(name, 0) for name in node.input[1:]]
        return [*_broadcast(node.input[:1], node, shapes), [(node.input[0], 1), *parameters]]
    if node.op_type in ELEMENTWISE or node.op_type in ALONG_AN_AXIS:
        return _broadcast(node.input, node, shapes)
    return None


def attribute_value(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """Return an attribute's value."""
    from onnx import helper

    for each in node.attribute:
        if each.name == name:
            return helper.get_attribute_value(each)
    return default


def _conv(node: onnx.NodeProto, shapes: Shapes) -> list[list[Axis]]:
    x, w, *bias = node.input
    y = node.output[0]
    linked = [[(x, 0), (y, 0)]]
    if attribute_value(node, "group", 1) == 1:
        linked.append([(x, 1), (w, 1)])
        linked.append([(w, 0), (y, 1), *((name, 0) for name in bias if name)])
    spatial = range(2, len(shapes[x]))
    return [*linked, *([(x, place)] for place in spatial), *([(w, place)] for place in spatial)]


def _gemm(node: onnx.NodeProto, shapes: Shapes) -> list[list[Axis]]:
    a, b, *rest = node.input
    y = node.output[0]
    turned_a, turned_b = attribute_value(node, "transA", 0), attribute_value(node, "transB", 0)
    rows, columns = [(a, 1 if turned_a else 0), (y, 0)], [(b, 0 if turned_b else 1), (y, 1)]
    inner = [(a, 0 if turned_a else 1), (b, 1 if turned_b else 0)]
    for name in (name for name in rest if name):
        extents = shapes[name]
        if extents and extents[-1] > 1:
            columns.append((name, len(extents) - 1))
        if len(extents) == 2 and extents[0] > 1:
            rows.append((name, 0))
    return [rows, inner, columns]


def _matmul(node: onnx.NodeProto, shapes: Shapes) -> list[list[Axis]] | None:
    a, b = node.input
    y = node.output[0]
    one, two, out = len(shapes[a]), len(shapes[b]), len(shapes[y])
    if min(one, two) < 2:
        return None
    inner = [(a, one - 1), (b, two - 2)]
    rows, columns = [(a, one - 2), (y, out - 2)], [(b, two - 1), (y, out - 1)]
    batches: list[list[Axis]] = []
    for back in range(3, out + 1):
        stretched = [(n, r - back) for n, r in ((a, one), (b, two)) if _wide(n, r, back, shapes)]
        batches.append([(y, out - back), *stretched])
    return [inner, rows, columns, *batches]


def _wide(name: str, rank: int, back: int, shapes: Shapes) -> bool:
    return rank >= back and shapes[name][rank - back] > 1


def _broadcast(names: Iterable[str], node: onnx.NodeProto, shapes: Shapes) -> list[list[Axis]]:
    """Link axes from the last one on; an extent of 1 is stretched and linked to nothing."""
    y = node.output[0]
    rank = len(shapes[y])
    given = [name for name in names if name]
    return [
        [
            (y, rank - back),
            *((n, len(shapes[n]) - back) for n in given if _wide(n, len(shapes[n]), back, shapes)),
        ]
        for back in range(1, rank + 1)
    ]
