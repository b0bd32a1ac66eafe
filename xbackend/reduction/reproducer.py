"""A small model with one input: cut out of a network, made smaller, tried side by side."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xbackend.diagnosis.cut_graph import (
    TensorType,
    constants_of,
    empty_like,
    node_inputs,
    onnx_type,
    shape_computed,
    value_info,
)
from xbackend.numerics.blocks import unsigned_dtype
from xbackend.numerics.floats import FORMATS
from xbackend.reduction.linked_axes import Axis, linked_axes
from xbackend.worker.tensor import Tensor

if TYPE_CHECKING:
    import onnx

KEPT_MANTISSA_BITS = (0, 2, 4, 8)
"""Mantissa bits that are left where numbers are made simpler, the simplest first."""


@dataclass(frozen=True, eq=False)
class Reproducer:
    """A model and its input."""

    model: onnx.ModelProto
    inputs: Mapping[str, Tensor]

    @property
    def outputs(self) -> list[str]:
        """Names of what it computes."""
        return [value.name for value in self.model.graph.output]

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Inputs and constants by name."""
        constants = {t.name: from_proto(t) for t in self.model.graph.initializer}
        return {**self.inputs, **constants}

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return sum(tensor.array.size for tensor in self.tensors.values())


def from_proto(proto: onnx.TensorProto) -> Tensor:
    """Return a constant as bits."""
    from onnx import TensorProto, numpy_helper

    array = numpy_helper.to_array(proto)
    if proto.data_type == TensorProto.BFLOAT16:
        return Tensor("bfloat16", array.view(np.uint16))
    return Tensor(array.dtype.name, array)


def to_proto(name: str, tensor: Tensor) -> onnx.TensorProto:
    """Return bits as a constant."""
    from onnx import helper

    kind = onnx_type(tensor.dtype)
    return helper.make_tensor(name, kind, tensor.shape, tensor.data(), raw=True)


def extract(
    whole: onnx.ModelProto, target: str, given: Mapping[str, Tensor], output: TensorType
) -> Reproducer:
    """Cut out the nodes that compute a value, from others that are given."""
    graph = whole.graph
    maker = {name: index for index, node in enumerate(graph.node) for name in node.output}
    wanted, places, used = [target], set[int](), set[str]()
    while wanted:
        name = wanted.pop()
        if name in maker and (name not in given or name == target) and maker[name] not in places:
            places.add(maker[name])
            read = node_inputs(graph.node[maker[name]])
            used |= read
            wanted += [each for each in read if each not in given]
    model = empty_like(whole)
    model.graph.node.extend(_plain(graph.node[place]) for place in sorted(places))
    model.graph.initializer.extend(t for t in graph.initializer if t.name in used)
    made = {name for place in places for name in graph.node[place].output}
    inputs = {name: tensor for name, tensor in given.items() if name in used - made}
    for name, tensor in inputs.items():
        model.graph.input.append(value_info(name, TensorType(tensor.dtype, tensor.shape)))
    model.graph.output.append(value_info(target, output))
    return Reproducer(model, inputs)


def _plain(node: onnx.NodeProto) -> onnx.NodeProto:
    """Return a node without the extents of its window, which those of its weight tell."""
    import onnx

    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    if node.op_type == "Conv":
        kept = [each for each in node.attribute if each.name != "kernel_shape"]
        del copy.attribute[:]
        copy.attribute.extend(kept)
    return copy


def infer_shapes(case: Reproducer) -> dict[str, tuple[int, ...]] | None:
    """Return the shape of every value; None for a model that is not sound."""
    import onnx

    try:
        inferred = onnx.shape_inference.infer_shapes(case.model, strict_mode=True, data_prop=True)
    except onnx.shape_inference.InferenceError:
        return None
    graph = inferred.graph
    found = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        axes = value.type.tensor_type.shape.dim
        found[value.name] = tuple(axis.dim_value for axis in axes)
    return found if all(0 not in shape for shape in found.values()) else None


def reducible_dimensions(case: Reproducer) -> dict[str, list[Axis]]:
    """Return what can be made smaller: sets of axes of inputs and constants, under a name."""
    shapes = infer_shapes(case) or {}
    held = case.tensors
    found = {}
    for axes in linked_axes(case.model.graph.node, shapes):
        own = sorted(axis for axis in axes if axis[0] in held)
        if own:
            found[f"{own[0][0]}[{own[0][1]}]"] = own
    return found


def extents(case: Reproducer) -> dict[str, int]:
    """Return the extent of each dimension of a case."""
    held = case.tensors
    return {
        name: held[axes[0][0]].shape[axes[0][1]]
        for name, axes in reducible_dimensions(case).items()
    }


def keep_indices(case: Reproducer, dimension: str, indices: Sequence[int]) -> Reproducer | None:
    """Return the case with these indices of a dimension only; None where it is not sound."""
    axes = reducible_dimensions(case).get(dimension)
    if axes is None:
        return None
    changed = dict(case.tensors)
    for name, axis in axes:
        tensor = changed[name]
        changed[name] = Tensor(tensor.dtype, np.take(tensor.array, indices, axis))
    return with_tensors(case, {name: changed[name] for name, _ in axes})


def with_tensors(case: Reproducer, tensors: Mapping[str, Tensor]) -> Reproducer | None:
    """Return the case with other tensors under some names; None where it is not sound."""
    import onnx

    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    graph = model.graph
    for place, old in enumerate(case.model.graph.initializer):
        if old.name in tensors:
            graph.initializer[place].CopyFrom(to_proto(old.name, tensors[old.name]))
    inputs = {name: tensors.get(name, tensor) for name, tensor in case.inputs.items()}
    del graph.input[:], graph.value_info[:]
    graph.input.extend(value_info(name, TensorType(t.dtype, t.shape)) for name, t in inputs.items())
    for value in graph.output:
        value.type.tensor_type.ClearField("shape")
    return _with_output_shapes(Reproducer(model, inputs))


def _with_output_shapes(case: Reproducer) -> Reproducer | None:
    from onnx import checker, helper

    shapes = infer_shapes(case)
    if shapes is None:
        return None
    for value in case.model.graph.output:
        kind = value.type.tensor_type.elem_type
        value.CopyFrom(helper.make_tensor_value_info(value.name, kind, shapes[value.name]))
    try:
        checker.check_model(case.model)
    except checker.ValidationError:
        return None
    return case


def simplifications(case: Reproducer) -> list[list[Any]]:
    """Return for each tensor of floats its simpler forms, as functions of a case."""
    names = [name for name, tensor in case.tensors.items() if tensor.dtype in FORMATS]
    return [
        [_Simplification(name, None), *(_Simplification(name, bits) for bits in KEPT_MANTISSA_BITS)]
        for name in names
    ]


@dataclass(frozen=True)
class _Simplification:
    """Makes all numbers of a tensor 1, or cuts off their mantissas."""

    name: str
    bits: int | None

    def __call__(self, case: Reproducer) -> Reproducer | None:
        tensor = case.tensors[self.name]
        layout = FORMATS[tensor.dtype]
        whole = unsigned_dtype(tensor.dtype).type
        if self.bits is None:
            array = np.full(tensor.shape, layout.bias << layout.mantissa_bits, whole)
        elif self.bits >= layout.mantissa_bits:
            return None
        else:
            lost = (1 << (layout.mantissa_bits - self.bits)) - 1
            mask = whole(~lost & ((1 << layout.bits) - 1))
            array = np.ascontiguousarray(tensor.array).view(whole) & mask
        made = Tensor(tensor.dtype, array.view(tensor.array.dtype))
        return None if made.data() == tensor.data() else with_tensors(case, {self.name: made})


def batch_models(cases: Sequence[Reproducer]) -> Reproducer:
    """Put cases side by side into one model, so that one worker computes all of them."""
    model = empty_like(cases[0].model)
    inputs: dict[str, Tensor] = {}
    for place, case in enumerate(cases):
        names = _Prefixed(f"c{place}/")
        inputs.update({names.of(name): tensor for name, tensor in case.inputs.items()})
        graph = case.model.graph
        model.graph.input.extend(map(names.named, graph.input))
        model.graph.output.extend(map(names.named, graph.output))
        model.graph.initializer.extend(map(names.named, graph.initializer))
        model.graph.node.extend(map(names.node, graph.node))
    return Reproducer(model, inputs)


@dataclass(frozen=True)
class _Prefixed:
    """Gives the values of one case names of their own."""

    prefix: str

    def of(self, name: str) -> str:
        return f"{self.prefix}{name}" if name else ""

    def named(self, part: Any) -> Any:
        copy = type(part)()
        copy.CopyFrom(part)
        copy.name = self.of(part.name)
        return copy

    def node(self, node: onnx.NodeProto) -> onnx.NodeProto:
        copy: onnx.NodeProto = self.named(node)
        copy.input[:] = map(self.of, node.input)
        copy.output[:] = map(self.of, node.output)
        return copy


def split_outputs(cases: Sequence[Reproducer], values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return for each case what was computed for it side by side with others, by its own names."""
    return [
        {name: values[f"c{place}/{name}"] for name in case.outputs}
        for place, case in enumerate(cases)
    ]


def growing_windows(
    whole: onnx.ModelProto, target: str, known: Iterable[str]
) -> list[tuple[int, Collection[str]]]:
    """Return ever larger windows of nodes before a value: their size, and what is given to them.

    The first is the value's own node; the last begins with the model's inputs.
    """
    nodes = list(whole.graph.node)
    place = next(index for index, node in enumerate(nodes) if target in node.output)
    constants = constants_of(whole.graph)
    recorded = set(known) - shape_computed(nodes, constants)
    inputs = {value.name for value in whole.graph.input} - constants
    found: list[tuple[int, Collection[str]]] = []
    size = 1
    while True:
        before = nodes[: max(0, place + 1 - size)]
        given = {name for node in before for name in node.output if name in recorded}
        found.append((size, frozenset(given | (inputs & recorded))))
        if size > place:
            return found
        size *= 2
