"""What it means that PyTorch has an ONNX operator: a function, and what it wants and lacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Mapping, Tuple

if TYPE_CHECKING:
    from xbackend.worker.graph import Node


def _nothing(node: Node, constants: Mapping[str, Any]) -> str:
    return ""


@dataclass(frozen=True)
class Operator:
    """How PyTorch computes one ONNX operator."""

    compute: Callable[..., Any]
    """Takes the node, then its inputs, None where one is left out; returns a tensor or several.

    The graph's opset is among the node's attributes, under `opset`; tensors there are PyTorch's.
    """
    python: Tuple[int, ...] = ()
    """Positions of inputs that arrive as Python numbers or lists: shapes, axes, scales."""
    scalar: Tuple[int, ...] = ()
    """Positions of inputs that arrive as Python numbers where they are constants without axes."""
    unsupported_reason: Callable[[Node, Mapping[str, Any]], str] = _nothing
    """Takes the node and the constants by name; names the form that is missing, or says nothing."""


def ignoring_node(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make a function of tensors alone into one that takes the node first."""

    def compute(node: Node, *inputs: Any) -> Any:
        return function(*inputs)

    return compute
