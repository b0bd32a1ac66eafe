"""ONNX to the same graph in another floating-point precision, every float32 rounded once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from xbackend.errors import ConversionError
from xbackend.plugins.converter import ConversionRequest, ConversionResult, ConverterSpec
from xbackend.preparation.conversion import weights
from xbackend.worker.tensor import cast

from .onnx.cast_losses import losses
from .onnx.exact_floats import exact_nodes
from .onnx.normalise import tensor_of
from .onnx.source import own_opset, read_onnx

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

PRECISIONS = ("float64", "float16", "bfloat16")

SPEC = ConverterSpec(
    name="onnx_to_cast",
    conversions=tuple(("onnx", f"onnx-{precision}") for precision in PRECISIONS),
    convert="xbackend.converters.onnx_to_cast:convert",
    modules=("onnx",),
    extra="ort",
    distributions=("onnx",),
    texts=("keep",),
    revision=2,
)

FLOAT = 1
"""ONNX's number for float32."""

NUMBERS = {"float64": 11, "float16": 10, "bfloat16": 16}
"""ONNX's numbers for the formats."""

FLOATS = frozenset(f"tensor({name})" for name in ("float", "double", "float16", "bfloat16"))

FORMAT_KEYS = ("to", "dtype", "output_dtype", "output_datatype")
"""Attributes whose integer names the format of an output."""

LARGE = 1 << 30
"""Bytes of weights from which they are kept beside the ONNX file: protobuf ends at 2 GiB."""


@dataclass
class CastState:
    """A model on its way into another precision."""

    model: onnx.ModelProto
    precision: str
    types: dict[str, int]
    """ONNX's number of each value's format, before; what is not known is missing."""
    done: set[str] = field(default_factory=set)
    """Values that were float32 and are in the other precision now."""
    kept: dict[str, None] = field(default_factory=dict)
    """Inputs that an operator takes in float32 only, as `operator.input`, each once."""
    float32: frozenset[str] = frozenset()
    """Values whose nodes stay in float32, as `keep` names them."""
    casts: list[str] = field(default_factory=list)
    """Values that a Cast had to be put behind."""

    exact: list[str] = field(default_factory=list)
    """Values that stay in float32, as integers or a Range come of them."""

    @property
    def number(self) -> int:
        """ONNX's number of the new format."""
        return NUMBERS[self.precision]

    def is_float(self, name: str) -> bool:
        """Tell whether a value was float32."""
        return self.types.get(name) == FLOAT


def convert(request: ConversionRequest) -> ConversionResult:
    """Write the model in the precision that the target format names."""
    precision = request.target_format.partition("-")[2]
    model = read_onnx(request.source)
    _refuse_subgraphs(model, request.source)
    source = {t.name: tensor_of(t) for t in model.graph.initializer}
    keep = _kept(model, str(request.options.get("keep", "")), request.source)
    recast = CastState(model, precision, _types(model), float32=keep)
    _refuse_other_floats(recast, request.source)
    _interface(recast)
    _nodes(recast)
    _initializers(recast)
    _outputs(recast)
    _save(model, request.output / "model.onnx")
    target = {t.name: tensor_of(t) for t in model.graph.initializer}
    return ConversionResult(
        model="model.onnx",
        weights=weights.compare_weights(
            {name: tensor.array for name, tensor in source.items()},
            (tensor.array for tensor in target.values()),
        ),
        notes={
            "kept_float32": list(recast.kept),
            "kept_layers": sorted(keep),
            "inserted_casts": recast.casts,
            "exact": recast.exact,
            **losses(source, target),
        },
    )


def _kept(model: onnx.ModelProto, text: str, path: Path) -> frozenset[str]:
    """Return the values that stay in float32. Raises ConversionError for what no node computes."""
    names = frozenset(name.strip() for name in text.split(",") if name.strip())
    computed = [name for node in model.graph.node for name in node.output if name]
    unknown = sorted(names.difference(computed))
    if unknown:
        raise ConversionError(
            f"'keep' names {unknown[0]!r}, which no node of {path} computes. It computes "
            f"{', '.join(computed[:8])}{', …' if len(computed) > 8 else ''}."
        )
    return names


def _refuse_subgraphs(model: onnx.ModelProto, path: Path) -> None:
    for node in model.graph.node:
        if any(a.HasField("g") or a.graphs for a in node.attribute):
            raise ConversionError(
                f"{path} has the operator {node.op_type} with a graph within, which cannot be "
                "brought to another precision. Export the model without control flow."
            )


def _refuse_other_floats(recast: CastState, path: Path) -> None:
    """Refuse a model that computes in another precision: only float32 is cast."""
    names = {number: name for name, number in NUMBERS.items()}
    numbers = set(recast.types.values())
    others = sorted(names[number] for number in numbers & names.keys() - {recast.number})
    if others and FLOAT not in numbers:
        raise ConversionError(
            f"{path} computes in {' and '.join(others)}, and only float32 can be brought to "
            f"{recast.precision}. Export the model in float32."
        )


def _types(model: onnx.ModelProto) -> dict[str, int]:
    """Find out the format of each value: declared, inferred, or that of the first input."""
    from onnx import shape_inference

    small = model.ByteSize() < LARGE
    graph = shape_inference.infer_shapes(model).graph if small else model.graph
    declared = (*graph.input, *graph.output, *graph.value_info)
    types = {value.name: value.type.tensor_type.elem_type for value in declared}
    types = {name: number for name, number in types.items() if number}
    types.update((tensor.name, tensor.data_type) for tensor in graph.initializer)
    for node in model.graph.node:
        first = next((types[name] for name in node.input if name in types), FLOAT)
        for name in node.output:
            types.setdefault(name, first)
    return types


def _interface(recast: CastState) -> None:
    graph = recast.model.graph
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    del graph.input[:]
    graph.input.extend(inputs)
    recast.model.ir_version = max(recast.model.ir_version, 4)
    del graph.value_info[:]
    recast.done |= {name for name in constants if recast.is_float(name)}
    for value in graph.input:
        if recast.is_float(value.name):
            value.type.tensor_type.elem_type = recast.number
            recast.done.add(value.name)


def _nodes(recast: CastState) -> None:
    """Bring each node's attributes to the new precision, and its inputs to what it takes."""
    graph = recast.model.graph
    opset = own_opset(recast.model)
    nodes: list[onnx.NodeProto] = []
    exact = exact_nodes(graph.node, [value.name for value in graph.input], recast.is_float)
    for place, node in enumerate(list(graph.node)):
        if place in exact:
            _keep_float32(recast, nodes, node)
            continue
        schema = _schema(node, opset)
        wide = not recast.float32.isdisjoint(node.output)
        for index, name in enumerate(node.input):
            if wide and recast.is_float(name):
                node.input[index] = _wanted(recast, nodes, name, float32=True)
            elif recast.is_float(name):
                only = schema is not None and _takes_only_float32(schema, index)
                node.input[index] = _wanted(recast, nodes, name, float32=only)
                if only:
                    recast.kept[f"{node.op_type}.{_formal(schema, index).name}"] = None
        nodes.append(node)
        if wide:
            continue
        made = _attributes(recast, node, schema)
        recast.done |= {
            name
            for index, name in enumerate(node.output)
            if recast.is_float(name) and (made or _follows(recast, node, schema, index))
        }
    del graph.node[:]
    graph.node.extend(nodes)


def _keep_float32(recast: CastState, nodes: list[onnx.NodeProto], node: onnx.NodeProto) -> None:
    """Let a node compute as it did, in float32."""
    for index, name in enumerate(node.input):
        if recast.is_float(name):
            node.input[index] = _wanted(recast, nodes, name, float32=True)
    recast.exact += [name for name in node.output if recast.is_float(name)]
    nodes.append(node)


def _schema(node: onnx.NodeProto, opset: int) -> Any:
    from onnx import defs

    if node.domain not in ("", "ai.onnx") or not defs.has(node.op_type, opset):
        return None
    return defs.get_schema(node.op_type, opset)


def _formal(schema: Any, index: int) -> Any:
    return schema.inputs[min(index, len(schema.inputs) - 1)]


def _floats(schema: Any, formal: Any) -> frozenset[str]:
    """Return the floating-point formats that an input or output may have."""
    for constraint in schema.type_constraints:
        if constraint.type_param_str == formal.type_str:
            return FLOATS & set(constraint.allowed_type_strs)
    return FLOATS & {formal.type_str}


def _takes_only_float32(schema: Any, index: int) -> bool:
    """Tell whether float32 is the one floating-point format of an input.

    Where there is a choice, the new precision is written even if this opset does not list it
    (Conv takes bfloat16 from opset 22 on): the executors compute it all the same.
    """
    return _floats(schema, _formal(schema, index)) == {"tensor(float)"}


def _follows(recast: CastState, node: onnx.NodeProto, schema: Any, index: int) -> bool:
    """Tell whether an output has the format of an input that is in the new precision."""
    if schema is None:
        return any(name in recast.done for name in node.input)
    formal = schema.outputs[min(index, len(schema.outputs) - 1)]
    return any(
        name in recast.done and _formal(schema, place).type_str == formal.type_str
        for place, name in enumerate(node.input)
    )


def _wanted(recast: CastState, nodes: list[onnx.NodeProto], name: str, float32: bool) -> str:
    """Return the name under which a value is there in the wanted precision; make it if needed."""
    if float32 != (name in recast.done):
        return name
    copy = _float32(name) if float32 else f"{name}/{recast.precision}"
    if copy in recast.types:
        return copy
    recast.types[copy] = FLOAT
    if float32 and _copy_constant(recast, name, copy):
        return copy
    _insert_cast(recast, nodes, name, copy, FLOAT if float32 else recast.number)
    if not float32:
        recast.done.add(copy)
    return copy


def _copy_constant(recast: CastState, name: str, copy: str) -> bool:
    """Keep a constant's own bits beside those in the new precision."""
    for tensor in recast.model.graph.initializer:
        if tensor.name == name:
            kept = recast.model.graph.initializer.add()
            kept.CopyFrom(tensor)
            kept.name = copy
            return True
    return False


def _insert_cast(
    recast: CastState, nodes: list[onnx.NodeProto], name: str, copy: str, number: int
) -> None:
    from onnx import helper

    nodes.append(helper.make_node("Cast", [name], [copy], name=copy, to=number))
    recast.casts.append(name)


def _attributes(recast: CastState, node: onnx.NodeProto, schema: Any) -> bool:
    """Rewrite attributes that decide the format of the outputs; tell whether there was one."""
    if node.op_type in ("Constant", "ConstantOfShape") and not node.domain:
        return _constant(recast, node)
    changed = False
    for key in FORMAT_KEYS:
        attribute = next((a for a in node.attribute if a.name == key), None)
        if attribute is not None and attribute.i == FLOAT:
            attribute.i = recast.number
            changed = True
        elif attribute is None and _defaults_to_float32(schema, key):
            node.attribute.add(name=key, type=2, i=recast.number)
            changed = True
    return changed


def _defaults_to_float32(schema: Any, key: str) -> bool:
    if schema is None or key not in schema.attributes:
        return False
    default = schema.attributes[key].default_value
    return bool(default.type == default.INT and default.i == FLOAT)


def _constant(recast: CastState, node: onnx.NodeProto) -> bool:
    """Round the value of a Constant or ConstantOfShape; tell whether it was float32."""
    from onnx import numpy_helper

    given = {attribute.name: attribute for attribute in node.attribute}
    if "value" in given:
        tensor = given["value"].t
    elif "value_float" in given or "value_floats" in given:
        numbers = given["value_float"].f if "value_float" in given else given["value_floats"].floats
        tensor = numpy_helper.from_array(np.asarray(numbers, np.float32))
    elif node.op_type == "ConstantOfShape":
        tensor = numpy_helper.from_array(np.zeros(1, np.float32))
    else:
        return False
    if tensor.data_type != FLOAT:
        return False
    del node.attribute[:]
    node.attribute.add(name="value", type=4).t.CopyFrom(_rounded(tensor, recast))
    return True


def _rounded(tensor: onnx.TensorProto, recast: CastState) -> onnx.TensorProto:
    from onnx import helper

    rounded = cast(tensor_of(tensor), recast.precision)
    return helper.make_tensor(tensor.name, recast.number, rounded.shape, rounded.data(), raw=True)


def _initializers(recast: CastState) -> None:
    """Round the constants, but for those of which only the copy in float32 is read."""
    graph = recast.model.graph
    read = {name for node in graph.node for name in node.input}
    read |= {value.name for value in graph.output}
    kept = {t.name for t in graph.initializer if t.name not in read and _float32(t.name) in read}
    for name in kept:
        _rename(graph, _float32(name), name)
    copies = {_float32(name) for name in kept}
    tensors = [tensor for tensor in graph.initializer if tensor.name not in copies]
    new = [_rounded(t, recast) if t.name in recast.done - kept else t for t in tensors]
    del graph.initializer[:]
    graph.initializer.extend(new)


def _float32(name: str) -> str:
    """Return the name of a value's copy in float32."""
    return f"{name}/float32"


def _outputs(recast: CastState) -> None:
    """Declare the outputs in the new precision, behind a Cast where one is float32 for ever."""
    nodes: list[onnx.NodeProto] = []
    for value in recast.model.graph.output:
        if not recast.is_float(value.name):
            continue
        value.type.tensor_type.elem_type = recast.number
        if value.name not in recast.done:
            inner = _float32(value.name)
            _rename(recast.model.graph, value.name, inner)
            _insert_cast(recast, nodes, inner, value.name, recast.number)
    recast.model.graph.node.extend(nodes)


def _rename(graph: onnx.GraphProto, name: str, new: str) -> None:
    for node in graph.node:
        for names in (node.input, node.output):
            for index, old in enumerate(names):
                if old == name:
                    names[index] = new


def _save(model: onnx.ModelProto, path: Path) -> None:
    import onnx

    size = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    onnx.save_model(model, path, save_as_external_data=size > LARGE, location=f"{path.stem}.data")
