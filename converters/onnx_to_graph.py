"""ONNX to the prepared graph: files that a worker reads without the onnx package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xbackend.plugins.converter import ConversionRequest, ConversionResult, ConverterSpec
from xbackend.preparation.conversion import weights
from xbackend.worker.artifact import Layer
from xbackend.worker.graph import Graph, Node
from xbackend.worker.subgraphs import every_node, is_within, values_with_nodes
from xbackend.worker.tensor import Tensor

from .onnx.graph import graph_of
from .onnx.narrow import widened
from .onnx.normalise import tensor_of
from .onnx.source import drop_initializer_inputs, read_onnx
from .onnx.taps import expose
from .onnx.values import types_of_values

if TYPE_CHECKING:
    import onnx

PRECISIONS = ("float64", "float16", "bfloat16", "int8")

SPEC = ConverterSpec(
    name="onnx_to_graph",
    conversions=(("onnx", "graph"), *((f"onnx-{p}", f"graph-{p}") for p in PRECISIONS)),
    convert="xbackend.converters.onnx_to_graph:convert",
    modules=("onnx",),
    extra="ort",
    distributions=("onnx",),
    revision=5,
)

ALIGNMENT = 64
"""Bytes on which each tensor in `weights.bin` begins."""

LARGE = 1 << 30
"""Bytes of weights from which they are kept beside the ONNX file: protobuf ends at 2 GiB."""


def convert(request: ConversionRequest) -> ConversionResult:
    """Write `graph.json`, `weights.bin`, `model.onnx` and `taps.onnx`."""
    model = read_onnx(request.source)
    graph, held = widened(graph_of(model))
    write_graph(graph, request.output)
    source = {t.name: tensor_of(t).array for t in model.graph.initializer}
    _write_onnx(model, request.output)
    return ConversionResult(
        model="model.onnx",
        weights=weights.compare_weights(source, (t.array for t in graph.constants.values())),
        inputs=graph.inputs,
        outputs=graph.outputs,
        layers=layers_of(graph),
        notes={
            "opset": graph.opset,
            "producer": model.producer_name,
            "operators": operators_of(graph),
            "spelled": spelled_by(graph),
            "widened": held,
        },
    )


def layers_of(graph: Graph) -> tuple[Layer, ...]:
    """List every value that a node computes, with its place, its operator and what it reads.

    Nodes of bodies count as those around them, and come before the node that has the bodies.
    """
    places = {id(node): place for place, node in enumerate(every_node(graph))}
    return tuple(
        Layer(name, places[id(node)], node.operator, _reads(node, name, graph))
        for node, name in values_with_nodes(graph)
    )


def _reads(node: Node, name: str, graph: Graph) -> tuple[str, ...] | None:
    """Return what a node reads; None where bodies are in the way."""
    if node.bodies or is_within(name):
        return None
    return tuple(n for n in node.reads if n not in graph.constants)


def operators_of(graph: Graph) -> list[str]:
    """Return the operators of a graph and of its bodies."""
    return sorted({node.full_name for node in every_node(graph)})


def spelled_by(graph: Graph) -> dict[str, list[str]]:
    """Return the operators that are spelled out somewhere, each with those that it is made of."""
    found: dict[str, set[str]] = {}
    waiting = list(every_node(graph))
    while waiting:
        node = waiting.pop()
        if node.function is not None:
            inner = list(every_node(node.function))
            found.setdefault(node.full_name, set()).update(each.full_name for each in inner)
            waiting += inner
    return {name: sorted(inner) for name, inner in sorted(found.items())}


def write_graph(graph: Graph, folder: Path) -> None:
    """Write `graph.json` and `weights.bin` into a folder."""
    with (folder / "weights.bin").open("wb") as stream:
        writer = _TensorWriter(stream)
        document = {**_row(graph, writer), "tensors": writer.rows}
    (folder / "graph.json").write_text(json.dumps(document), encoding="utf-8")


class _TensorWriter:
    """Appends tensors to a file and remembers where each one is."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.rows: list[dict[str, Any]] = []

    def add(self, tensor: Tensor) -> int:
        offset = self.stream.tell()
        self.stream.write(b"\0" * (-offset % ALIGNMENT))
        row = {"dtype": tensor.dtype, "shape": tensor.shape, "offset": self.stream.tell()}
        self.stream.write(tensor.data())
        self.rows.append(row)
        return len(self.rows) - 1


def _row(graph: Graph, writer: _TensorWriter) -> dict[str, Any]:
    return {
        "opset": graph.opset,
        "inputs": [vars(value) for value in graph.inputs],
        "outputs": [vars(value) for value in graph.outputs],
        "constants": {name: writer.add(t) for name, t in graph.constants.items()},
        "nodes": [_node_row(node, writer) for node in graph.nodes],
    }


def _node_row(node: Node, writer: _TensorWriter) -> dict[str, Any]:
    attributes = {key: _attribute(each, writer) for key, each in node.attributes.items()}
    function = _row(node.function, writer) if node.function else None
    return {**vars(node), "attributes": attributes, "function": function}


def _attribute(value: Any, writer: _TensorWriter) -> Any:
    if isinstance(value, Graph):
        return {"graph": _row(value, writer)}
    return {"tensor": writer.add(value)} if isinstance(value, Tensor) else value


def _write_onnx(model: onnx.ModelProto, folder: Path) -> None:
    """Write the model, and the same with every computed value as an output.

    Where a loop stacks what its iterations compute there is a second such file, without that: it is
    for values whose shapes differ from iteration to iteration.
    """
    import onnx

    drop_initializer_inputs(model, ir_version=4)
    _save(model, folder / "model.onnx")
    branching = any(a.HasField("g") for node in model.graph.node for a in node.attribute)
    plain = onnx.ModelProto()
    if branching:
        plain.CopyFrom(model)
    stacked = expose(model, types_of_values(model) if branching else {})
    _save(model, folder / "taps.onnx")
    if stacked:
        expose(plain, {})
        _save(plain, folder / "taps-plain.onnx")


def _save(model: onnx.ModelProto, path: Path) -> None:
    import onnx

    size = int(np.sum([len(t.raw_data) for t in model.graph.initializer], dtype=np.int64))
    onnx.save_model(
        model,
        path,
        save_as_external_data=size > LARGE,
        location=f"{path.stem}.data",
    )
