"""Cuts an ONNX graph at its values: a node reads what it is given, not what another computed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

SHAPE_OPERATORS = ("Shape", "Size")
"""Operators whose results depend on extents only; what is computed from these is never cut."""
DATA_MOVEMENT = frozenset(
    (
        "Expand",
        "Flatten",
        "Identity",
        "Reshape",
        "Slice",
        "Split",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
    )
)
"""Operators that only move numbers. They stay tied to what reads them, as how they leave a tensor
in memory may decide which kernel a framework takes for it."""
NHWC_PERMUTATION = (0, 2, 3, 1)
"""The axes of a tensor with the channels last."""
IR_VERSION = 4
"""The first in which an initializer need not be an input."""


@dataclass(frozen=True)
class TensorType:
    """What is known of a value from a run that recorded it."""

    dtype: str
    """NumPy's name of the format, or `bfloat16`."""
    shape: tuple[int, ...]


@dataclass(frozen=True)
class CutModel:
    """A model in which every node stands alone."""

    model: onnx.ModelProto
    given: Mapping[str, str]
    """Names of the model's inputs, to the values of the whole model that they stand for."""
    taps: tuple[str, ...]
    """Values that are computed from what is given, as outputs of the same names, in graph order."""
    left_out: Mapping[str, str]
    """Values that are not, to the reason."""
    channels_last: frozenset[str] | None = None
    """Inputs that are given with the channels last; None where that was not asked for."""

    @property
    def is_worth_running(self) -> bool:
        """Whether anything is turned where that was asked for."""
        return self.channels_last is None or bool(self.channels_last)


def load_model(path: Path) -> onnx.ModelProto:
    """Read the ONNX file of an artifact, with weights that are kept beside it."""
    import onnx

    return onnx.load(path)


def cut_graph(
    whole: onnx.ModelProto,
    known: Mapping[str, TensorType],
    only: Collection[str] | None = None,
    channels_last: bool = False,
) -> CutModel:
    """Make every value that a node reads an input of the model, and all that it computes outputs.

    Only constants stay where they are, extents of tensors with what is computed from them, and
    what is only moved. A node is left out if a run has not recorded what it reads, or nothing of
    what it computes. `only` names the values to compute. With `channels_last`, what has four axes
    is given with the second of them last and turned back, which some frameworks do lazily.
    """
    graph = whole.graph
    constants = constants_of(graph)
    hanging = shape_computed(graph.node, constants)
    usable = {*constants, *known}
    alone: list[onnx.NodeProto] = []
    reasons: dict[str, str] = {}
    nodes = list(graph.node)
    for node in nodes:
        if hanging.issuperset(node.output):
            usable |= set(node.output) if node_inputs(node) <= usable else set()
        elif only is not None and not set(only) & set(node.output):
            continue
        elif why := _why_not(node, usable, known):
            reasons.update((name, why) for name in node.output if name)
        else:
            alone.append(node)
    kept = _with_constant_nodes(nodes, alone, hanging)
    moved = {name for node in alone if node.op_type in DATA_MOVEMENT for name in node.output}
    names = _given_names(graph, _read(kept) - hanging - constants - moved)
    turned = [v for v in names if channels_last and len(known[v].shape) == len(NHWC_PERMUTATION)]
    model = empty_like(whole)
    model.graph.initializer.extend(t for t in graph.initializer if t.name in _read(kept))
    model.graph.sparse_initializer.extend(graph.sparse_initializer)
    for value, name in names.items():
        model.graph.input.append(value_info(name, _given(known[value], value in turned)))
    model.graph.node.extend(_transpose_back(names[value]) for value in turned)
    renamed = {value: _back(name) if value in turned else name for value, name in names.items()}
    model.graph.node.extend(_renamed(node, renamed) for node in kept)
    taps = [name for node in alone for name in node.output if name in known]
    model.graph.output.extend(value_info(name, known[name]) for name in taps)
    given = {name: value for value, name in names.items()}
    ways = frozenset(names[value] for value in turned) if channels_last else None
    return CutModel(model, given, tuple(taps), reasons, ways)


def _given(of: TensorType, turned: bool) -> TensorType:
    return (
        TensorType(of.dtype, tuple(of.shape[axis] for axis in NHWC_PERMUTATION)) if turned else of
    )


def _transpose_back(name: str) -> onnx.NodeProto:
    from onnx import helper

    return helper.make_node("Transpose", [name], [_back(name)], perm=[0, 3, 1, 2])


def _back(name: str) -> str:
    return f"{name}/turned"


def constants_of(graph: onnx.GraphProto) -> set[str]:
    """Return the names of a graph's initializers."""
    sparse = {tensor.values.name for tensor in graph.sparse_initializer}
    return sparse | {tensor.name for tensor in graph.initializer}


def shape_computed(nodes: Iterable[onnx.NodeProto], constants: Collection[str]) -> set[str]:
    """Return the values that nodes compute from constants and extents alone."""
    found = {"", *constants}
    for node in nodes:
        if node.op_type in SHAPE_OPERATORS or found.issuperset(node_inputs(node)):
            found |= set(node.output)
    return found - set(constants)


def _why_not(node: onnx.NodeProto, usable: Collection[str], known: Mapping[str, TensorType]) -> str:
    """Return why a node cannot stand alone; empty if it can."""
    if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
        return "it holds a graph of its own"
    missing = sorted(node_inputs(node) - set(usable))
    if missing:
        return f"'{missing[0]}', which it reads, was not recorded"
    return "" if any(name in known for name in node.output) else "it was not recorded"


def _with_constant_nodes(
    nodes: Sequence[onnx.NodeProto], alone: Iterable[onnx.NodeProto], hanging: Collection[str]
) -> list[onnx.NodeProto]:
    """Return nodes, and before them those that make what they read of constants and extents."""
    ids = {id(node) for node in alone}
    wanted: set[str] = set()
    kept: list[onnx.NodeProto] = []
    for node in reversed(nodes):
        needed = bool(wanted & set(node.output)) and set(hanging).issuperset(node.output)
        if id(node) in ids or needed:
            kept.append(node)
            wanted |= node_inputs(node) & set(hanging)
    return kept[::-1]


def node_inputs(node: onnx.NodeProto) -> set[str]:
    """Return the values that a node reads, those that its subgraphs capture among them."""
    found = {name for name in node.input if name}
    for attribute in node.attribute:
        for graph in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
            inner = {v.name for v in graph.input} | {t.name for t in graph.initializer}
            inner |= {name for inside in graph.node for name in inside.output}
            found |= {name for inside in graph.node for name in node_inputs(inside)} - inner
    return found


def _given_names(graph: onnx.GraphProto, wanted: Collection[str]) -> dict[str, str]:
    """Return the values that must be given, in graph order, to the names of the new inputs."""
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    names = {value.name: value.name for value in graph.input if value.name in wanted}
    for name in (name for node in graph.node for name in node.output if name in wanted):
        free = f"{name}/given"
        while free in taken:
            free += "_"
        names[name] = free
        taken.add(free)
    return names


def _read(nodes: Iterable[onnx.NodeProto]) -> set[str]:
    return {name for node in nodes for name in node_inputs(node)}


def _renamed(node: onnx.NodeProto, names: Mapping[str, str]) -> onnx.NodeProto:
    import onnx

    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.input[:] = [names.get(name, name) for name in node.input]
    return copy


def empty_like(whole: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model without a graph, for the same operators."""
    import onnx

    model = onnx.ModelProto()
    model.ir_version = max(whole.ir_version, IR_VERSION)
    model.opset_import.extend(whole.opset_import)
    model.graph.name = whole.graph.name or "graph"
    return model


def value_info(name: str, of: TensorType) -> onnx.ValueInfoProto:
    """Return the declaration of an input or output."""
    from onnx import helper

    return helper.make_tensor_value_info(name, onnx_type(of.dtype), list(of.shape))


def onnx_type(dtype: str) -> int:
    """Return ONNX's number of a format.

    >>> onnx_type("float32"), onnx_type("bfloat16")
    (1, 16)
    """
    import numpy as np
    from onnx import TensorProto, helper

    if dtype == "bfloat16":
        return int(TensorProto.BFLOAT16)
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
