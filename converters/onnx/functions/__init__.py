"""What operators are made of: by ONNX's own functions, and by what is written here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import grouped, quantized, recurrent, regions, sampling, selection, transformer
from .body import Body, NotSpelled
from .schema import SCHEMA_FUNCTIONS, schema_function

if TYPE_CHECKING:
    from collections.abc import Callable

    import onnx

    from xbackend.worker.graph import Graph

    from ..normalise import NormaliseContext

FUNCTIONS: dict[str, Callable[[Body], None]] = {
    **grouped.FUNCTIONS,
    **quantized.FUNCTIONS,
    **recurrent.FUNCTIONS,
    **regions.FUNCTIONS,
    **sampling.FUNCTIONS,
    **selection.FUNCTIONS,
    **transformer.FUNCTIONS,
}
"""By full name: adds the nodes to a body."""

SPELLED = frozenset(name.rpartition(".")[2] for name in (*FUNCTIONS, *SCHEMA_FUNCTIONS))
"""Names of the operators that may be spelled out, without their domains."""


def spell(node: onnx.NodeProto, context: NormaliseContext) -> Graph | None:
    """Return what a node is made of, None where that is not known."""
    domain = "" if node.domain == "ai.onnx" else node.domain
    name = f"{domain}.{node.op_type}" if domain else node.op_type
    if name in SCHEMA_FUNCTIONS:
        return schema_function(node, context)
    write = FUNCTIONS.get(name)
    if write is None:
        return None
    body = Body(node, context)
    try:
        write(body)
    except NotSpelled:
        return None
    return body.graph()
