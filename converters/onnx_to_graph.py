"""ONNX to the prepared graph: files that a worker reads without the onnx package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xbackend.errors import ModelError
from xbackend.plugins.converter import ConversionRequest, ConversionResult, ConverterSpec
from xbackend.preparation.conversion import weights
from xbackend.worker.artifact import Layer, ValueInfo
from xbackend.worker.graph import Graph, Node
from xbackend.worker.tensor import Tensor

from .onnx.normalise import SUBGRAPH, NormaliseContext, format_name, normalise, tensor_of
from .onnx.source import drop_initializer_inputs, own_opset, read_onnx

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
    revision=3,
)

ALIGNMENT = 64
"""Bytes on which each tensor in `weights.bin` begins."""

LARGE = 1 << 30
"""Bytes of weights from which they are kept beside the ONNX file: protobuf ends at 2 GiB."""


def convert(request: ConversionRequest) -> ConversionResult:
    """Write `graph.json`, `weights.bin`, `model.onnx` and `taps.onnx`."""
    model = read_onnx(request.source)
    graph = graph_of(model)
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
            "operators": sorted({node.full_name for node in graph.nodes}),
        },
    )


def graph_of(model: onnx.ModelProto) -> Graph:
    """Normalise a sound model, see `xbackend.worker.graph`."""
    context = NormaliseContext(opset=own_opset(model), ranks=_ranks(model))
    nodes = tuple(normalise(node, context) for node in model.graph.node)
    constants = {t.name: tensor_of(t) for t in model.graph.initializer}
    return Graph(
        opset=context.opset,
        inputs=tuple(_value(v) for v in model.graph.input if v.name not in constants),
        outputs=tuple(_value(v) for v in model.graph.output),
        constants={**constants, **context.constants},
        nodes=nodes,
    )


def layers_of(graph: Graph) -> tuple[Layer, ...]:
    """List every value that a node computes, with its place, its operator and what it reads."""
    return tuple(
        Layer(name, index, node.operator, _reads(node, graph))
        for index, node in enumerate(graph.nodes)
        for name in node.outputs
        if name
    )


def _reads(node: Node, graph: Graph) -> tuple[str, ...] | None:
    """Return what a node reads; None where a subgraph may read more than the node says."""
    if any(isinstance(value, str) and value == SUBGRAPH for value in node.attributes.values()):
        return None
    return tuple(dict.fromkeys(n for n in node.inputs if n and n not in graph.constants))


def write_graph(graph: Graph, folder: Path) -> None:
    """Write `graph.json` and `weights.bin` into a folder."""
    with (folder / "weights.bin").open("wb") as stream:
        writer = _TensorWriter(stream)
        document = {
            "opset": graph.opset,
            "inputs": [vars(value) for value in graph.inputs],
            "outputs": [vars(value) for value in graph.outputs],
            "constants": {name: writer.add(t) for name, t in graph.constants.items()},
            "nodes": [_node_row(node, writer) for node in graph.nodes],
            "tensors": writer.rows,
        }
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


def _node_row(node: Node, writer: _TensorWriter) -> dict[str, Any]:
    attributes = {
        key: {"tensor": writer.add(value)} if isinstance(value, Tensor) else value
        for key, value in node.attributes.items()
    }
    return {**vars(node), "attributes": attributes}


def _value(value: onnx.ValueInfoProto) -> ValueInfo:
    if value.type.WhichOneof("value") not in ("tensor_type", None):
        raise ModelError(f"The model's '{value.name}' is not a tensor, which no backend shares.")
    tensor = value.type.tensor_type
    dtype = format_name(tensor.elem_type)
    if not tensor.HasField("shape"):
        return ValueInfo(value.name, dtype, None)
    dims = tensor.shape.dim
    shape = tuple(d.dim_value if d.HasField("dim_value") else None for d in dims)
    axes = tuple(d.dim_param for d in dims)
    return ValueInfo(value.name, dtype, shape, axes if any(axes) else ())


def _ranks(model: onnx.ModelProto) -> dict[str, int]:
    """Return the number of axes of the values that are declared or are weights."""
    graph = model.graph
    declared = {
        value.name: len(value.type.tensor_type.shape.dim)
        for value in (*graph.input, *graph.value_info, *graph.output)
        if value.type.tensor_type.HasField("shape")
    }
    return declared | {tensor.name: len(tensor.dims) for tensor in graph.initializer}


def _write_onnx(model: onnx.ModelProto, folder: Path) -> None:
    """Write the model, and the same with every computed value as an output."""
    import onnx

    drop_initializer_inputs(model, ir_version=4)
    _save(model, folder / "model.onnx")
    known = {value.name for value in model.graph.output}
    computed = [name for node in model.graph.node for name in node.output if name]
    model.graph.output.extend(
        onnx.ValueInfoProto(name=name) for name in computed if name not in known
    )
    _save(model, folder / "taps.onnx")


def _save(model: onnx.ModelProto, path: Path) -> None:
    import onnx

    size = int(np.sum([len(t.raw_data) for t in model.graph.initializer], dtype=np.int64))
    onnx.save_model(
        model,
        path,
        save_as_external_data=size > LARGE,
        location=f"{path.stem}.data",
    )
