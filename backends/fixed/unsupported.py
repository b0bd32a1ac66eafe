"""What `fixed` refuses before anything runs, in one sentence each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xbackend.worker import control
from xbackend.worker.contract import Unsupported
from xbackend.worker.geometry.resize import MODES
from xbackend.worker.graph import missing
from xbackend.worker.subgraphs import every_constant, every_node
from xbackend.worker.tensor import Tensor

from .formats import DTYPES
from .operators import FLOAT_PRODUCTS, OPERATORS, trees

if TYPE_CHECKING:
    from typing import Dict, List

    from xbackend.worker.graph import Graph, Node


KNOWN = control.OPERATORS | {f"{domain}.{name}" if domain else name for domain, name in OPERATORS}
"""Full names of all operators that there are."""


def check_supported(graph: Graph, precision: str) -> None:
    """Raise Unsupported for a graph with operators or formats that there are not.

    In int8 that is a product of floats too, which is no judge of what multiplies integers.
    """
    nodes = list(every_node(graph))
    lacking = missing(nodes, KNOWN)
    if lacking:
        raise Unsupported(f"fixed has no {', '.join(lacking)}.")
    products = {n.operator for n in nodes if (n.domain, n.operator) in FLOAT_PRODUCTS}
    if precision == "int8" and products:
        raise Unsupported(_sentence(graph, sorted(products)))
    for node in nodes:
        control.refuse_old_scan(node, graph.opset)
        problem = _detail(node) or _training(node, graph)
        if problem:
            raise Unsupported(f"fixed cannot compute the node '{_name(node)}': {problem}.")
    for name, dtype in _formats(graph).items():
        if dtype not in DTYPES:
            raise Unsupported(f"fixed cannot compute with '{name}', which is {dtype}.")


def _formats(graph: Graph) -> Dict[str, str]:
    """Return the format of everything that enters the graph."""
    made = [(n, n.attributes["value"]) for n in every_node(graph) if "value" in n.attributes]
    return {
        **{value.name: value.dtype for value in graph.inputs},
        **{name: tensor.dtype for name, tensor in every_constant(graph).items()},
        **{_name(node): value.dtype for node, value in made if isinstance(value, Tensor)},
    }


def _sentence(graph: Graph, products: List[str]) -> str:
    names = ", ".join(products)
    operators = {node.operator for node in every_node(graph)}
    if {"QuantizeLinear", "DequantizeLinear"} <= operators:
        return (
            f"fixed multiplies integers only in int8 and this graph has {names} in floating point "
            "between QuantizeLinear and DequantizeLinear (QDQ form); convert the float model with "
            "--to onnx-int8, which writes the QOperator form."
        )
    return (
        f"fixed multiplies integers only in int8 and this graph has {names} in floating point; "
        "run it with --precision float32."
    )


def _detail(node: Node) -> str:
    """Return why a node of a known operator cannot be computed; empty if it can."""
    attributes = node.attributes
    if node.domain == trees.DOMAIN:
        return trees.refusal(node)
    if attributes.get("channels_last", 0):
        return "channels come last"
    if node.operator == "BatchNormalization" and any(node.outputs[1:]):
        return "it is in training"
    if node.operator == "Resize" and attributes["mode"] not in MODES:
        return f"its mode is {attributes['mode']}"
    if node.operator == "MaxPool" and node.gives(1):
        return "it has an output of indices"
    if node.operator == "QLinearAveragePool" and set(attributes.get("dilations", [1])) != {1}:
        return "its window has gaps"
    for key in ("to", "output_dtype"):
        if attributes.get(key) and attributes[key] not in DTYPES:
            return f"its {key} is {attributes[key]}"
    return ""


def _training(node: Node, graph: Graph) -> str:
    """Return why a Dropout is not the identity that it is in inference; empty if it is."""
    if node.operator != "Dropout" or len(node.inputs) < 3 or not node.inputs[2]:
        return ""
    mode = graph.constants.get(node.inputs[2])
    return "" if mode is not None and not mode.array.any() else "it drops elements at random"


def _name(node: Node) -> str:
    return node.name or next((name for name in node.outputs if name), node.operator)
