"""One form for each ONNX operator whatever its opset, as `xbackend.worker.graph` promises."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from xbackend.errors import ModelError
from xbackend.worker.graph import Graph, Node
from xbackend.worker.tensor import Tensor, from_numpy

if TYPE_CHECKING:
    import onnx

FORMATS = frozenset({"to", "dtype", "output_dtype"})
"""Attributes whose integer names a number format."""


@dataclass
class NormaliseContext:
    """What normalising a node may look up and add to."""

    opset: int
    ranks: dict[str, int]
    """Number of axes of the values for which it is known."""
    types: Mapping[str, onnx.TypeProto] = field(default_factory=dict)
    """Types of the values, as far as they are known; filled in where something may need them."""
    graph: Callable[[onnx.GraphProto, NormaliseContext], Graph] | None = None
    """Normalises a graph that is an attribute."""
    function: Callable[[onnx.NodeProto, NormaliseContext], Graph | None] | None = None
    """Spells a node out in others."""
    constants: dict[str, Tensor] = field(default_factory=dict)
    """Constants that normalisation adds, by new names."""

    def add(self, near: str, what: str, array: np.ndarray[Any, Any]) -> str:
        """Keep a new constant and return its name, which no other value has."""
        name = f"{near}/{what}"
        while name in self.constants:
            name += "_"
        self.constants[name] = from_numpy(array)
        return name


def normalise(proto: onnx.NodeProto, context: NormaliseContext) -> Node:
    """Turn one ONNX node into the one form that executors know."""
    domain = "" if proto.domain == "ai.onnx" else proto.domain
    node = Node(
        operator=proto.op_type,
        domain=domain,
        name=proto.name,
        inputs=tuple(proto.input),
        outputs=tuple(proto.output),
        attributes=_attributes(proto, domain, context),
        function=context.function(proto, context) if context.function else None,
    )
    if domain:
        return node
    rule = RULES.get(node.operator)
    if rule is None and node.operator.startswith("Reduce"):
        rule = _axes
    return rule(node, context) if rule else node


def tensor_of(proto: onnx.TensorProto) -> Tensor:
    """Read a tensor's bits. Raises ModelError for a format that NumPy and this package lack."""
    from onnx import TensorProto, numpy_helper

    dtype = format_name(proto.data_type)
    try:
        array = numpy_helper.to_array(proto)
    except (ValueError, TypeError) as error:
        raise ModelError(f"The weight '{proto.name}' is not sound: {error}.") from error
    if proto.data_type == TensorProto.BFLOAT16:
        array = array.view(np.uint16)
    return Tensor(dtype, array)


def format_name(number: int) -> str:
    """Return NumPy's name of an ONNX element type; `bfloat16` too; empty for 0."""
    from onnx import TensorProto, helper

    if number == TensorProto.UNDEFINED:
        return ""
    if number == TensorProto.BFLOAT16:
        return "bfloat16"
    try:
        return str(np.dtype(helper.tensor_dtype_to_np_dtype(number)).name)
    except KeyError as error:
        raise ModelError(f"ONNX has no element type {number}.") from error


def _attributes(proto: onnx.NodeProto, domain: str, context: NormaliseContext) -> dict[str, Any]:
    attributes = {} if domain else _defaults(proto.op_type, context.opset)
    for attribute in proto.attribute:
        attributes[attribute.name] = _attribute(attribute, context)
    for key in FORMATS & attributes.keys():
        if isinstance(attributes[key], int):
            attributes[key] = format_name(attributes[key])
    return attributes


def _defaults(operator: str, opset: int) -> dict[str, Any]:
    from onnx import AttributeProto, defs

    attributes = defs.get_schema(operator, opset).attributes
    return {
        name: _attribute(attribute.default_value, None)
        for name, attribute in attributes.items()
        if attribute.default_value.type != AttributeProto.UNDEFINED
    }


def _attribute(attribute: onnx.AttributeProto, context: NormaliseContext | None) -> Any:
    from onnx import AttributeProto, helper

    if attribute.type == AttributeProto.GRAPH and context and context.graph:
        return context.graph(attribute.g, context)

    if attribute.type == AttributeProto.TENSOR:
        return tensor_of(attribute.t)
    value = helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, (int, float)):
        return value
    try:
        return [v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in value]
    except TypeError:
        return f"({AttributeProto.AttributeType.Name(attribute.type).lower()})"


def _changed(node: Node, inputs: tuple[str, ...], drop: tuple[str, ...] = (), **add: Any) -> Node:
    kept = {key: value for key, value in node.attributes.items() if key not in drop}
    return replace(node, inputs=inputs, attributes={**kept, **add})


def _lift(*keys: str, dtype: str = "int64") -> Callable[[Node, NormaliseContext], Node]:
    """Make a rule that turns attributes into inputs, in this order, after the first input."""

    def rule(node: Node, context: NormaliseContext) -> Node:
        if not any(key in node.attributes for key in keys):
            return node
        near = next(name for name in node.outputs if name)
        inputs = [node.inputs[0]]
        for key in keys:
            given = key in node.attributes
            array = np.asarray(node.attributes.get(key, 0), dtype)
            inputs.append(context.add(near, key, array) if given else "")
        while not inputs[-1]:
            inputs.pop()
        return _changed(node, tuple(inputs), drop=keys)

    return rule


_axes = _lift("axes")
_split = _lift("split")
_slice = _lift("starts", "ends", "axes")
_ratio = _lift("ratio", dtype="float32")
_bounds = _lift("min", "max", dtype="float32")


def _clip(node: Node, context: NormaliseContext) -> Node:
    return _bounds(node, context) if context.opset < 11 else node


def _pad(node: Node, context: NormaliseContext) -> Node:
    if context.opset >= 11:
        return node
    near = node.outputs[0]
    pads = context.add(near, "pads", np.asarray(node.attributes["pads"], np.int64))
    value = context.add(near, "value", np.asarray(node.attributes["value"], np.float32))
    return _changed(node, (node.inputs[0], pads, value), drop=("pads", "value"))


def _softmax(node: Node, context: NormaliseContext) -> Node:
    return node if context.opset >= 13 else _changed(node, node.inputs, coerce_2d=1)


def _constant(node: Node, context: NormaliseContext) -> Node:
    if "value" in node.attributes:
        return node
    forms = {"value_float": "float32", "value_floats": "float32"}
    forms |= {"value_int": "int64", "value_ints": "int64"}
    for key, dtype in forms.items():
        if key in node.attributes:
            value = from_numpy(np.asarray(node.attributes[key], dtype))
            return _changed(node, (), drop=(key,), value=value)
    return node


def _constant_of_shape(node: Node, context: NormaliseContext) -> Node:
    if "value" in node.attributes:
        return node
    return _changed(node, node.inputs, value=from_numpy(np.zeros(1, np.float32)))


def _upsample(node: Node, context: NormaliseContext) -> Node:
    inputs: tuple[str, ...]
    if "scales" in node.attributes:
        scales = np.asarray(node.attributes["scales"], np.float32)
        inputs = (node.inputs[0], "", context.add(node.outputs[0], "scales", scales))
    else:
        inputs = (node.inputs[0], "", *node.inputs[1:])
    today = _defaults("Resize", 19) | {
        "mode": node.attributes["mode"],
        "coordinate_transformation_mode": "asymmetric",
        "nearest_mode": "floor",
    }
    return Node("Resize", "", node.name, inputs, node.outputs, today)


def _resize(node: Node, context: NormaliseContext) -> Node:
    return _upsample(node, context) if context.opset < 11 else node


def _window(node: Node, context: NormaliseContext) -> Node:
    """Write out strides, dilations and pads where the number of spatial axes is known."""
    rank = len(node.attributes.get("kernel_shape", ()))
    if not rank:
        rank = max((context.ranks.get(name, 2) for name in node.inputs[:2]), default=2) - 2
    if not rank:
        return node
    written = {"strides": [1] * rank, "dilations": [1] * rank, "pads": [0] * 2 * rank}
    return _changed(node, node.inputs, **{**written, **node.attributes})


RULES: dict[str, Callable[[Node, NormaliseContext], Node]] = {
    "Squeeze": _axes,
    "Unsqueeze": _axes,
    "Split": _split,
    "Slice": _slice,
    "Dropout": _ratio,
    "Clip": _clip,
    "Pad": _pad,
    "Softmax": _softmax,
    "LogSoftmax": _softmax,
    "Hardmax": _softmax,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Upsample": _upsample,
    "Resize": _resize,
    "Conv": _window,
    "ConvTranspose": _window,
    "MaxPool": _window,
    "AveragePool": _window,
    "LpPool": _window,
}
"""Operators whose form changed over the opsets, or whose defaults follow from a rank."""
