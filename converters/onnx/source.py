"""Reads an ONNX file that may be broken or hostile: a sound model, or one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message

from xbackend.errors import ModelError

from ..libraries.sentence import first_line
from .order import sort_nodes

if TYPE_CHECKING:
    import onnx

OLDEST_OPSET = 7
"""What ONNX Runtime guarantees; older operators broadcast by attributes."""

LARGEST_OPSET = 9999
"""What no version reaches for long; ONNX has come to 26 in ten years."""

FOREIGN_DOMAINS = frozenset({"com.microsoft", "com.microsoft.nchwc", "ai.onnx.ml"})
"""Operator sets beside ONNX's own that some backend has."""


def read_onnx(path: Path) -> onnx.ModelProto:
    """Read a model with all its weights, local functions inlined, nodes in an order to compute.

    Raises ModelError for a file that is missing, truncated, cyclic, of an opset before 7, with an
    operator that ONNX does not have, or with weights outside of its own folder.
    """
    model = _parse(path)
    _refuse_odd_text(model, path)
    _refuse_foreign_weights(model, path)
    _free_negative_extents(model)
    _load_weights(model, path)
    model = _inline(model, path)
    _refuse_old_opset(model, path)
    _refuse_unknown_operators(model, path)
    sort_nodes(model.graph, path)
    _check(model, path)
    return model


def own_opset(model: onnx.ModelProto) -> int:
    """Return the version of ONNX's own operator set that a model asks for; 1 where it is silent."""
    return max((entry.version for entry in model.opset_import if not entry.domain), default=1)


def _parse(path: Path) -> onnx.ModelProto:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(path, load_external_data=False)
    except OSError as error:
        raise ModelError(f"Cannot read the model {path}: {error.strerror or error}.") from error
    except DecodeError as error:
        raise ModelError(
            f"{path} is not a whole ONNX file ({path.stat().st_size} bytes): it is truncated or "
            "of another format."
        ) from error
    if not model.HasField("graph") or not model.graph.node:
        raise ModelError(f"{path} holds no ONNX graph: it is truncated or of another format.")
    if not model.graph.output:
        raise ModelError(f"{path} has no outputs, so there is nothing to compare. Name some in it.")
    return model


def _refuse_odd_text(model: onnx.ModelProto, path: Path) -> None:
    """Raise ModelError for a name that is no UTF-8, which protobuf gives as bytes."""
    waiting: list[Any] = [model]
    while waiting:
        for field, value in waiting.pop().ListFields():
            if field.type not in (field.TYPE_MESSAGE, field.TYPE_STRING):
                continue
            several = [value] if isinstance(value, str | bytes | Message) else value
            if field.type == field.TYPE_MESSAGE:
                waiting += several
            elif any(isinstance(text, bytes) for text in several):
                raise ModelError(
                    f"{path} is damaged: a '{field.name}' in it is no text. Export the model again."
                )


def _refuse_foreign_weights(model: onnx.ModelProto, path: Path) -> None:
    from onnx.external_data_helper import uses_external_data

    folder = path.parent.resolve()
    for tensor in _all_tensors(model):
        if not uses_external_data(tensor):
            continue
        location = next((e.value for e in tensor.external_data if e.key == "location"), "")
        target = (folder / location).resolve()
        if Path(location).is_absolute() or not target.is_relative_to(folder):
            raise ModelError(
                f"{path} takes the weight '{tensor.name}' from '{location}', outside of its own "
                "folder, which is not allowed. Move that file beside the model."
            )
        if not target.is_file():
            raise ModelError(
                f"{path} takes the weight '{tensor.name}' from '{location}', which is missing. "
                "Put that file beside the model."
            )


def _free_negative_extents(model: onnx.ModelProto) -> None:
    """Leave out extents below 0, by which Paddle and others say that an axis is free."""
    graph = model.graph
    for value in (*graph.input, *graph.output, *graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_value < 0:
                dim.ClearField("dim_value")


def _all_tensors(model: onnx.ModelProto) -> list[onnx.TensorProto]:
    from onnx.external_data_helper import _get_all_tensors

    return list(_get_all_tensors(model))


def _load_weights(model: onnx.ModelProto, path: Path) -> None:
    from onnx.external_data_helper import load_external_data_for_model

    try:
        load_external_data_for_model(model, str(path.parent))
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(f"Cannot read the weights of {path}: {error}.") from error


def _inline(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    from onnx.inliner import inline_local_functions

    if not model.functions:
        return model
    try:
        return inline_local_functions(model)
    except Exception as error:  # the library has errors of several kinds for this
        raise ModelError(f"Cannot inline the functions of {path}: {first_line(error)}") from error


def _refuse_old_opset(model: onnx.ModelProto, path: Path) -> None:
    opset = own_opset(model)
    if opset > LARGEST_OPSET:
        raise ModelError(
            f"{path} is damaged: it asks for opset {opset}, which there is not. Export the model "
            "again."
        )
    uses_it = any(node.domain in ("", "ai.onnx") for node in model.graph.node)
    if uses_it and opset < OLDEST_OPSET:
        raise ModelError(
            f"{path} uses opset {opset}; the oldest that backends share is {OLDEST_OPSET}. "
            "Convert it with onnx.version_converter.convert_version."
        )


def _refuse_unknown_operators(model: onnx.ModelProto, path: Path) -> None:
    from onnx import defs

    opset = own_opset(model)
    unknown = []
    for node in model.graph.node:
        domain = "" if node.domain == "ai.onnx" else node.domain
        if domain in FOREIGN_DOMAINS:
            continue
        if domain or not defs.has(node.op_type, opset):
            unknown.append(f"{domain}.{node.op_type}" if domain else node.op_type)
    if unknown:
        names = ", ".join(sorted(set(unknown)))
        raise ModelError(
            f"{path} has operators that ONNX opset {opset} does not know: {names}. "
            "Export the model with standard operators."
        )


def _check(model: onnx.ModelProto, path: Path) -> None:
    import onnx

    if any(node.domain in FOREIGN_DOMAINS for node in model.graph.node):
        return
    if model.ByteSize() >= onnx.checker.MAXIMUM_PROTOBUF:
        return
    try:
        onnx.checker.check_model(model)
    except Exception as error:  # its own, and others for what it does not expect
        raise ModelError(f"{path} is not a sound ONNX model: {first_line(error)}") from error


def drop_initializer_inputs(model: onnx.ModelProto, ir_version: int) -> None:
    """Leave to the inputs what is no weight, as formats before the fourth do not."""
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    model.ir_version = max(model.ir_version, ir_version)
