"""A model in PyTorch that is ready to run, eagerly or compiled."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Collection, Dict, Iterator, List, Mapping, Tuple

import torch

from xbackend.worker.contract import Session, Unsupported
from xbackend.worker.subgraphs import is_wanted, is_within

from . import global_settings, libraries
from .compiler import Compiler
from .exchange import from_torch, to_torch
from .kernels import seen_kernels
from .program import Program, release, walk
from .step import Values

if TYPE_CHECKING:
    from xbackend.worker.tensor import Tensor


class TorchSession(Session):
    """Walks a program on its device."""

    def __init__(self, program: Program, compiled: bool, about: Mapping[str, Any]) -> None:
        self.program = program
        self.compiler = Compiler(program) if compiled else None
        self.about = about
        self.taps = program.values
        self.last: Values = {}

    def run(self, inputs: Mapping[str, Tensor]) -> Dict[str, Tensor]:
        """Return the outputs of one inference that keeps nothing else."""
        self.last = self._load(inputs)
        results = self._infer(self.last, self.program.outputs)
        return {name: from_torch(results[name]) for name in self.program.outputs}

    def tap(
        self, inputs: Mapping[str, Tensor], wanted: Collection[str]
    ) -> Iterator[Tuple[str, Tensor]]:
        """Yield wanted values: from the same walk, or from code that is compiled to return all."""
        asked = set(wanted) & {*self.program.values, *self.program.outputs}
        tensors = self._load(inputs)
        if self.compiler is None:
            pairs = self._walk_slowly(tensors, asked)
        else:
            pairs = iter(self._infer(tensors, self._in_order(asked)).items())
        for name, tensor in pairs:
            if isinstance(tensor, torch.Tensor):
                yield name, from_torch(tensor)

    def facts(self) -> Dict[str, Any]:
        """Return the switches as they are, the device, and on a GPU the kernels of a last run."""
        facts = {**self.about, "switches": global_settings.read(), "libraries": libraries.read()}
        if self.compiler is not None:
            facts["compiled"] = self.compiler.facts()
        if self.program.device.type == "cuda" and self.last:
            facts["kernels"] = self._kernels()
        return facts

    def close(self) -> None:
        """Forget the last inputs."""
        self.last = {}

    def _load(self, inputs: Mapping[str, Tensor]) -> Values:
        names = self.program.inputs
        return {name: to_torch(inputs[name]).to(self.program.device) for name in names}

    def _infer(self, inputs: Values, wanted: Collection[str]) -> Values:
        with torch.inference_mode(), _kernels_required():
            if self.compiler is not None:
                return self.compiler.run(inputs, tuple(wanted))
            values = {**self.program.constants, **inputs}
            walk(self.program.steps, values, frozenset(wanted))
            return values

    def _in_order(self, asked: Collection[str]) -> List[str]:
        values = self.program.values
        rest = [name for name in self.program.outputs if name not in set(values)]
        return [name for name in (*values, *rest) if name in asked]

    def _walk_slowly(
        self, inputs: Values, asked: Collection[str]
    ) -> Iterator[Tuple[str, torch.Tensor]]:
        """Walk as `run` does, handing out values on the way so that none is kept for long."""
        values = {**self.program.constants, **inputs}
        given = [name for name in self._in_order(asked) if name in values]
        yield from ((name, values[name]) for name in given)
        for step in self.program.steps:
            trace = step.trace(values, "")
            while True:
                with torch.inference_mode(), _kernels_required():
                    pair = next(trace, None)
                if pair is None:
                    break
                name, made = pair
                if is_wanted(name, asked):
                    yield pair
                if not is_within(name):
                    values[name] = made
            release(step, values, ())

    def _kernels(self) -> Dict[str, int]:
        return seen_kernels(lambda: self._infer(self.last, self.program.outputs))


@contextmanager
def _kernels_required() -> Iterator[None]:
    """Turn PyTorch's word that it has no kernel for a format into Unsupported."""
    try:
        yield
    except NotImplementedError as error:
        raise Unsupported(
            f"torch {torch.__version__} lacks a kernel that this model needs: {error}. "
            "Choose another precision or other backends."
        ) from error
