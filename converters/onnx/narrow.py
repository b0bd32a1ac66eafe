"""Formats narrower than a byte, held in wider ones that executors have: the same values, exactly.

Weights of 4 and 2 bits become integers of 8, those of float8 and float4 float32, where nothing but
DequantizeLinear reads them. A QuantizeLinear to 4 or 2 bits rounds to 8 and is then bounded by what
the narrow format holds. What is an input or output of the model stays as it is.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from xbackend.worker.graph import Graph, Node
from xbackend.worker.tensor import Tensor, from_numpy

if TYPE_CHECKING:
    from collections.abc import Mapping

WIDE = {"int4": "int8", "uint4": "uint8", "int2": "int8", "uint2": "uint8"}
"""Formats of integers, and those that hold them."""

LIMITS = {"int4": (-8, 7), "uint4": (0, 15), "int2": (-2, 1), "uint2": (0, 3)}

FLOATS = ("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float4_e2m1fn")
"""Formats of floats that float32 holds."""

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"


def widened(graph: Graph) -> tuple[Graph, dict[str, str]]:
    """Return the graph without narrow formats as far as can be, and what was widened to which."""
    formats = {name: tensor.dtype for name, tensor in graph.constants.items()}
    narrow = {name: kind for name, kind in formats.items() if kind in WIDE or kind in FLOATS}
    targets = {node.outputs[0]: _target(node, formats) for node in graph.nodes if node.outputs}
    made = {name: kind for name, kind in targets.items() if kind}
    if not narrow and not made:
        return graph, {}
    fixed = _read_by_others(graph, {*narrow, *made})
    kept = {name: WIDE.get(kind, "float32") for name, kind in narrow.items() if name not in fixed}
    bounded = {name: kind for name, kind in made.items() if name not in fixed}
    constants = {name: _wide(t, kept.get(name)) for name, t in graph.constants.items()}
    nodes: list[Node] = []
    for node in graph.nodes:
        kind = bounded.get(node.outputs[0]) if node.outputs else None
        nodes += [node] if kind is None else _bounded(node, kind, constants)
    told = {name: f"{formats[name]} as {wide}" for name, wide in kept.items()}
    told.update((name, f"{kind} as {WIDE[kind]}") for name, kind in bounded.items())
    return replace(graph, constants=constants, nodes=tuple(nodes)), told


def _target(node: Node, formats: Mapping[str, str]) -> str:
    """Return the narrow format of integers that a QuantizeLinear gives; empty for others."""
    if node.operator != QUANTIZE or node.domain:
        return ""
    point = node.inputs[2] if len(node.inputs) > 2 else ""
    kind = formats.get(point, "") if point else str(node.attributes.get("output_dtype") or "")
    return kind if kind in WIDE else ""


def _read_by_others(graph: Graph, names: set[str]) -> set[str]:
    """Return the names that something reads which would tell one format from another."""
    found = set(graph.output_names) & names
    for node in graph.nodes:
        places = {DEQUANTIZE: (0, 2), QUANTIZE: (2,)}.get(node.operator, ())
        allowed = {node.inputs[place] for place in places if place < len(node.inputs)}
        found |= set(node.reads) & names - allowed
    return found


def _wide(tensor: Tensor, kind: str | None) -> Tensor:
    return tensor if kind is None else from_numpy(tensor.array.astype(kind))


def _bounded(node: Node, kind: str, constants: dict[str, Tensor]) -> list[Node]:
    """Quantize to the wide format, and bound that by what the narrow one holds."""
    output = node.outputs[0]
    low, high = (f"{output}/{end}" for end in ("low", "high"))
    for name, limit in zip((low, high), LIMITS[kind], strict=True):
        constants[name] = from_numpy(np.asarray(limit, WIDE[kind]))
    attributes = dict(node.attributes)
    if attributes.get("output_dtype"):
        attributes["output_dtype"] = WIDE[kind]
    inner = f"{output}/{WIDE[kind]}"
    wide = replace(node, outputs=(inner,), attributes=attributes)
    return [wide, Node("Clip", "", "", (inner, low, high), (output,), {})]
