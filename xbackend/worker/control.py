"""If, Loop and Scan: which body is computed how often with what, whichever framework computes it.

An executor says what it needs of its framework as a `Flow`, and walks a body by a function of its
own; what bodies compute is yielded by name as it is computed.
"""

from __future__ import annotations

from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Dict,
    Generator,
    List,
    Mapping,
    Tuple,
)

from xbackend.worker import sequences
from xbackend.worker.contract import Unsupported
from xbackend.worker.graph import captured
from xbackend.worker.subgraphs import BRANCHES, body_prefix, label_of

if TYPE_CHECKING:
    from xbackend.worker.artifact import ValueInfo
    from xbackend.worker.flow import Flow
    from xbackend.worker.graph import Graph, Node

Values = Mapping[str, Any]
Walking = Generator[Tuple[str, Any], None, List[Any]]
Walk = Callable[["Graph", Dict[str, Any], str], Walking]
"""Takes a body, the values that it reads and what stands before the names of its own; yields what
is computed, and returns the body's outputs in order."""


def compute(node: Node, held: Values, prefix: str, flow: Flow, walk: Walk) -> Walking:
    """Compute a node that has bodies, or that handles sequences; see `Walk` for what comes."""
    if node.operator in BODIES:
        return (yield from BODIES[node.operator](node, held, prefix, flow, walk))
    inputs = [held[name] if name else None for name in node.inputs]
    return [sequences.OPERATORS[node.operator](node, inputs, flow)]


def _if(node: Node, held: Values, prefix: str, flow: Flow, walk: Walk) -> Walking:
    key = "then_branch" if flow.truth(held[node.inputs[0]]) else "else_branch"
    body = node.attributes[key]
    outputs = yield from walk(body, around(body, held), prefix + body_prefix(node, BRANCHES[key]))
    return outputs


def _loop(node: Node, held: Values, prefix: str, flow: Flow, walk: Walk) -> Walking:
    """Iterate so often, as long as the condition holds; what is left of the outputs is stacked."""
    body: Graph = node.attributes["body"]
    outer = around(body, held)
    names = [*node.inputs, "", ""]
    most, condition = (held[name] if name else None for name in names[:2])
    states = [held[name] for name in node.inputs[2:]]
    count = None if most is None else flow.integer(most)
    going, index = condition is None or flow.truth(condition), 0
    rows: List[List[Any]] = []
    while going and (count is None or index < count):
        first = [flow.scalar(index, "int64"), flow.scalar(True, "bool")]
        given = dict(zip(body.input_names, [*first, *states]))
        made = yield from walk(body, {**outer, **given}, prefix + body_prefix(node, index))
        going, states = flow.truth(made[0]), made[1 : 1 + len(states)]
        rows.append(made[1 + len(states) :])
        index += 1
    columns = body.outputs[1 + len(states) :]
    return [*states, *(_stacked(flow, rows, place, each) for place, each in enumerate(columns))]


def _scan(node: Node, held: Values, prefix: str, flow: Flow, walk: Walk) -> Walking:
    """Go along axes of the last inputs, and stack what the body's last outputs give."""
    body: Graph = node.attributes["body"]
    outer = around(body, held)
    count = int(node.attributes["num_scan_inputs"])
    values = [held[name] for name in node.inputs]
    states, scanned = values[: len(values) - count], values[len(values) - count :]
    inward = _ways(node, "scan_input", count)
    length = flow.extent(scanned[0], inward[0][0])
    rows: List[List[Any]] = []
    for index in range(length):
        places = [
            flow.item(value, axis, length - 1 - index if backward else index)
            for value, (axis, backward) in zip(scanned, inward)
        ]
        given = dict(zip(body.input_names, [*states, *places]))
        made = yield from walk(body, {**outer, **given}, prefix + body_prefix(node, index))
        states = made[: len(states)]
        rows.append(made[len(states) :])
    columns = body.outputs[len(states) :]
    outward = _ways(node, "scan_output", len(columns))
    return [
        *states,
        *(
            _stacked(flow, rows[::-1] if backward else rows, place, each, axis)
            for place, (each, (axis, backward)) in enumerate(zip(columns, outward))
        ),
    ]


def _ways(node: Node, kind: str, count: int) -> List[Tuple[int, bool]]:
    """Return for each scanned value its axis, and whether it is gone along backwards."""
    axes = node.attributes.get(f"{kind}_axes") or [0] * count
    backward = node.attributes.get(f"{kind}_directions") or [0] * count
    return [(int(axis), bool(each)) for axis, each in zip(axes, backward)]


def _stacked(flow: Flow, rows: List[List[Any]], place: int, value: ValueInfo, axis: int = 0) -> Any:
    """Stack what each iteration gave; without any the shape is what the body declares."""
    if rows:
        return flow.stack([row[place] for row in rows], axis)
    shape = [extent or 0 for extent in value.shape or ()]
    rank = len(shape) + 1
    shape.insert(axis % rank, 0)
    return flow.empty(shape, value.dtype)


def around(body: Graph, held: Values) -> Dict[str, Any]:
    """Return the values of the graphs around that a body reads."""
    return {name: held[name] for name in captured(body)}


def refuse_old_scan(node: Node, opset: int) -> None:
    """Raise Unsupported for the Scan of opset 8, which has a batch and lengths of its own."""
    if node.operator == "Scan" and opset < 9:
        raise Unsupported(
            f"The node '{label_of(node)}' is the Scan of opset 8, which goes along a batch. "
            "Convert the model to opset 9 with onnx.version_converter."
        )


BODIES: Dict[str, Callable[[Node, Values, str, Flow, Walk], Walking]] = {
    "If": _if,
    "Loop": _loop,
    "Scan": _scan,
}
"""The operators that have bodies."""

OPERATORS = frozenset([*BODIES, *sequences.OPERATORS])
"""The operators that are computed here, of ONNX's own domain."""


def is_control(node: Node) -> bool:
    """Tell whether a node is computed here."""
    return not node.domain and node.operator in OPERATORS
