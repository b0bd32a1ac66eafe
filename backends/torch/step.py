"""One node of a program: where its inputs come from, and how it computes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Dict, Generator, List, Mapping, Tuple

import torch

if TYPE_CHECKING:
    from xbackend.worker.graph import Node

Values = Dict[str, Any]
"""Tensors by name, and lists of tensors, which are sequences."""
Pairs = List[Tuple[str, Any]]
Trace = Generator[Tuple[str, Any], None, Pairs]
"""Yields what is computed on the way, and returns the outputs by name."""


@dataclass(frozen=True)
class Argument:
    """One input of a step."""

    name: str
    """The ONNX value; empty where an optional input is left out."""
    python: bool
    """Whether the operator wants Python numbers."""
    bound: bool
    """Whether the value is known before anything runs."""
    value: Any = None
    """That value, on the step's device or as Python numbers."""

    def fetch(self, values: Mapping[str, Any], device: torch.device) -> Any:
        """Return what the operator takes."""
        if self.bound:
            return self.value
        tensor = values[self.name]
        if isinstance(tensor, list):
            return tensor
        return tensor.tolist() if self.python else tensor.to(device)


@dataclass(frozen=True)
class Step:
    """One node that is ready to compute."""

    node: Node
    compute: Callable[..., Any]
    arguments: Tuple[Argument, ...]
    device: torch.device
    host: bool
    """Whether it computes with shapes only, on the host."""
    release: Tuple[str, ...]
    """Values that no later step reads."""

    @property
    def reads(self) -> List[str]:
        """Names of the values that it takes from others."""
        return [argument.name for argument in self.arguments if not argument.bound]

    def outputs(self, values: Mapping[str, Any]) -> Pairs:
        """Compute the node and return its outputs by name."""
        inputs = [argument.fetch(values, self.device) for argument in self.arguments]
        result = self.compute(self.node, *inputs)
        several = result if isinstance(result, (list, tuple)) else (result,)
        if not self.host:
            several = [t if isinstance(t, list) else t.to(self.device) for t in several]
        return [(name, tensor) for name, tensor in zip(self.node.outputs, several) if name]

    def trace(self, values: Mapping[str, Any], prefix: str) -> Trace:
        """Compute the node, yield its outputs by name behind a prefix, and return them."""
        made = self.outputs(values)
        yield from ((prefix + name, value) for name, value in made)
        return made
