"""Plain statements that compute a small graph in one framework: what its scripts share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, List, Mapping

if TYPE_CHECKING:
    from xbackend.worker.contract import Settings
    from xbackend.worker.graph import Graph, Node

    Writers = Mapping[str, Callable[[Node, List[str]], str]]

INFIX = {"Add": "+", "Div": "/", "Mul": "*", "Sub": "-"}


def node_statements(
    graph: Graph, settings: Settings, simple: Mapping[str, str], writers: Writers
) -> List[str]:
    """Return a statement for each node, over a dict `v` of values by name.

    `simple` is a form for each operator without attributes; what `writers` return is empty where a
    node has no plain form. Nothing is returned where a node, a format or a setting has none.
    """
    plain = all(value.dtype in ("float32", "float64", "float16") for value in graph.inputs)
    if not plain or settings["device"] != "cpu" or settings["mode"] != "eager":
        return []
    lines = [_statement(node, simple, writers) for node in graph.nodes]
    return lines if all(lines) else []


def _statement(node: Node, simple: Mapping[str, str], writers: Writers) -> str:
    write = writers.get(node.operator)
    values = [f"v[{name!r}]" for name in node.inputs if name]
    if node.operator in simple:
        made = simple[node.operator].format(*values)
    elif node.operator in INFIX:
        made = f" {INFIX[node.operator]} ".join(values)
    else:
        made = write(node, values) if write else ""
    return f"v[{node.outputs[0]!r}] = {made}" if made else ""
