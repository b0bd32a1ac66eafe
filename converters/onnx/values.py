"""Which shapes the values of an ONNX graph have, and which of them a source does not compute."""

from __future__ import annotations

import contextlib
from collections.abc import Container, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

    from xbackend.worker.artifact import Artifact

Shape = tuple[int | None, ...]

HEAVY, SHORT = 1 << 26, 1 << 10
"""Bytes of a model from which its weights are left out of inference; bytes of one that stays."""


def shapes_of_values(model: onnx.ModelProto) -> dict[str, Shape]:
    """Return the shapes of a graph's values as far as they are declared or follow."""
    import onnx

    try:
        graph = onnx.shape_inference.infer_shapes(model).graph
    except Exception:  # a model beyond 2 GiB, or one with what ONNX cannot infer
        graph = model.graph
    return {
        value.name: tuple(
            d.dim_value if d.HasField("dim_value") else None
            for d in value.type.tensor_type.shape.dim
        )
        for value in (*graph.input, *graph.value_info, *graph.output)
        if value.type.tensor_type.HasField("shape")
    }


def types_of_values(model: onnx.ModelProto) -> dict[str, onnx.TypeProto]:
    """Return the types of all values, those in the graphs within too, as far as they follow.

    Weights that are too long to be a shape or an index are taken for inputs meanwhile.
    """
    import onnx

    light = model if model.ByteSize() < HEAVY else _without_weights(model)
    with contextlib.suppress(Exception):  # whatever ONNX cannot infer is not known
        light = onnx.shape_inference.infer_shapes(light, data_prop=True)
    return dict(_types(light.graph))


def _types(graph: onnx.GraphProto) -> Iterator[tuple[str, onnx.TypeProto]]:
    from onnx import helper

    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _types(attribute.g)
    yield from ((v.name, v.type) for v in (*graph.input, *graph.value_info, *graph.output))
    for tensor in graph.initializer:
        yield tensor.name, helper.make_tensor_type_proto(tensor.data_type, list(tensor.dims))


def _without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    from onnx import ModelProto, helper

    light = ModelProto()
    light.ir_version = model.ir_version
    light.opset_import.extend(model.opset_import)
    light.graph.name = model.graph.name or "graph"
    light.graph.node.extend(model.graph.node)
    light.graph.input.extend(model.graph.input)
    light.graph.output.extend(model.graph.output)
    light.graph.value_info.extend(model.graph.value_info)
    known = {value.name for value in model.graph.input}
    for tensor in model.graph.initializer:
        if tensor.ByteSize() < SHORT:
            light.graph.initializer.add().CopyFrom(tensor)
        elif tensor.name not in known:
            light.graph.input.append(
                helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            )
    return light


def unmatched_taps(
    hub: Artifact, taps: Container[str], within: Container[str] = frozenset()
) -> list[str]:
    """Return the values of the graph that no tensor of the source is; constants are none.

    Nor are those `within` an operation of the source, which it does not compute.
    """
    outputs = {value.name for value in hub.outputs}
    return [
        layer.tap
        for layer in hub.layers
        if layer.inputs != ()
        and layer.tap not in taps
        and layer.tap not in outputs
        and layer.tap not in within
    ]
