"""Graphs within a graph: spelling operators out in others, and names of what bodies compute.

A value of a body is told by where it is computed: `loop_1[3]/conv` is `conv` in the fourth
iteration of the node `loop_1`, `if_1[then]/conv` in the branch that was taken. As a layer, which is
the same in each iteration, it is `loop_1[]/conv`.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import (
    TYPE_CHECKING,
    Callable,
    Collection,
    Dict,
    Iterator,
    List,
    Optional,
    Tuple,
    Union,
)

if TYPE_CHECKING:  # what a run reads that computes nothing anew, without NumPy
    from xbackend.worker.graph import Graph, Node
    from xbackend.worker.tensor import Tensor

BRANCHES = {"then_branch": "then", "else_branch": "else"}
"""What the branches of If are called in names."""

_INDEX = re.compile(r"\[\d+\](?=/)")


def label_of(node: Node) -> str:
    """Return what a node with bodies is called in names of values: its name, else its output."""
    return node.name or next((name for name in node.outputs if name), node.operator)


def body_prefix(node: Node, place: Union[int, str]) -> str:
    """Return what stands before the names of a body's values, in an iteration or a branch.

    >>> from xbackend.worker.graph import Node
    >>> body_prefix(Node("Loop", "", "loop_1", (), ("y",), {}), 3)
    'loop_1[3]/'
    """
    return f"{label_of(node)}[{place}]/"


def layer_of(name: str) -> str:
    """Return the layer of a value, which is the same in each iteration.

    >>> layer_of("loop_1[3]/if_2[then]/conv")
    'loop_1[]/if_2[then]/conv'
    """
    return _INDEX.sub("[]", name)


def is_within(name: str) -> bool:
    """Tell whether a value is one of a body.

    >>> is_within("loop_1[3]/conv"), is_within("conv")
    (True, False)
    """
    return "]/" in name


def is_wanted(name: str, wanted: Collection[str]) -> bool:
    """Tell whether a value is among those that are wanted, by its own name or that of its layer."""
    return name in wanted or (is_within(name) and layer_of(name) in wanted)


def expanded(
    graph: Graph, known: Collection[str], kept: Optional[Callable[[Node], bool]] = None
) -> Graph:
    """Spell out the operators that are not known, where it is known how; in bodies too.

    Names of operators are full ones. What cannot be spelled out stays as it is, and so does what is
    kept by a function of the node.
    """

    def stays(node: Node) -> bool:
        known_by_name = node.function is None or node.full_name in known
        return known_by_name or (kept is not None and kept(node))

    return _expanded(graph, stays)


def _expanded(graph: Graph, stays: Callable[[Node], bool]) -> Graph:
    if not any(node.bodies or not stays(node) for node in graph.nodes):
        return graph
    nodes, constants = _spelled(graph.nodes, stays)
    return replace(graph, nodes=tuple(nodes), constants={**graph.constants, **constants})


def _spelled(
    nodes: Collection[Node], stays: Callable[[Node], bool]
) -> Tuple[List[Node], Dict[str, Tensor]]:
    made: List[Node] = []
    constants: Dict[str, Tensor] = {}
    for node in nodes:
        if node.function is not None and not stays(node):
            inner, more = _spelled(node.function.nodes, stays)
            made += inner
            constants.update({**node.function.constants, **more})
        elif node.bodies:
            bodies = {key: _expanded(body, stays) for key, body in node.bodies.items()}
            made.append(replace(node, attributes={**node.attributes, **bodies}))
        else:
            made.append(node)
    return made, constants


def every_node(graph: Graph) -> Iterator[Node]:
    """Yield all nodes, those of bodies before the node that has them."""
    for node in graph.nodes:
        for body in node.bodies.values():
            yield from every_node(body)
        yield node


def every_constant(graph: Graph) -> Dict[str, Tensor]:
    """Return the constants of a graph and of all bodies within."""
    found = dict(graph.constants)
    for node in graph.nodes:
        for body in node.bodies.values():
            found.update(every_constant(body))
    return found


def every_value(graph: Graph, prefix: str = "") -> Tuple[str, ...]:
    """Return the names, as layers have them, of all values in the order of computation.

    Those of a body come before what its node gives.
    """
    return tuple(name for node, name in values_with_nodes(graph, prefix))


def values_with_nodes(graph: Graph, prefix: str = "") -> Iterator[Tuple[Node, str]]:
    """Yield each value's name, as `every_value` has it, with the node that computes it."""
    for node in graph.nodes:
        for key, body in node.bodies.items():
            inner = prefix + body_prefix(node, BRANCHES.get(key, ""))
            yield from values_with_nodes(body, inner)
        yield from ((node, prefix + name) for name in node.outputs if name)
