"""The functions by which ONNX itself defines operators, for one node at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from xbackend.worker.artifact import ValueInfo
from xbackend.worker.graph import Graph

from ..normalise import NormaliseContext, normalise, tensor_of
from ..values import types_of_values

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx

SCHEMA_FUNCTIONS = frozenset(
    """
    AffineGrid Attention BlackmanWindow CausalConvWithState CenterCropPad DynamicQuantizeLinear
    GroupNormalization HammingWindow HannWindow LinearAttention NegativeLogLikelihoodLoss
    RMSNormalization RotaryEmbedding Shrink SoftmaxCrossEntropyLoss SwiGLU Swish
    """.split()
)
"""Operators that some executor has no function of its own for."""


DOMAIN = "spelled"
"""Stands for ONNX's own while a function is inlined."""


def schema_function(node: onnx.NodeProto, context: NormaliseContext) -> Graph | None:
    """Return the body that ONNX gives an operator; None where it has none for these inputs."""
    model = _inlined(node, context)
    if model is None:
        return None
    types = types_of_values(model)
    own = {name for name in (*node.input, *node.output) if name}
    prefix = next(name for name in node.output if name)
    names = {name: f"{prefix}/{name}" for inner in model.graph.node for name in inner.output}
    names = {name: new for name, new in names.items() if name not in own}
    _rename(model.graph, names)
    opset = max(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    inner = replace(
        context,
        opset=opset,
        types={**context.types, **{names.get(name, name): kind for name, kind in types.items()}},
        constants={},
    )
    for name, kind in inner.types.items():
        if kind.tensor_type.HasField("shape"):
            inner.ranks.setdefault(name, len(kind.tensor_type.shape.dim))
    nodes = tuple(normalise(each, inner) for each in model.graph.node)
    constants = {names.get(t.name, t.name): tensor_of(t) for t in model.graph.initializer}
    outputs = tuple(ValueInfo(name, "", None) for name in node.output if name)
    return Graph(opset, (), outputs, {**constants, **inner.constants}, nodes)


def _inlined(node: onnx.NodeProto, context: NormaliseContext) -> onnx.ModelProto | None:
    """Return a model of the one node, spelled out by ONNX's inliner."""
    from onnx import helper, inliner

    inputs = list(dict.fromkeys(name for name in node.input if name))
    function = _function(node, context)
    if function is None or any(name not in context.types for name in inputs):
        return None
    call = helper.make_node(function.name, node.input, node.output, domain=DOMAIN)
    call.attribute.extend(node.attribute)
    given = {attribute.name for attribute in node.attribute}
    call.attribute.extend(a for a in _defaults(node, context) if a.name not in given)
    graph = helper.make_graph(
        [call],
        "function",
        [helper.make_value_info(name, context.types[name]) for name in inputs],
        [helper.make_empty_tensor_value_info(name) for name in node.output if name],
    )
    opsets = [helper.make_opsetid("", context.opset), helper.make_opsetid(DOMAIN, 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10, functions=[function])
    try:
        return inliner.inline_local_functions(model, convert_version=True)
    except Exception:  # whatever ONNX says, the node stays as it is
        return None


def _defaults(node: onnx.NodeProto, context: NormaliseContext) -> Iterator[onnx.AttributeProto]:
    """Yield the attributes that have a default, which the inliner does not fill in."""
    from onnx import AttributeProto, defs

    for name, attribute in defs.get_schema(node.op_type, context.opset).attributes.items():
        if attribute.default_value.type != AttributeProto.UNDEFINED:
            made = AttributeProto()
            made.CopyFrom(attribute.default_value)
            made.name = name
            yield made


def _function(node: onnx.NodeProto, context: NormaliseContext) -> onnx.FunctionProto | None:
    """Return ONNX's definition of an operator, for the inputs of this node where it asks."""
    from onnx import FunctionProto, TypeProto, defs

    schema: Any = defs.get_schema(node.op_type, context.opset)
    function = FunctionProto()
    if schema.has_function:
        function.CopyFrom(schema.function_body)
    elif schema.has_context_dependent_function:
        types = [context.types.get(name, TypeProto()).SerializeToString() for name in node.input]
        try:
            text = schema.get_context_dependent_function(node.SerializeToString(), types)
        except Exception:  # what ONNX cannot define for these inputs
            return None
        function.ParseFromString(text)
    if not function.node:
        return None
    function.domain, function.name = DOMAIN, node.op_type
    return function


def _rename(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _rename(attribute.g, names)
