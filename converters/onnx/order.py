"""The order in which the nodes of an ONNX graph can be computed, in time linear in its edges."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from xbackend.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import onnx


def sort_nodes(graph: onnx.GraphProto, path: Path) -> None:
    """Put the nodes in an order in which they can be computed, stable where they are.

    Raises ModelError for a value that nothing computes, and for a cycle.
    """
    nodes = list(graph.node)
    given = {""} | {value.name for value in graph.input} | {t.name for t in graph.initializer}
    given |= {t.values.name for t in graph.sparse_initializer}
    rounds = _rounds(nodes, _producers(nodes, given, path))
    if len(rounds) < len(nodes):
        left = (node for place, node in enumerate(nodes) if place not in rounds)
        names = ", ".join(sorted(name for node in left for name in node.output)[:5])
        raise ModelError(f"{path} has a cycle through the values {names}: no order computes it.")
    order = sorted(rounds, key=lambda place: (rounds[place], place))
    if order != sorted(order):
        del graph.node[:]
        graph.node.extend(nodes[place] for place in order)


def _producers(nodes: Sequence[onnx.NodeProto], given: set[str], path: Path) -> list[set[int]]:
    """Return for each node the places of the nodes whose outputs it reads."""
    makers: dict[str, int] = {}
    for place, node in enumerate(nodes):
        for name in node.output:
            makers.setdefault(name, place)
    found = []
    for node in nodes:
        needs = values_read(node) - given
        missing = needs - makers.keys()
        if missing:
            raise ModelError(
                f"{path} is not sound: node '{node.name or node.op_type}' reads the value "
                f"'{min(missing)}', which nothing computes."
            )
        found.append({makers[name] for name in needs})
    return found


def _rounds(nodes: Sequence[onnx.NodeProto], producers: list[set[int]]) -> dict[int, int]:
    """Return in which round, going through the nodes as they are listed, each can be computed.

    A node that reads what is listed after it has to wait for the next one. Nodes on a cycle, and
    behind one, are left out.
    """
    readers: list[list[int]] = [[] for _ in nodes]
    for place, sources in enumerate(producers):
        for source in sources:
            readers[source].append(place)
    left = [len(sources) for sources in producers]
    ready = deque(place for place, count in enumerate(left) if not count)
    rounds = dict.fromkeys(ready, 0)
    latest = [0] * len(nodes)
    while ready:
        source = ready.popleft()
        for place in readers[source]:
            latest[place] = max(latest[place], rounds[source] + (source > place))
            left[place] -= 1
            if not left[place]:
                rounds[place] = latest[place]
                ready.append(place)
    return rounds


def values_read(node: onnx.NodeProto) -> set[str]:
    """Return the values that a node reads, those that its subgraphs capture among them."""
    needs = set(node.input)
    for attribute in node.attribute:
        for graph in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
            inner = {v.name for v in graph.input} | {t.name for t in graph.initializer}
            inner |= {name for inside in graph.node for name in inside.output}
            needs |= {name for inside in graph.node for name in values_read(inside)} - inner
    return needs
