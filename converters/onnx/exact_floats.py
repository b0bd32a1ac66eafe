"""Which nodes compute indices, shapes or a Range in floats, of which rounding makes others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

INTEGERS = frozenset({2, 3, 4, 5, 6, 7, 12, 13})
"""ONNX's numbers of the formats of integers."""


def exact_nodes(
    nodes: Sequence[onnx.NodeProto], inputs: Sequence[str], is_float: Callable[[str], bool]
) -> frozenset[int]:
    """Return the places of nodes whose floats become integers, or a Range, and hang on no data.

    `inputs` are the model's. float16 has no 2049, and a scale of 0.1 is another number in it, so a
    shape that is computed by way of floats would be another one.
    """
    data = _data(nodes, inputs, is_float)
    wanted: set[str] = set()
    found = set()
    for place, node in reversed(list(enumerate(nodes))):
        floats = [name for name in node.input if is_float(name)]
        if _becomes_integer(node) and floats and not data & set(floats):
            found.add(place)
            wanted.update(floats)
        made = [name for name in node.output if is_float(name)]
        is_range = node.op_type == "Range" and not node.domain and bool(made)
        if is_range or (wanted & set(made) and not data & set(floats)):
            found.add(place)
            wanted.update(name for name in floats if name not in data)
    return frozenset(found)


def _data(
    nodes: Sequence[onnx.NodeProto], inputs: Sequence[str], is_float: Callable[[str], bool]
) -> set[str]:
    """Return the floats that are computed from the model's floats; counting them makes none."""
    data = {name for name in inputs if is_float(name)}
    for node in nodes:
        if data.intersection(node.input):
            data.update(name for name in node.output if is_float(name))
    return data


def _becomes_integer(node: onnx.NodeProto) -> bool:
    return node.op_type == "Cast" and any(
        attribute.name == "to" and attribute.i in INTEGERS for attribute in node.attribute
    )
