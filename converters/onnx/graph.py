"""The ONNX model as the prepared graph, with the graphs within and operators spelled out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from xbackend.errors import ModelError
from xbackend.worker.artifact import ValueInfo
from xbackend.worker.graph import Graph

from .functions import SPELLED, spell
from .normalise import NormaliseContext, format_name, normalise, tensor_of
from .source import own_opset
from .values import types_of_values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import onnx


def graph_of(model: onnx.ModelProto) -> Graph:
    """Normalise a sound model, see `xbackend.worker.graph`."""
    graph = model.graph
    needed = any(node.op_type in SPELLED for node in _every_node(graph))
    types = types_of_values(model) if needed else {}
    context = NormaliseContext(
        opset=own_opset(model), ranks=_ranks(graph), types=types, graph=_body, function=spell
    )
    for name, kind in types.items():
        if kind.tensor_type.HasField("shape"):
            context.ranks.setdefault(name, len(kind.tensor_type.shape.dim))
    return _normalised(graph, context, _value)


def _normalised(
    graph: onnx.GraphProto,
    context: NormaliseContext,
    info: Callable[[onnx.ValueInfoProto], ValueInfo],
) -> Graph:
    nodes = tuple(normalise(node, context) for node in graph.node)
    constants = {t.name: tensor_of(t) for t in graph.initializer}
    return Graph(
        opset=context.opset,
        inputs=tuple(info(v) for v in graph.input if v.name not in constants),
        outputs=tuple(info(v) for v in graph.output),
        constants={**constants, **context.constants},
        nodes=nodes,
    )


def _body(graph: onnx.GraphProto, around: NormaliseContext) -> Graph:
    """Normalise a graph that is an attribute; what it adds is its own."""
    context = replace(around, ranks={**around.ranks, **_ranks(graph)}, constants={})
    return _normalised(graph, context, _inner_value)


def _value(value: onnx.ValueInfoProto) -> ValueInfo:
    if value.type.WhichOneof("value") not in ("tensor_type", None):
        raise ModelError(f"The model's '{value.name}' is not a tensor, which no backend shares.")
    return _inner_value(value)


def _inner_value(value: onnx.ValueInfoProto) -> ValueInfo:
    """Return what is known of a value, which in a body may be nothing but its name."""
    tensor = value.type.tensor_type
    dtype = format_name(tensor.elem_type)
    if not tensor.HasField("shape"):
        return ValueInfo(value.name, dtype, None)
    dims = tensor.shape.dim
    shape = tuple(d.dim_value if d.HasField("dim_value") else None for d in dims)
    named = (d.dim_param for d in dims)
    axes = tuple(name if any(map(str.isalnum, name)) else "" for name in named)
    return ValueInfo(value.name, dtype, shape, axes if any(axes) else ())


def _ranks(graph: onnx.GraphProto) -> dict[str, int]:
    """Return the number of axes of the values that are declared or are weights."""
    declared = {
        value.name: len(value.type.tensor_type.shape.dim)
        for value in (*graph.input, *graph.value_info, *graph.output)
        if value.type.tensor_type.HasField("shape")
    }
    return declared | {tensor.name: len(tensor.dims) for tensor in graph.initializer}


def _every_node(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _every_node(attribute.g)
