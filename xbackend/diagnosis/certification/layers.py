"""Which tensors of a run can be certified, from what, and by which rule: no framework, no run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from xbackend.numerics.bounds.bound import COPY, DOUBLE, NOTHING, Bound, Layer, Rule
from xbackend.numerics.bounds.composed.chain import STEPS
from xbackend.numerics.bounds.integers import KINDS
from xbackend.numerics.bounds.movement import moved
from xbackend.numerics.bounds.rules import LIPSCHITZ, reason_against, rule_for
from xbackend.worker.graph import Graph, Node

MOVING = frozenset(
    """
    Identity Reshape Flatten Squeeze Unsqueeze Transpose Slice Split Concat Gather Expand Tile Pad
    DepthToSpace SpaceToDepth Relu Neg Abs Max Min MaxPool GlobalMaxPool ReduceMax ReduceMin Clip
    """.split()
)
"""Operators whose results are known where what they read is, as they compute nothing."""
FUSED = frozenset(("Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "AveragePool"))
"""Nodes that kernels compute together with an activation that no error grows in."""


@dataclass(frozen=True)
class LayerSubject:
    """A recorded tensor, and what its right values are computed from."""

    tap: str
    layer: int
    """Position of the node that gave it."""
    operator: str
    node: int
    """Position of the node whose rounding is judged: the same, or one before it."""
    output: int
    """Which of that node's outputs."""
    rule: Rule
    tail: tuple[int, ...] = ()
    """Positions of nodes that were computed with it, in order."""
    chain: tuple[int, ...] = ()
    """Positions of nodes that lie between what was recorded and it, its own the last; empty where
    all that its node reads was recorded."""
    local: bool = False
    """Whether its right values are computed in this process."""

    @property
    def fused(self) -> bool:
        """Whether what the judged node gave was not recorded itself."""
        return bool(self.tail)


@dataclass(frozen=True)
class GraphIndex:
    """A graph, and what is known of its values."""

    graph: Graph
    recorded: Collection[str]
    """Names of the values that a run recorded, the model's inputs among them."""
    hanging: Collection[str]
    """Values that constants and extents alone decide."""
    makers: Mapping[str, int] = field(default_factory=dict)
    """By value: the position of the node that computes it."""
    formats: Mapping[str, str] = field(default_factory=dict)
    """Of what was recorded."""

    def is_known(self, name: str) -> bool:
        """Tell whether a value was recorded, or is made of such values by moving them."""
        if not name or name in self.graph.constants or name in self.recorded:
            return True
        if name in self.hanging:
            return True
        place = self.makers.get(name)
        if place is None or self.graph.nodes[place].operator not in MOVING:
            return False
        return all(self.is_known(each) for each in self.graph.nodes[place].inputs)

    def chain_inputs(self, chain: Collection[int]) -> list[str]:
        """Return what the nodes of a chain read that none of them computes."""
        nodes = [self.graph.nodes[place] for place in chain]
        made = {name for node in nodes for name in node.outputs}
        return sorted({name for node in nodes for name in node.inputs if name} - made)

    def is_held(self, name: str) -> bool:
        """Tell whether a value need not be computed: a weight, or recorded."""
        return name in self.graph.constants or name in self.recorded

    def missing(self, node: Node) -> str:
        """Return the first input of a node that is not known; empty where all are."""
        return next((name for name in node.inputs if not self.is_known(name)), "")

    def maker(self, name: str) -> Node | None:
        """Return the node that computes a value."""
        place = self.makers.get(name)
        return None if place is None else self.graph.nodes[place]


def index_graph(graph: Graph, formats: Mapping[str, str], hanging: Collection[str]) -> GraphIndex:
    """Look up which node computes each value; what was recorded is given with its format."""
    makers = {name: n for n, node in enumerate(graph.nodes) for name in node.outputs if name}
    return GraphIndex(graph, formats.keys(), hanging, makers, formats)


def find_subjects(index: GraphIndex) -> tuple[list[LayerSubject], dict[str, str]]:
    """Return the recorded tensors that can be judged, and the others with the reason."""
    found: list[LayerSubject] = []
    refused: dict[str, str] = {}
    for place, node in enumerate(index.graph.nodes):
        for output, tap in enumerate(node.outputs):
            if not tap or tap not in index.recorded or tap in index.hanging:
                continue
            try:
                found.append(_subject(index, place, output, tap))
            except LookupError as error:
                refused[tap] = str(error.args[0])
    return found, refused


def _subject(index: GraphIndex, place: int, output: int, tap: str) -> LayerSubject:
    node = index.graph.nodes[place]
    dtype = index.formats.get(tap, "")
    rule = rule_for(node.operator, node.domain, dtype)
    if rule is None:
        raise LookupError(reason_against(node.operator, node.domain))
    missing = index.missing(node)
    if not missing:
        data = [name for name in node.inputs if name and name not in index.hanging]
        if node.operator in MOVING and any(
            n in index.makers and n not in index.recorded for n in data
        ):
            rule = Rule(moved, COPY)
        return LayerSubject(tap, place, node.operator, place, output, rule)
    before = index.makers.get(missing)
    single = node.inputs[:1] == (missing,) and node.operator in LIPSCHITZ
    single = single and dtype not in KINDS
    if before is not None and single and index.graph.nodes[before].operator in FUSED:
        other = index.graph.nodes[before]
        rule = rule_for(other.operator, other.domain)
        if rule is not None and not index.missing(other):
            where = tuple(other.outputs).index(missing)
            shown = DOUBLE if rule.evaluation == NOTHING else rule.evaluation
            rule = replace(rule, evaluation=shown)
            return LayerSubject(tap, place, node.operator, before, where, rule, (place,))
    if chain := _chain(index, place, output):
        return LayerSubject(tap, place, node.operator, place, output, CHAINED, chain=chain)
    raise LookupError(f"'{missing}', which it reads, was not recorded")


def _chain(index: GraphIndex, place: int, output: int) -> tuple[int, ...]:
    """Return the nodes behind a value back to what was recorded; empty where errors are lost."""
    found: set[int] = set()
    waiting = [place]
    while waiting and len(found) < LONGEST_CHAIN:
        at = waiting.pop()
        node = index.graph.nodes[at]
        if node.domain or node.operator not in STEPS or output or len(node.outputs) > 1:
            return ()
        found.add(at)
        for name in node.inputs:
            if index.is_known(name):
                continue
            if name not in index.makers:
                return ()
            waiting.append(index.makers[name])
    return () if waiting else tuple(sorted(found))


def _unused(layer: Layer) -> Bound:
    raise LookupError(f"{layer.operator} is judged by the nodes before it")


CHAINED = Rule(_unused, NOTHING)
"""The rule of layers that are judged by several nodes together."""
LONGEST_CHAIN = 24
"""Nodes, at most, that one operation of a model's source becomes."""


def are_products(index: GraphIndex, node: Node) -> tuple[bool, ...]:
    """Tell of each input of a node whether a multiplication made it."""
    makers = [index.maker(name) for name in node.inputs]
    return tuple(maker is not None and maker.operator == "Mul" for maker in makers)
