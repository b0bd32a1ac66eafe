"""Which shapes the values of an ONNX graph have, and which of them a source does not compute."""

from __future__ import annotations

from collections.abc import Container
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

    from xbackend.worker.artifact import Artifact

Shape = tuple[int | None, ...]


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
