"""Sequences and optional values: lists of a framework's tensors, whichever framework it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional

if TYPE_CHECKING:
    from xbackend.worker.flow import Flow
    from xbackend.worker.graph import Node

    Inputs = List[Any]


def _construct(node: Node, inputs: Inputs, flow: Flow) -> Any:
    return list(inputs)


def _empty(node: Node, inputs: Inputs, flow: Flow) -> Any:
    return []


def _place(inputs: Inputs, index: int, default: int, flow: Flow) -> int:
    given = inputs[index] if index < len(inputs) else None
    return default if given is None else flow.integer(given)


def _at(node: Node, inputs: Inputs, flow: Flow) -> Any:
    return inputs[0][flow.integer(inputs[1])]


def _erase(node: Node, inputs: Inputs, flow: Flow) -> Any:
    place = _place(inputs, 1, -1, flow) % len(inputs[0])
    return [*inputs[0][:place], *inputs[0][place + 1 :]]


def _insert(node: Node, inputs: Inputs, flow: Flow) -> Any:
    """Insert before a place, which counts from the end where it is negative."""
    count = len(inputs[0])
    place = _place(inputs, 2, count, flow)
    place = place + count if place < 0 else place
    return [*inputs[0][:place], inputs[1], *inputs[0][place:]]


def _length(node: Node, inputs: Inputs, flow: Flow) -> Any:
    return flow.scalar(len(inputs[0]), "int64")


def _optional(node: Node, inputs: Inputs, flow: Flow) -> Any:
    return inputs[0] if inputs else None


def _has_element(node: Node, inputs: Inputs, flow: Flow) -> Any:
    return flow.scalar(bool(inputs) and inputs[0] is not None, "bool")


def _element(node: Node, inputs: Inputs, flow: Flow) -> Any:
    found: Optional[Any] = inputs[0]
    if found is None:
        raise ValueError(f"The optional value '{node.inputs[0]}' has no element.")
    return found


OPERATORS: Dict[str, Callable[[Node, Inputs, Flow], Any]] = {
    "Optional": _optional,
    "OptionalGetElement": _element,
    "OptionalHasElement": _has_element,
    "SequenceAt": _at,
    "SequenceConstruct": _construct,
    "SequenceEmpty": _empty,
    "SequenceErase": _erase,
    "SequenceInsert": _insert,
    "SequenceLength": _length,
}
"""Takes the node, its inputs and the framework's flow; gives the one output."""
