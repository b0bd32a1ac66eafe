"""TensorFlow Lite to ONNX by tf2onnx: weights kept, values named after the file's tensors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from xbackend.errors import ModelError
from xbackend.plugins.converter import ConversionRequest, ConversionResult, ConverterSpec
from xbackend.preparation.conversion import weights

from .libraries.tf2onnx_patches import NOTE, without_constant_folding
from .onnx.names import rename_values, unique_names
from .tflite.file import FlatFile, read_flat_file, refuse_foreign_operations

if TYPE_CHECKING:
    import onnx

SPEC = ConverterSpec(
    name="tflite_to_onnx",
    conversions=(("tflite", "onnx"),),
    convert="xbackend.converters.tflite_to_onnx:convert",
    modules=("tf2onnx", "tensorflow"),
    extra="tf",
    distributions=("tf2onnx", "tensorflow", "onnx"),
)

OPSET = 17

ACTIVATIONS = frozenset({"Relu", "Clip", "Tanh", "Min", "Max", "HardSwish", "Sigmoid"})
"""What a TensorFlow Lite operation can have fused at its end, and ONNX has as a node of its own."""

LINEAR = "/linear"
"""Added to a tensor's name for the value before the activation that TensorFlow Lite fuses."""


def convert(request: ConversionRequest) -> ConversionResult:
    """Write `model.onnx`, whose inputs and outputs have the file's layout and names."""
    file = read_flat_file(request.source)
    refuse_foreign_operations(file, request.source)
    model = _converted(request.source)
    _name_after_tensors(model, file)
    path = request.output / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return ConversionResult(
        model=path.name,
        weights=weights.compare_weights(file.weights(), _initializers(model)),
        notes={"opset": OPSET, "folding": NOTE, "layout": "inputs as in the TensorFlow Lite file"},
    )


def _converted(path: Path) -> onnx.ModelProto:
    import tf2onnx

    try:
        with without_constant_folding():
            model: onnx.ModelProto = tf2onnx.convert.from_tflite(str(path), opset=OPSET)[0]
    except (RuntimeError, ValueError, KeyError, NotImplementedError) as error:
        said = " ".join(str(error).split())[:300]
        raise ModelError(
            f"tf2onnx cannot convert {path}: {said or type(error).__name__}"
        ) from error
    foreign = sorted({node.op_type for node in model.graph.node if _is_foreign(node)})
    if foreign:
        raise ModelError(
            f"{path} has operations that tf2onnx cannot express in ONNX: {', '.join(foreign)}."
        )
    return model


def _is_foreign(node: onnx.NodeProto) -> bool:
    from onnx import defs

    return bool(node.domain not in ("", "ai.onnx") or not defs.has(node.op_type, OPSET))


def _initializers(model: onnx.ModelProto) -> list[Any]:
    from onnx.numpy_helper import to_array

    return [to_array(tensor) for tensor in model.graph.initializer]


def _name_after_tensors(model: onnx.ModelProto, file: FlatFile) -> None:
    """Give each value the name of the tensor that it is.

    The converter of TensorFlow joins the names of fused layers, `a;b;c`, of which the first says
    what the tensor is. tf2onnx gives the tensor's name to the value before a fused activation;
    here the activation's result gets it, since that is the tensor.
    """
    computed = {file.tensors[index].name for _, outputs in file.operations for index in outputs}
    short = unique_names({name: name.partition(";")[0] for name in computed})
    names = {value: short.get(value, _shortened(value)) for value in _values(model)}
    for before, after in _fused_activations(model, computed):
        names[before], names[after] = short[before] + LINEAR, short[before]
    kept = {v.name for v in (*model.graph.input, *model.graph.output)}
    rename_values(model, {old: new for old, new in names.items() if old not in kept})


def _shortened(value: str) -> str:
    """Return the name of a value that tf2onnx added beside a tensor, without fused layers.

    >>> _shortened("conv/Relu;conv/BiasAdd;conv/Conv2D__12:0")
    'conv/Relu__12:0'
    """
    first, joined, rest = value.partition(";")
    return f"{first}__{rest.rpartition('__')[2]}" if joined and "__" in rest else value


def _values(model: onnx.ModelProto) -> list[str]:
    return [name for node in model.graph.node for name in node.output]


def _fused_activations(model: onnx.ModelProto, computed: set[str]) -> list[tuple[str, str]]:
    """Return the values before and after each activation that the tensors do not name apart."""
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    outputs = {value.name for value in model.graph.output}
    return [
        (name, nodes[0].output[0])
        for name, nodes in readers.items()
        if name in computed
        and len(nodes) == 1
        and nodes[0].op_type in ACTIVATIONS
        and nodes[0].output[0] not in computed | outputs
    ]
