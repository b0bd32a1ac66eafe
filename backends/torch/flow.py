"""If, Loop, Scan and sequences over PyTorch's tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Mapping, Sequence

import torch

from xbackend.worker import control
from xbackend.worker.flow import Flow

from .exchange import DTYPES
from .step import Pairs, Step, Trace, Values

if TYPE_CHECKING:
    from xbackend.worker.graph import Graph

    from .program import Program


class TorchFlow(Flow):
    """Control flow over tensors on a device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def truth(self, value: torch.Tensor) -> bool:
        """Return a condition of one element."""
        return bool(value)

    def integer(self, value: torch.Tensor) -> int:
        """Return an integer of one element."""
        return int(value)

    def scalar(self, number: Any, dtype: str) -> torch.Tensor:
        """Return a tensor without axes."""
        return torch.tensor(number, dtype=DTYPES[dtype], device=self.device)

    def extent(self, value: torch.Tensor, axis: int) -> int:
        """Return how many elements lie along an axis."""
        return int(value.shape[axis])

    def item(self, value: torch.Tensor, axis: int, index: int) -> torch.Tensor:
        """Return one place of an axis, which is dropped."""
        return torch.select(value, axis, index)

    def stack(self, values: Sequence[torch.Tensor], axis: int) -> torch.Tensor:
        """Lay tensors along a new axis."""
        return torch.stack(list(values), axis)

    def empty(self, shape: Sequence[int], dtype: str) -> torch.Tensor:
        """Return a tensor without elements."""
        return torch.empty(list(shape), dtype=DTYPES[dtype or "float32"], device=self.device)


@dataclass(frozen=True)
class ControlStep(Step):
    """A node that has bodies, or that handles sequences."""

    bodies: Mapping[int, Program]
    """Programs of the bodies, by the identity of the graph."""
    bound: Mapping[str, torch.Tensor]
    """Constants that it reads."""
    flow: TorchFlow

    def outputs(self, values: Mapping[str, Any]) -> Pairs:
        """Compute the node, whatever is computed on the way, and return its outputs by name."""
        trace = self.trace(values, "")
        while True:
            try:
                next(trace)
            except StopIteration as done:
                pairs: Pairs = done.value
                return pairs

    def trace(self, values: Mapping[str, Any], prefix: str) -> Trace:
        """Compute the node, yield what its bodies compute and then its outputs, return these."""
        held = {**self.bound, **{name: values[name] for name in self.reads}}
        made = yield from control.compute(self.node, held, prefix, self.flow, self._walk)
        pairs = [(name, value) for name, value in zip(self.node.outputs, made) if name]
        yield from ((prefix + name, value) for name, value in pairs)
        return pairs

    def _walk(self, body: Graph, values: Values, prefix: str) -> control.Walking:
        program = self.bodies[id(body)]
        values.update(program.constants)
        kept = set(program.outputs)
        for step in program.steps:
            made = yield from step.trace(values, prefix)
            values.update(made)
            for name in step.release:
                if name not in kept:
                    values.pop(name, None)
        return [values[name] for name in program.outputs]
