"""Which provider ran which node, and what ONNX Runtime did to the graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List

from .providers import gpu
from .words import CPU, CUDA, TENSORRT, short

if TYPE_CHECKING:
    from pathlib import Path

    from .options import Options

CAST = b"InsertedPrecisionFreeCast_"
"""How ONNX Runtime names what it inserts around nodes that have no float16 kernel."""


def facts_about(session: Any, model: Path, options: Options) -> Dict[str, Any]:
    """Return what is known of an open session afterwards."""
    facts: Dict[str, Any] = {
        "providers": session.get_providers(),
        "nodes": nodes_by_provider(session),
        "spinning": False,
        "settings": {"provider": short(options.provider)},
    }
    if options.provider in (CUDA, TENSORRT):
        facts.update(gpu())
    if options.precision == "float16" and options.provider == CPU:
        facts["float16"] = float16_note(model, options)
    return facts


def nodes_by_provider(session: Any) -> Dict[str, List[str]]:
    """Return provider to nodes, as `Conv conv1`, after the hardware-independent optimisations.

    Older releases cannot tell: there an only provider has them all (`*`), of several none is said.
    """
    placed = getattr(session, "get_provider_graph_assignment_info", None)
    if placed is None:
        only = session.get_providers()
        return {only[0]: ["*"]} if len(only) == 1 else {}
    nodes: Dict[str, List[str]] = {}
    for part in placed():
        row = nodes.setdefault(part.ep_name, [])
        row.extend(f"{node.op_type} {node.name}".strip() for node in part.get_nodes())
    return nodes


def float16_note(model: Path, options: Options) -> str:
    """Say where float16 is computed in float32, from the graph that ONNX Runtime ends with."""
    casts = optimised_model(model, options).count(CAST)
    if not casts:
        return "ONNX Runtime has float16 kernels for all nodes here."
    return "ONNX Runtime inserts casts to float32 around nodes without a float16 kernel."


def optimised_model(model: Path, options: Options) -> bytes:
    """Return the ONNX file of the graph that ONNX Runtime makes of a model."""
    import tempfile  # costs as much as a small model, so only where it is needed

    with tempfile.TemporaryDirectory() as folder:
        path = folder + "/optimised.onnx"
        options.open(str(model), optimized_model_filepath=path)
        with open(path, "rb") as stream:
            return stream.read()
