"""The graph as steps that PyTorch can take one after the other, and where each one computes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Collection, Dict, List, Mapping, Set, Tuple

import torch

from xbackend.worker import control
from xbackend.worker import tensor as bits
from xbackend.worker.contract import Unsupported
from xbackend.worker.graph import Graph, Node, last_uses, missing
from xbackend.worker.subgraphs import every_constant, every_node, every_value, expanded

from .exchange import DTYPES, to_torch
from .flow import ControlStep, TorchFlow
from .operators import TABLE
from .operators.fused import TABLE as FUSED
from .operators.fused import fits
from .step import Argument, Step, Values

if TYPE_CHECKING:
    from .operators.operator import Operator

HOST = torch.device("cpu")
"""Where shapes are computed, whatever the device."""

MASK_OPSET = 12
"""The first in which the mask of Dropout is defined in inference."""

SHAPE_OPERATORS = ("Shape", "Size")

KNOWN = control.OPERATORS | TABLE.keys() | {"Constant"}
"""Full names of all operators that there are."""


@dataclass(frozen=True)
class Program:
    """A graph that is ready to run on a device."""

    inputs: Tuple[str, ...]
    outputs: Tuple[str, ...]
    steps: Tuple[Step, ...]
    constants: Values
    """Constants that are themselves outputs or values of the graph, such as those of Constant."""
    device: torch.device
    values: Tuple[str, ...]
    """Names of all values that nodes make, in order."""


def prepare_program(graph: Graph, device: torch.device, fused: bool = False) -> Program:
    """Bind constants and place every node. Raises Unsupported that names all that is missing."""
    graph = _without_idle_masks(expanded(graph, KNOWN, fits if fused else None))
    _refuse_missing(graph)
    return _prepared(graph, {}, device)


def _prepared(graph: Graph, around: Mapping[str, bits.Tensor], device: torch.device) -> Program:
    """Bind constants, those of the graphs around too, and place every node."""
    constants = {**around, **graph.constants, **_constant_nodes(graph)}
    nodes = [node for node in graph.nodes if not _is_constant(node)]
    shown = {*graph.output_names, *graph.values} & constants.keys()
    return Program(
        inputs=graph.input_names,
        outputs=graph.output_names,
        steps=_with_releases(_steps(nodes, constants, device, graph.opset)),
        constants={name: to_torch(constants[name]) for name in shown},
        device=device,
        values=every_value(graph),
    )


def walk(steps: Collection[Step], values: Values, keep: Collection[str]) -> None:
    """Take every step; afterwards `values` holds those to keep, and inputs."""
    for step in steps:
        values.update(step.outputs(values))
        release(step, values, keep)


def release(step: Step, values: Values, keep: Collection[str]) -> None:
    """Drop what no later step reads, except what is to be kept."""
    for name in step.release:
        if name not in keep:
            values.pop(name, None)


def specialise(program: Program, shapes: Mapping[str, torch.Tensor]) -> Tuple[Step, ...]:
    """Leave out steps that compute with shapes only, given what they compute."""
    steps = [_bind(step, shapes) for step in program.steps if not step.host]
    return _with_releases(steps)


def _bind(step: Step, shapes: Mapping[str, torch.Tensor]) -> Step:
    arguments = []
    for argument in step.arguments:
        if not argument.bound and argument.name in shapes:
            value = argument.fetch(shapes, step.device)
            argument = replace(argument, bound=True, value=value)
        arguments.append(argument)
    return replace(step, arguments=tuple(arguments))


def _without_idle_masks(graph: Graph) -> Graph:
    """Leave out masks of Dropout that nobody reads where ONNX does not say what they hold.

    Before opset 12 a mask is not filled in inference; whatever a backend has there is made up.
    """
    if graph.opset >= MASK_OPSET:
        return graph
    read = {name for node in graph.nodes for name in node.inputs}
    read |= set(graph.output_names)
    return replace(graph, nodes=tuple(_without_idle_mask(node, read) for node in graph.nodes))


def _without_idle_mask(node: Node, read: Set[str]) -> Node:
    if node.operator != "Dropout" or len(node.outputs) < 2 or node.outputs[1] in read:
        return node
    return replace(node, outputs=node.outputs[:1])


def _is_constant(node: Node) -> bool:
    return node.operator == "Constant" and not node.domain and "value" in node.attributes


def _constant_nodes(graph: Graph) -> Dict[str, bits.Tensor]:
    return {n.outputs[0]: n.attributes["value"] for n in graph.nodes if _is_constant(n)}


def _refuse_missing(graph: Graph) -> None:
    """Name every operator, form and number format that is missing, in one sentence."""
    nodes = [node for node in every_node(graph) if not _is_constant(node)]
    constants = every_constant(graph)
    held = [node.attributes["value"] for node in every_node(graph) if _is_constant(node)]
    constants.update(_constant_nodes(graph))
    lacking = set(missing([node for node in nodes if not fits(node)], KNOWN))
    known = [node for node in nodes if node.full_name in TABLE]
    complaints = (
        (node, TABLE[node.full_name].unsupported_reason(node, constants)) for node in known
    )
    lacking |= {f"{node.operator} {what}" for node, what in complaints if what}
    formats = {value.dtype for value in graph.inputs}
    formats |= {tensor.dtype for tensor in (*constants.values(), *held)}
    lacking |= {f"tensors of {name}" for name in formats - DTYPES.keys()}
    if lacking:
        raise Unsupported(
            f"Backend 'torch' lacks what this model has: {', '.join(sorted(lacking))}. "
            "Choose other backends with --backends."
        )
    for node in nodes:
        control.refuse_old_scan(node, graph.opset)


def _steps(
    nodes: Collection[Node],
    constants: Mapping[str, bits.Tensor],
    device: torch.device,
    opset: int,
) -> List[Step]:
    known = _Known(constants)
    copies = _Copies(constants)
    steps = []
    for node in nodes:
        if control.is_control(node):
            steps.append(_control(node, copies, device))
            continue
        host = known.is_about_shapes(node)
        where = HOST if host and node.operator not in SHAPE_OPERATORS else device
        steps.append(_step(_ready(node, opset), copies, where, host))
    return steps


def _control(node: Node, copies: _Copies, device: torch.device) -> Step:
    bodies = {id(body): _prepared(body, copies.constants, device) for body in node.bodies.values()}
    bound = {name: copies.get(name, device) for name in node.reads if name in copies.constants}
    read = tuple(Argument(name, False, False) for name in node.reads if name not in bound)
    return ControlStep(node, _nothing, read, device, False, (), bodies, bound, TorchFlow(device))


def _nothing(*inputs: Any) -> None:
    """Stand for the function of a step that has none."""


def _ready(node: Node, opset: int) -> Node:
    """Give a node the opset, and its tensors to PyTorch."""
    attributes = {
        key: to_torch(value) if isinstance(value, bits.Tensor) else value
        for key, value in node.attributes.items()
    }
    return replace(node, attributes={**attributes, "opset": opset})


def _is_shape(tensor: bits.Tensor) -> bool:
    """Tell whether a constant may be a shape or an index: few integers."""
    return tensor.array.dtype.kind in "iub" and tensor.dtype != "bfloat16" and tensor.array.ndim < 2


class _Known:
    """Which values are known from shapes and constants, and so belong on the host.

    A node whose inputs are all integer constants does; so does one of which some inputs come from
    shapes and the rest are short constants, such as the scales that a resized shape is made with.
    """

    def __init__(self, constants: Mapping[str, bits.Tensor]) -> None:
        self.short = {name for name, tensor in constants.items() if tensor.array.ndim < 2}
        self.whole = {name for name in self.short if _is_shape(constants[name])}
        self.derived: Set[str] = set()

    def is_about_shapes(self, node: Node) -> bool:
        """Tell whether a node computes on the host, and remember its outputs if so."""
        found = node.operator in SHAPE_OPERATORS or self._is_known(node)
        if found:
            self.derived.update(name for name in node.outputs if name)
        return found

    def _is_known(self, node: Node) -> bool:
        if node.operator == "ConstantOfShape" and not _is_shape(node.attributes["value"]):
            return False
        names = {name for name in node.inputs if name}
        if names <= self.whole | self.derived:
            return True
        return names <= self.short | self.derived and bool(names & self.derived)


class _Copies:
    """Constants on the devices where steps want them, each copied once."""

    def __init__(self, constants: Mapping[str, bits.Tensor]) -> None:
        self.constants = constants
        self.made: Dict[Tuple[str, torch.device], torch.Tensor] = {}

    def get(self, name: str, device: torch.device) -> torch.Tensor:
        key = (name, device)
        if key not in self.made:
            self.made[key] = to_torch(self.constants[name]).to(device)
        return self.made[key]


def _step(node: Node, copies: _Copies, device: torch.device, host: bool) -> Step:
    operator = TABLE.get(node.full_name) or FUSED[node.full_name]
    arguments = tuple(
        _argument(name, position, operator, copies, device)
        for position, name in enumerate(node.inputs)
    )
    return Step(node, operator.compute, arguments, device, host, ())


def _argument(
    name: str, position: int, operator: Operator, copies: _Copies, device: torch.device
) -> Argument:
    python = position in operator.python
    if not name:
        return Argument(name, python, bound=True)
    constant = copies.constants.get(name)
    if constant is None:
        return Argument(name, python, bound=False)
    number = position in operator.scalar and constant.array.ndim == 0
    value = copies.get(name, HOST).tolist() if python or number else copies.get(name, device)
    return Argument(name, python, bound=True, value=value)


def _with_releases(steps: Collection[Step]) -> Tuple[Step, ...]:
    """Note at each step which values it is the last to read."""
    uses = last_uses((step.reads, step.node.outputs) for step in steps)
    return tuple(replace(step, release=names) for step, names in zip(steps, uses))
