"""Brings a float ONNX model into the form that ONNX Runtime's quantizer sees through.

Every step keeps what the model computes, but for the rounding of folded weights, and is recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from xbackend.errors import ConversionError

from ..libraries.sentence import first_line
from .source import own_opset

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

Array = np.ndarray[Any, Any]

FOLDABLE_OPERATORS = frozenset(
    ["Constant", "ConstantOfShape", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"]
)
"""Operators that compute nothing: of constants they give a constant, on every machine."""


def upgrade_opset(model: onnx.ModelProto, opset: int, path: Path) -> onnx.ModelProto:
    """Convert a model of an older opset. Raises ConversionError where onnx cannot."""
    from onnx import version_converter

    if own_opset(model) >= opset:
        return model
    try:
        return version_converter.convert_version(model, opset)
    except (RuntimeError, ValueError) as error:
        raise ConversionError(
            f"Quantizing {path} needs opset {opset}, and onnx cannot convert it from opset "
            f"{own_opset(model)}: {first_line(error)} Export the model with opset {opset} or newer."
        ) from error


def materialize_constants(model: onnx.ModelProto) -> list[str]:
    """Turn what only moves constants about into initializers; return their names.

    The quantizer takes for weights and biases what is an initializer, and nothing else.
    """
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    outputs = {value.name for value in graph.output}
    made = []
    for node in list(graph.node):
        if node.domain or node.op_type not in FOLDABLE_OPERATORS or outputs & set(node.output):
            continue
        if all(name in constants for name in node.input if name):
            tensor = _computed(node, constants, own_opset(model))
            constants[tensor.name] = tensor
            graph.initializer.append(tensor)
            graph.node.remove(node)
            made.append(tensor.name)
    return made


def _computed(
    node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto], opset: int
) -> onnx.TensorProto:
    from onnx import helper, numpy_helper
    from onnx.reference import ReferenceEvaluator

    given = [constants[name] for name in node.input if name]
    result = helper.make_empty_tensor_value_info(node.output[0])
    graph = helper.make_graph([node], "constant", [], [result], given)
    opsets = [helper.make_opsetid("", opset)]
    (array,) = ReferenceEvaluator(helper.make_model(graph, opset_imports=opsets)).run(None, {})
    return numpy_helper.from_array(np.asarray(array), node.output[0])


def replace_sum_with_add(model: onnx.ModelProto) -> list[str]:
    """Write each Sum of two as the Add that it is, which integers have; return the outputs."""
    sums = [n for n in model.graph.node if n.op_type == "Sum" and len(n.input) == 2]
    for node in sums:
        node.op_type = "Add"
    return [node.output[0] for node in sums]


def fold_batch_norms(model: onnx.ModelProto) -> list[str]:
    """Put each BatchNormalization into the Conv before it; return the folded nodes' outputs.

    Computed in float64 and rounded once, so that the bits are the same on every machine.
    """
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    conv_of = {node.output[0]: node for node in graph.node if node.op_type == "Conv"}
    readers = [name for node in graph.node for name in node.input]
    readers += [value.name for value in graph.output]
    folded = []
    for norm in [node for node in graph.node if node.op_type == "BatchNormalization"]:
        conv = conv_of.get(norm.input[0])
        if conv is None or readers.count(norm.input[0]) > 1 or len(norm.output) > 1:
            continue
        if not all(name in constants for name in (*conv.input[1:], *norm.input[1:])):
            continue
        _fold(graph, conv, norm, constants)
        graph.node.remove(norm)
        folded.append(norm.output[0])
    return folded


def _fold(graph: Any, conv: Any, norm: Any, constants: Mapping[str, onnx.TensorProto]) -> None:
    from onnx import numpy_helper

    factor, mean, beta = _factor_mean_beta(norm, constants)
    kernel = array_of(constants[conv.input[1]]).astype(np.float64)
    bias = array_of(constants[conv.input[2]]).astype(np.float64) if len(conv.input) > 2 else 0.0
    kernel = kernel * factor.reshape(-1, *[1] * (kernel.ndim - 1))
    name = norm.output[0]
    new = {f"{name}/kernel": kernel, f"{name}/bias": (bias - mean) * factor + beta}
    for key, array in new.items():
        graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), key))
    conv.input[:] = [conv.input[0], *new]
    conv.output[0] = name


def _factor_mean_beta(
    norm: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]
) -> tuple[Array, Array, Array]:
    """Return in float64, for each channel: (x - mean) * factor + beta is what comes out."""
    gamma, beta, mean, variance = (
        array_of(constants[n]).astype(np.float64) for n in norm.input[1:]
    )
    epsilon = next((a.f for a in norm.attribute if a.name == "epsilon"), float(np.float32(1e-5)))
    return gamma / np.sqrt(variance + epsilon), mean, beta


def decompose_batch_norms(model: onnx.ModelProto) -> list[str]:
    """Write each BatchNormalization as the product and the sum that it is; return their outputs.

    The quantizer has integers for these two, and none for it. Rounded once, as folded ones are.
    """
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    ranks = _ranks(model)
    spelt = []
    for place, norm in reversed(list(enumerate(graph.node))):
        sound = norm.op_type == "BatchNormalization" and len(norm.output) == 1
        rank = ranks.get(norm.input[0], 0) if sound else 0
        if rank < 2 or not all(name in constants for name in norm.input[1:]):
            continue
        nodes = _product_and_sum(graph, norm, constants, rank)
        graph.node.remove(norm)
        for node in reversed(nodes):
            graph.node.insert(place, node)
        spelt.append(norm.output[0])
    return spelt[::-1]


def _ranks(model: onnx.ModelProto) -> dict[str, int]:
    """Return how many axes each value has, as far as onnx can tell."""
    from onnx import shape_inference

    try:
        graph = shape_inference.infer_shapes(model).graph
    except (RuntimeError, ValueError):
        return {}
    values = [*graph.input, *graph.value_info]
    shaped = [value for value in values if value.type.tensor_type.HasField("shape")]
    return {value.name: len(value.type.tensor_type.shape.dim) for value in shaped}


def _product_and_sum(
    graph: Any, norm: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto], rank: int
) -> list[onnx.NodeProto]:
    from onnx import helper, numpy_helper

    name = norm.output[0]
    factor, mean, beta = _factor_mean_beta(norm, constants)
    for word, array in {"factor": factor, "term": beta - mean * factor}.items():
        column = array.astype(np.float32).reshape(-1, *[1] * (rank - 2))
        graph.initializer.append(numpy_helper.from_array(column, f"{name}/{word}"))
    return [
        helper.make_node("Mul", [norm.input[0], f"{name}/factor"], [f"{name}/scaled"]),
        helper.make_node("Add", [f"{name}/scaled", f"{name}/term"], [name], norm.name),
    ]


def array_of(tensor: onnx.TensorProto) -> Array:
    """Read a tensor."""
    from onnx import numpy_helper

    return np.asarray(numpy_helper.to_array(tensor))
