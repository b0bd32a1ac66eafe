"""Keras and SavedModel to ONNX by tf2onnx, with nothing folded: weights keep their bits.

What changes all the same: Keras computes an inference's batch normalization as x·s + t, and
tf2onnx computes s and t once, so the four vectors of such a layer become two. That is the
arithmetic of Keras itself, whose bits a BatchNormalization node would not give.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from xbackend.errors import ModelError
from xbackend.plugins.converter import ConversionRequest, ConversionResult, ConverterSpec
from xbackend.preparation.conversion import weights

from .keras.names import names_of_layers, names_of_weights
from .keras.source import BATCH, TraceableModel, load_traceable
from .libraries.tf2onnx_patches import NOTE, without_constant_folding
from .onnx.names import rename_values

if TYPE_CHECKING:
    import onnx

SPEC = ConverterSpec(
    name="keras_to_onnx",
    conversions=(("keras", "onnx"), ("h5", "onnx"), ("savedmodel", "onnx")),
    convert="xbackend.converters.keras_to_onnx:convert",
    modules=("tensorflow", "tf2onnx"),
    extra="tf",
    distributions=("tensorflow", "keras", "tf2onnx", "onnx"),
    revision=3,
)

OPSET = 17

CALL = re.compile(r"(Stateful)?PartitionedCall(_\d+)?")
"""What TensorFlow puts before the names of values in a function that another one calls."""


def convert(request: ConversionRequest) -> ConversionResult:
    """Write `model.onnx`, with the batch fixed at one and the model's own names and layout."""
    source = load_traceable(request.source, request.source_format)
    model = _converted(source, request)
    _name_after_layers(model, source)
    path = request.output / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return ConversionResult(
        model=path.name,
        weights=weights.compare_weights(source.weights, _initializers(model)),
        notes={"opset": OPSET, "batch": BATCH, "folding": NOTE},
    )


def _converted(source: TraceableModel, request: ConversionRequest) -> onnx.ModelProto:
    import tf2onnx

    try:
        with without_constant_folding():
            model: onnx.ModelProto = tf2onnx.convert.from_function(
                source.function, input_signature=source.signature, opset=OPSET
            )[0]
    except Exception as error:  # tracing runs the model's layers, which raise anything
        said = " ".join(str(error).split())[:300]
        raise ModelError(
            f"tf2onnx cannot convert {request.source}: {said or type(error).__name__}"
        ) from error
    _refuse_foreign(model, request)
    _bind_captured(model, source)
    return model


def _bind_captured(model: onnx.ModelProto, source: TraceableModel) -> None:
    """Make constants of the numbers that layers hold beside their weights, as Normalization does.

    TensorFlow passes them to the function as inputs after the model's own.
    """
    from onnx.numpy_helper import from_array

    held = list(model.graph.input)[len(source.inputs) :]
    if not held:
        return
    concrete = source.function.get_concrete_function(*source.signature)
    captured = {inner.name: outer for outer, inner in concrete.graph.captures}
    for value in held:
        model.graph.initializer.append(from_array(captured[value.name].numpy(), value.name))
        model.graph.input.remove(value)


def _refuse_foreign(model: onnx.ModelProto, request: ConversionRequest) -> None:
    """Raise ModelError for operations that tf2onnx passed through: it only logs them."""
    from onnx import defs

    foreign = {
        node.op_type
        for node in model.graph.node
        if node.domain not in ("", "ai.onnx") or not defs.has(node.op_type, OPSET)
    }
    if foreign:
        raise ModelError(
            f"{request.source} has operations that tf2onnx cannot express in ONNX: "
            f"{', '.join(sorted(foreign))}."
        )


def _initializers(model: onnx.ModelProto) -> list[Any]:
    from onnx.numpy_helper import to_array

    return [to_array(tensor) for tensor in model.graph.initializer]


def _name_after_layers(model: onnx.ModelProto, source: TraceableModel) -> None:
    """Name inputs, outputs and weights as the model does, and values after their layers."""
    graph = model.graph
    ports = dict(zip((v.name for v in graph.input), source.inputs, strict=True))
    ports |= dict(zip((v.name for v in graph.output), source.outputs, strict=True))
    scopes = set(source.scopes)
    computed = [name for node in graph.node for name in node.output if name not in ports]
    values = names_of_layers(model, {name: plain(name, scopes) for name in computed}, scopes)
    rename_values(model, {**values, **names_of_weights(model, source.weights), **ports})


def plain(name: str, scopes: set[str]) -> str:
    """Return a value's name without what tracing added: calls, the model, `:0`, `_1` after a layer.

    >>> plain("small_1/conv1_1/BiasAdd:0", {"small", "conv1"})
    'conv1/BiasAdd'
    >>> plain("small_1/conv_1/add_1:0", {"small", "conv_1", "add"})
    'conv_1/add_1'
    """
    *layers, operation = name.removesuffix(":0").split("/")
    while layers and CALL.fullmatch(layers[0]):
        del layers[0]
    parts = [_layer(part, scopes) for part in layers]
    return "/".join([*(parts[1:] if len(parts) > 1 and parts[0] in scopes else parts), operation])


def _layer(part: str, scopes: set[str]) -> str:
    bare = re.sub(r"_\d+$", "", part)
    return bare if part not in scopes and bare in scopes else part
