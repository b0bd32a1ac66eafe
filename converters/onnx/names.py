"""Renames the values of an ONNX graph, which name the taps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


def unique_names(wanted: Mapping[str, str]) -> dict[str, str]:
    """Return the wanted name of each key, the key itself where two want the same.

    >>> unique_names({"a;x": "a", "b;x": "b", "b;y": "b"})
    {'a;x': 'a', 'b;x': 'b;x', 'b;y': 'b;y'}
    """
    counts = Counter(wanted.values())
    return {key: name if counts[name] == 1 else key for key, name in wanted.items()}


def rename_values(model: onnx.ModelProto, names: Mapping[str, str]) -> None:
    """Rename values throughout the main graph; a new name that is taken gets a number.

    Subgraphs are left alone, so a value that one of them reads keeps its name.
    """
    graph = model.graph
    captured = _captured(graph)
    old = {name for name in names if name not in captured}
    taken = _all_names(graph) - old
    final: dict[str, str] = {}
    for name in _all_ordered(graph):
        if name in old and name not in final:
            final[name] = _free(names[name], taken)
            taken.add(final[name])
    for node in graph.node:
        node.input[:] = [final.get(name, name) for name in node.input]
        node.output[:] = [final.get(name, name) for name in node.output]
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.name = final.get(value.name, value.name)


def _free(name: str, taken: set[str]) -> str:
    if name not in taken:
        return name
    number = next(n for n in range(1, len(taken) + 2) if f"{name}_{n}" not in taken)
    return f"{name}_{number}"


def _all_ordered(graph: onnx.GraphProto) -> list[str]:
    computed = [name for node in graph.node for name in node.output]
    held = [v.name for v in (*graph.input, *graph.output, *graph.initializer)]
    return [*held, *computed]


def _all_names(graph: onnx.GraphProto) -> set[str]:
    return {*_all_ordered(graph), *(name for node in graph.node for name in node.input)}


def _captured(graph: onnx.GraphProto) -> set[str]:
    """Return every name that occurs in a subgraph of a node."""
    inner = [
        subgraph
        for node in graph.node
        for attribute in node.attribute
        for subgraph in ([attribute.g] if attribute.HasField("g") else list(attribute.graphs))
    ]
    found: set[str] = set()
    for subgraph in inner:
        found |= _all_names(subgraph) | _captured(subgraph)
    return found
