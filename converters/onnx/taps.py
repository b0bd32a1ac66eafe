"""Makes every value of an ONNX model an output, those of the graphs within as far as they can be.

A branch of If gives its values as further outputs, for which the other branch gives a tensor
without elements; which one ran is told by an output `if_1[then]`. The body of Loop and Scan gives
its values as further outputs that are stacked, `loop_1[]/conv`. Values of bodies within the body of
a loop are left out: their shapes may differ from iteration to iteration, and ONNX stacks one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xbackend.worker.subgraphs import BRANCHES

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx

    Types = Mapping[str, onnx.TypeProto]

LOOPS = ("Loop", "Scan")


def expose(model: onnx.ModelProto, types: Types) -> bool:
    """Make all values outputs, in place; tell whether a loop stacks some of them."""
    from onnx import ValueInfoProto

    stacks = False
    known = {value.name for value in model.graph.output}
    for node in model.graph.node:
        stacks = (bool(_open(node, types)) and node.op_type in LOOPS) or stacks
    computed = [name for node in model.graph.node for name in node.output if name]
    model.graph.output.extend(ValueInfoProto(name=name) for name in computed if name not in known)
    return stacks


def _open(node: onnx.NodeProto, types: Types) -> dict[str, int]:
    """Let a node give what its bodies compute; return ONNX's number of each new output's format."""
    bodies = {a.name: a.g for a in node.attribute if a.HasField("g")}
    if node.op_type == "If":
        return _open_branches(node, bodies, types)
    if node.op_type in LOOPS:
        return _open_loop(node, bodies["body"], types)
    return {}


def _open_branches(
    node: onnx.NodeProto, bodies: Mapping[str, onnx.GraphProto], types: Types
) -> dict[str, int]:
    from onnx import TensorProto, helper

    label = _label(node)
    found: dict[str, int] = {}
    for key, word in BRANCHES.items():
        inner = [_open(each, types) for each in bodies[key].node]
        formats = {
            **_formats(bodies[key], types),
            **{k: v for each in inner for k, v in each.items()},
        }
        for name, number in formats.items():
            tap = f"{label}[{word}]/{name}"
            for other, graph in bodies.items():
                if other == key:
                    graph.node.append(helper.make_node("Identity", [name], [tap]))
                else:
                    graph.node.append(_nothing(tap, number))
            found[tap] = number
    flag = f"{label}[then]"
    for key, graph in bodies.items():
        value = helper.make_tensor("flag", TensorProto.BOOL, [], [key == "then_branch"])
        graph.node.append(helper.make_node("Constant", [], [flag], value=value))
    found[flag] = TensorProto.BOOL
    for graph in bodies.values():
        _declare(graph, found)
    node.output.extend(found)
    return found


def _nothing(name: str, number: int) -> onnx.NodeProto:
    """Return what gives a tensor without elements."""
    from onnx import helper

    value = helper.make_tensor("nothing", number, [0], b"", raw=True)
    return helper.make_node("Constant", [], [name], value=value)


def _open_loop(node: onnx.NodeProto, body: onnx.GraphProto, types: Types) -> dict[str, int]:
    from onnx import helper

    found = {}
    for name, number in _formats(body, types).items():
        tap = f"{_label(node)}[]/{name}"
        body.node.append(helper.make_node("Identity", [name], [tap]))
        found[tap] = number
    _declare(body, found)
    node.output.extend(found)
    for attribute in node.attribute:
        if attribute.name in ("scan_output_axes", "scan_output_directions"):
            attribute.ints.extend([0] * len(found))
    return found


def _declare(graph: onnx.GraphProto, found: Mapping[str, int]) -> None:
    """Add outputs to a graph within, their shapes free."""
    from onnx import helper

    for name, number in found.items():
        value = graph.output.add()
        value.name = name
        value.type.CopyFrom(helper.make_tensor_type_proto(number, None))


def _formats(graph: onnx.GraphProto, types: Types) -> dict[str, int]:
    """Return the values that a graph computes and whose format is known to be a tensor's."""
    names = [name for node in graph.node for name in node.output if name]
    kinds = {name: types[name].tensor_type.elem_type for name in names if name in types}
    return {name: number for name, number in kinds.items() if number}


def _label(node: onnx.NodeProto) -> str:
    return node.name or next((name for name in node.output if name), node.op_type)
