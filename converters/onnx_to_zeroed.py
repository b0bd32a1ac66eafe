"""ONNX to the same graph with low mantissa bits zeroed, of weights and after every layer.

Weights are changed by their bits. After a layer, nodes that every backend executes do it by
arithmetic that is exact. To the nearest: with C = 2^n + 1, g = C*x and d = x - g, g + d is x with
n bits fewer (G. W. Veltkamp 1968; T. J. Dekker, Numer. Math. 18, 1971), also where a compiler
contracts a product and a sum. Towards zero: what was rounded away from zero goes back by 5/8 to
5/4 of a step and is rounded again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xbackend.errors import ConversionError, UsageError
from xbackend.numerics.zeroing import MANTISSA, ROUNDINGS, zero_mantissa_bits
from xbackend.plugins.converter import ConversionRequest, ConversionResult, ConverterSpec
from xbackend.preparation.conversion import weights

from .onnx.normalise import tensor_of
from .onnx.source import read_onnx

if TYPE_CHECKING:
    import onnx

SPEC = ConverterSpec(
    name="onnx_to_zeroed",
    conversions=(("onnx", "onnx-zeroed"),),
    convert="xbackend.converters.onnx_to_zeroed:convert",
    modules=("onnx",),
    extra="ort",
    distributions=("onnx",),
    revision=2,
    options={
        "weights": tuple(range(MANTISSA)),
        "activations": tuple(range(MANTISSA)),
        "rounding": ROUNDINGS,
    },
)

DEFAULTS: Mapping[str, Any] = {"weights": 0, "activations": 0, "rounding": "nearest"}
"""Options: low mantissa bits of weights and of activations to zero, and how they are rounded."""

FLOAT = 1
"""ONNX's number for float32."""

SELECTING = frozenset(
    """
    Concat Constant ConstantOfShape DepthToSpace Dropout Expand Flatten Gather Identity MaxPool
    Pad Relu Reshape Slice SpaceToDepth Split Squeeze Tile Transpose Unsqueeze
    """.split()
)
"""Operators whose outputs are numbers of their inputs, or zero: nothing is to be rounded anew."""

MIN_EXACT_BITS = 2
"""Bits from which the arithmetic that cuts is exact."""

LARGE = 1 << 30
"""Bytes of weights from which they are kept beside the ONNX file: protobuf ends at 2 GiB."""


@dataclass(frozen=True)
class Zeroing:
    """The options, checked."""

    weights: int
    activations: int
    rounding: str


def convert(request: ConversionRequest) -> ConversionResult:
    """Write the model with fewer bits; values keep their names, outputs of the graph too."""
    zeroing = _read(request.options)
    model = read_onnx(request.source)
    before = {t.name: tensor_of(t).array for t in model.graph.initializer}
    _zero_weights(model, zeroing)
    added = _zero_activations(model, zeroing) if zeroing.activations else []
    after = [tensor_of(t).array for t in model.graph.initializer]
    _save(model, request)
    return ConversionResult(
        model="model.onnx",
        weights=weights.compare_weights(before, after),
        notes={"options": vars(zeroing), "rounded_values": added},
    )


def _read(options: Mapping[str, Any]) -> Zeroing:
    unknown = sorted(options.keys() - DEFAULTS.keys())
    if unknown:
        raise UsageError(
            f"onnx_to_zeroed has no option '{unknown[0]}'. Its options: {', '.join(DEFAULTS)}."
        )
    given = {**DEFAULTS, **options}
    if given["rounding"] not in ROUNDINGS:
        raise UsageError(
            f"onnx_to_zeroed.rounding={given['rounding']} must be {' or '.join(ROUNDINGS)}."
        )
    for key in ("weights", "activations"):
        if given[key] not in range(MANTISSA):
            raise UsageError(
                f"onnx_to_zeroed.{key}={given[key]} must be a number of bits from 0 to "
                f"{MANTISSA - 1}."
            )
    if given["rounding"] == "zero" and 0 < given["activations"] < MIN_EXACT_BITS:
        raise UsageError(
            f"onnx_to_zeroed.activations={given['activations']} cannot be cut off exactly by "
            f"arithmetic: choose {MIN_EXACT_BITS} bits or more, or rounding=nearest."
        )
    return Zeroing(**given)


def _zero_weights(model: onnx.ModelProto, zeroing: Zeroing) -> None:
    from onnx import numpy_helper

    for tensor in model.graph.initializer:
        if tensor.data_type == FLOAT:
            array = zero_mantissa_bits(tensor_of(tensor).array, zeroing.weights, zeroing.rounding)
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def _zero_activations(model: onnx.ModelProto, zeroing: Zeroing) -> list[str]:
    """Put the arithmetic behind every node that computes float32; return the values' names."""
    graph = model.graph
    if any(a.HasField("g") or a.graphs for node in graph.node for a in node.attribute):
        raise ConversionError(
            "A graph within the graph cannot be rounded after every layer. Export the model "
            "without control flow."
        )
    floats = _floats(model)
    names = [
        name
        for node in graph.node
        for name in node.output
        if name in floats and node.op_type not in SELECTING
    ]
    constants = _constants(zeroing.activations)
    nodes: list[onnx.NodeProto] = []
    for node in list(graph.node):
        rounded = [name for name in node.output if name in names]
        for place, name in enumerate(node.output):
            node.output[place] = _exact(name) if name in rounded else name
        nodes.append(node)
        for name in rounded:
            nodes += _rounding(name, zeroing.rounding)
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend(constants if zeroing.rounding == "zero" else constants[:1])
    return names


def _floats(model: onnx.ModelProto) -> frozenset[str]:
    """Return the names of float32 values, as far as they are declared or can be inferred."""
    from onnx import shape_inference

    graph = shape_inference.infer_shapes(model).graph if model.ByteSize() < LARGE else model.graph
    values = (*graph.value_info, *graph.output)
    known = {value.name: value.type.tensor_type.elem_type for value in values}
    computed = (name for node in graph.node for name in node.output if name)
    return frozenset(name for name in computed if known.get(name, FLOAT) == FLOAT)


SPLIT, STEP = "xbackend/split", "xbackend/step"
"""Names of the constants 2^n + 1, and 5/4 of 2^-(24-n)."""


def _constants(bits: int) -> list[onnx.TensorProto]:
    from onnx import numpy_helper

    split = np.array(2.0**bits + 1, np.float32)
    step = np.array(1.25 * 2.0 ** (bits - MANTISSA - 1), np.float32)
    return [numpy_helper.from_array(split, SPLIT), numpy_helper.from_array(step, STEP)]


def _exact(name: str) -> str:
    """Return the name of a value before it is rounded."""
    return f"{name}/exact"


def _rounding(name: str, rounding: str) -> Iterator[onnx.NodeProto]:
    exact = _exact(name)
    if rounding == "nearest":
        yield from _nearest(exact, name, name)
        return
    near, back, low = f"{name}/near", f"{name}/back", f"{name}/low"
    yield from _nearest(exact, near, f"{name}/1")
    yield _node("Mul", (near, STEP), f"{name}/step")
    yield _node("Sub", (near, f"{name}/step"), back)
    yield from _nearest(back, low, f"{name}/2")
    yield _node("Abs", (near,), f"{name}/size")
    yield _node("Abs", (exact,), f"{name}/limit")
    yield _node("Greater", (f"{name}/size", f"{name}/limit"), f"{name}/beyond")
    yield _node("Where", (f"{name}/beyond", low, near), name)


def _nearest(source: str, target: str, stem: str) -> Iterator[onnx.NodeProto]:
    """Round one value with three nodes."""
    yield _node("Mul", (source, SPLIT), f"{stem}/scaled")
    yield _node("Sub", (source, f"{stem}/scaled"), f"{stem}/rest")
    yield _node("Add", (f"{stem}/scaled", f"{stem}/rest"), target)


def _node(operator: str, inputs: tuple[str, ...], output: str) -> onnx.NodeProto:
    from onnx import helper

    return helper.make_node(operator, list(inputs), [output], name=f"xbackend/{output}")


def _save(model: onnx.ModelProto, request: ConversionRequest) -> None:
    import onnx

    size = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    path = request.output / "model.onnx"
    onnx.save_model(model, path, save_as_external_data=size > LARGE, location=f"{path.stem}.data")
