"""What the table of operators lacks: told all at once, before anything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, Collection, Dict, List, Mapping, Optional

from xbackend.worker import control
from xbackend.worker.contract import Unsupported
from xbackend.worker.geometry.slices import PAD_MODES
from xbackend.worker.graph import missing
from xbackend.worker.subgraphs import every_constant, every_node

from ..value import FORMATS

if TYPE_CHECKING:
    from xbackend.worker.graph import Graph, Node
    from xbackend.worker.tensor import Tensor

    Form = Callable[[Node, Mapping[str, Tensor]], Optional[str]]


def check_supported(graph: Graph, known: Collection[str]) -> None:
    """Raise Unsupported naming every operator, or form of one, that cannot be executed."""
    nodes = list(every_node(graph))
    lacking = missing(nodes, known)
    if lacking:
        raise Unsupported(
            f"The tf backend has no {', '.join(lacking)}, which the model uses. "
            "Run it with ort, or export the model with other operators."
        )
    for node in nodes:
        control.refuse_old_scan(node, graph.opset)
    constants = every_constant(graph)
    forms = [form for node in nodes for form in _refused(node, constants)]
    if forms:
        raise Unsupported(
            f"TensorFlow does not have what the model asks for: {'; '.join(sorted(set(forms)))}. "
            "Run it with ort."
        )


def _refused(node: Node, constants: Mapping[str, Tensor]) -> List[str]:
    form = FORMS.get(node.full_name)
    reason = form(node, constants) if form else None
    return [f"{node.operator} {reason} (at '{node.outputs[0]}')"] if reason else []


def _batch_normalization(node: Node, constants: Mapping[str, Tensor]) -> Optional[str]:
    return "by position" if node.attributes.get("spatial", 1) == 0 else None


def _format(node: Node, constants: Mapping[str, Tensor]) -> Optional[str]:
    name = node.attributes.get("to") or node.attributes.get("output_dtype")
    return f"to {name}" if name and name not in FORMATS else None


def _max_pool(node: Node, constants: Mapping[str, Tensor]) -> Optional[str]:
    if not node.gives(1):
        return None
    dilated = max(node.attributes.get("dilations") or [1]) > 1
    spatial = len(node.attributes["kernel_shape"])
    return "with indices over dilated or solid windows" if dilated or spatial > 2 else None


def _spatial(node: Node, constants: Mapping[str, Tensor]) -> Optional[str]:
    spatial = len(node.attributes.get("strides") or [1])
    return f"over {spatial} spatial axes" if spatial > 3 else None


def _order(node: Node, constants: Mapping[str, Tensor]) -> Optional[str]:
    return "in CRD order" if node.attributes.get("mode", "DCR") != "DCR" else None


def _pad(node: Node, constants: Mapping[str, Tensor]) -> Optional[str]:
    mode = node.attributes["mode"]
    return None if mode in PAD_MODES else f"in mode {mode}"


def _product(node: Node, constants: Mapping[str, Tensor]) -> Optional[str]:
    return "by products" if node.attributes.get("reduction") == "mul" else None


FORMS: Dict[str, Form] = {
    "BatchNormalization": _batch_normalization,
    "Cast": _format,
    "Conv": _spatial,
    "ConvTranspose": _spatial,
    "MaxPool": _max_pool,
    "Pad": _pad,
    "QuantizeLinear": _format,
    "ScatterElements": _product,
    "ScatterND": _product,
    "SpaceToDepth": _order,
}
"""What says, for a node of an operator, which form of it is lacking; None where none is."""
