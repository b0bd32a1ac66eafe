"""Which operation or module of PyTorch gives which value of the exported ONNX graph.

The exporters tell it: that of programs names the operation that each node comes from, the tracing
one names nodes after the module that is being called. What is known is written into the metadata
of the node whose first output is the whole result, under `SOURCE`; every value whose shape is not
that of the result is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..onnx.values import Shape, shapes_of_values

if TYPE_CHECKING:
    import onnx

SOURCE = "xbackend.source"
"""The key of a node's metadata: the operation's or module's name, `name#1` for its second call."""

WITHIN = "xbackend.within"
"""The same for every other node that an operation or a module's call became."""

FX_NODE = "pkg.torch.onnx.fx_node"
"""Where PyTorch's exporter of programs describes the operation: `%conv2d : [num_users=1] = …`."""


@dataclass(frozen=True)
class Call:
    """One call of a module."""

    module: str
    """Its path, such as `layer1.0.conv1`."""
    number: int
    """Which of its calls, from 0."""
    shape: Shape

    @property
    def name(self) -> str:
        """What the call is named, `fc` or `fc#1`."""
        return f"{self.module}#{self.number}" if self.number else self.module


def mark_program_nodes(path: Path, program: Any, decomposed: Any) -> None:
    """Mark the nodes of an exported program's ONNX file with the program's own operations."""
    import onnx

    shapes = {node.name: _fx_shape(node) for node in program.graph.nodes}
    origins = {node.name: _origin(node, shapes) for node in decomposed.graph.nodes}
    model = onnx.load(path)
    nodes: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        operation = origins.get(_fx_name(node))
        if operation is not None:
            nodes.setdefault(operation, []).append(node)
    known = shapes_of_values(model)
    for operation, parts in nodes.items():
        mark_nodes(parts, operation, shapes[operation], known)
    onnx.save(model, path)


def _fx_name(node: onnx.NodeProto) -> str:
    told = next((entry.value for entry in node.metadata_props if entry.key == FX_NODE), "")
    return told.partition(" ")[0].removeprefix("%")


def _origin(node: Any, names: Mapping[str, Any]) -> str | None:
    """Return the operation of the program that a node of the decomposed one was made from."""
    found, waiting = None, list(node.meta.get("from_node", ()))
    while waiting:
        source = waiting.pop(0)
        found = source.name if source.name in names else found
        waiting += source.from_node
    return found


def _fx_shape(node: Any) -> Shape | None:
    """Return the shape of an operation's only result, None where it has several or none."""
    import torch

    value = node.meta.get("val")
    if node.op != "call_function" or not isinstance(value, torch.Tensor):
        return None
    return tuple(extent if isinstance(extent, int) else None for extent in value.shape)


def watched_calls(module: Any, examples: tuple[Any, ...]) -> tuple[list[Call], int]:
    """Infer once; return the calls of modules that gave one tensor, and how many outputs came."""
    import torch
    from torch.utils._pytree import tree_leaves

    calls: list[Call] = []
    counts: dict[str, int] = {}

    def watch(path: str) -> Any:
        def record(_module: Any, _inputs: Any, output: Any) -> None:
            number = counts.get(path, 0)
            counts[path] = number + 1
            if isinstance(output, torch.Tensor):
                calls.append(Call(path, number, tuple(output.shape)))

        return record

    hooks = [each.register_forward_hook(watch(path)) for path, each in inner_modules(module)]
    try:
        with torch.no_grad():
            count = len(tree_leaves(module(*examples)))
    finally:
        for hook in hooks:
            hook.remove()
    return calls, count


def inner_modules(module: Any) -> Iterator[tuple[str, Any]]:
    """Yield the modules within a module with their paths; compiled ones cannot be hooked."""
    import torch

    for path, inner in module.named_modules():
        if path and not isinstance(inner, torch.jit.ScriptModule):
            yield path, inner


def mark_module_calls(path: Path, calls: Iterable[Call]) -> None:
    """Mark the nodes of a traced module's ONNX file with the calls of modules within it.

    Where a value is the result of several modules, one around the other, the innermost names it.
    """
    import onnx

    model = onnx.load(path)
    parts = _nodes_of_calls(model, {call.module for call in calls})
    known = shapes_of_values(model)
    for call in sorted(calls, key=lambda each: -each.module.count(".")):
        scopes = parts.get(call.module, [])
        if len(scopes) == 1 + max(each.number for each in calls if each.module == call.module):
            mark_nodes(scopes[call.number], call.name, call.shape, known)
    onnx.save(model, path)


def _nodes_of_calls(
    model: onnx.ModelProto, modules: set[str]
) -> dict[str, list[list[onnx.NodeProto]]]:
    """Return the nodes of each call of each module, in the order of the calls."""
    found: dict[str, dict[str, list[onnx.NodeProto]]] = {}
    for node in model.graph.node:
        *scopes, _ = node.name.split("/")
        for depth in range(2, len(scopes) + 1):
            module = module_of(scopes[1:depth], modules)
            if module is not None:
                calls = found.setdefault(module, {})
                calls.setdefault("/".join(scopes[:depth]), []).append(node)
    return {module: list(nodes.values()) for module, nodes in found.items()}


def module_of(scopes: list[str], modules: set[str]) -> str | None:
    """Return the module that names of scopes, outermost first, lead to.

    A child of a container repeats the container's name; a repeated call ends in its number.

    >>> module_of(["seq", "seq.0"], {"seq.0"}), module_of(["blocks.1", "fc_2"], {"blocks.1.fc"})
    ('seq.0', 'blocks.1.fc')
    """
    for parts in (scopes, [re.sub(r"_\d+$", "", part) for part in scopes]):
        path, before = "", ""
        for part in parts:
            repeats = before and part.startswith(f"{before}.")
            path = path[: len(path) - len(before)] + part if repeats else f"{path}.{part}"
            path, before = path.lstrip("."), part
        if path in modules:
            return path
    return None


def mark_nodes(
    nodes: list[onnx.NodeProto], name: str, shape: Shape | None, known: Mapping[str, Shape]
) -> None:
    """Write a name into the metadata of the last node if its first output has the shape.

    Once; the nodes before it, too, are told which operation they are parts of.
    """
    last = nodes[-1]
    actual = known.get(last.output[0]) if last.output else None
    if shape is None or actual is None or not _agree(shape, actual) or marks(last):
        return
    for node in nodes:
        if not marks(node, WITHIN):
            entry = node.metadata_props.add()
            entry.key, entry.value = (SOURCE if node is last else WITHIN), name


def _agree(shape: Shape, actual: Shape) -> bool:
    """Tell whether two shapes are the same where both are known.

    >>> _agree((1, None), (1, 7)), _agree((1, 3), (1, 7)), _agree((1,), (1, 7))
    (True, False, False)
    """
    return len(shape) == len(actual) and all(
        one == other or None in (one, other) for one, other in zip(shape, actual, strict=True)
    )


def marks(node: onnx.NodeProto, key: str = SOURCE) -> str:
    """Return what a node is marked with, nothing where it is not."""
    return next((entry.value for entry in node.metadata_props if entry.key == key), "")


def values_within(model: onnx.ModelProto) -> set[str]:
    """Return the values that are parts of an operation of the source and none of its results."""
    return {name for node in model.graph.node if marks(node, WITHIN) for name in node.output}
