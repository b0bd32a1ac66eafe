"""torch.compile over the whole walk, one compiled function for each set of input shapes."""

from __future__ import annotations

from importlib.util import find_spec
from types import FunctionType
from typing import Any, Callable, Dict, List, Mapping, Sequence, Tuple

import torch

from xbackend.worker.contract import Unsupported

from .flow import ControlStep
from .program import Program, specialise, walk
from .step import Step, Values

Signature = Tuple[Tuple[str, Tuple[int, ...]], ...]
Compiled = Callable[..., Tuple[torch.Tensor, ...]]


class Compiler:
    """Compiles a program and remembers the result for each shape of the inputs."""

    def __init__(self, program: Program) -> None:
        _refuse_control(program)
        self.program = program
        self.shapes: Dict[Signature, Values] = {}
        self.compiled: Dict[Tuple[Signature, Tuple[str, ...]], Compiled] = {}

    def run(self, inputs: Mapping[str, torch.Tensor], wanted: Sequence[str]) -> Values:
        """Return the wanted values from one inference of compiled code.

        Values that depend on shapes only are computed once, eagerly, and compiled in.
        """
        shapes = self._shapes(inputs)
        known = {**self.program.constants, **inputs, **shapes}
        values = {name: known[name] for name in wanted if name in known}
        computed = tuple(name for name in wanted if name not in known)
        if computed:
            function = self._function(inputs, shapes, computed)
            values.update(zip(computed, self._call(function, inputs)))
        return {name: values[name] for name in wanted}

    def _call(
        self, function: Compiled, inputs: Mapping[str, torch.Tensor]
    ) -> Tuple[torch.Tensor, ...]:
        from torch._dynamo.exc import TorchDynamoException

        try:
            return function(*(inputs[name] for name in self.program.inputs))
        except TorchDynamoException as error:
            raise Unsupported(
                f"torch.mode=compiled cannot make one graph of this model ({_first(error)}). "
                "Set torch.mode=eager."
            ) from error

    def facts(self) -> Dict[str, Any]:
        """Return how many functions were compiled: each is one graph, nothing runs outside."""
        return {"functions": len(self.compiled)}

    def _shapes(self, inputs: Mapping[str, torch.Tensor]) -> Values:
        key = _signature(inputs)
        if key not in self.shapes:
            names = {n for step in self.program.steps if step.host for n in step.node.outputs}
            values = {**self.program.constants, **inputs}
            if names:
                walk(self.program.steps, values, names)
            self.shapes[key] = {name: values[name] for name in names if name in values}
        return self.shapes[key]

    def _function(
        self, inputs: Mapping[str, torch.Tensor], shapes: Values, wanted: Tuple[str, ...]
    ) -> Compiled:
        key = (_signature(inputs), wanted)
        if key not in self.compiled:
            steps = specialise(self.program, shapes)
            walked = _own_code(_walked(steps, self.program.inputs, wanted))
            self.compiled[key] = torch.compile(walked, dynamic=False, fullgraph=True)
        return self.compiled[key]


def _refuse_control(program: Program) -> None:
    names = {step.node.operator for step in program.steps if isinstance(step, ControlStep)}
    if names:
        raise Unsupported(
            f"torch.mode=compiled cannot make one graph of this model, which has "
            f"{', '.join(sorted(names))} in it. Set torch.mode=eager."
        )


def _signature(inputs: Mapping[str, torch.Tensor]) -> Signature:
    return tuple((name, tuple(tensor.shape)) for name, tensor in sorted(inputs.items()))


def _walked(steps: Tuple[Step, ...], names: Tuple[str, ...], wanted: Tuple[str, ...]) -> Compiled:
    """Make the walk a function of tensors, for torch.compile to trace."""

    def walked(*inputs: torch.Tensor) -> Tuple[torch.Tensor, ...]:
        values = dict(zip(names, inputs))
        walk(steps, values, wanted)
        return tuple(values[name] for name in wanted)

    return walked


def _own_code(function: Compiled) -> Compiled:
    """Give a closure code of its own: torch.compile counts recompilations by code.

    Beyond its limit it would run eagerly, with no more than a warning.
    """
    code, names = function.__code__.replace(), function.__globals__
    return FunctionType(code, names, function.__name__, None, function.__closure__)


def require_compiler(device: torch.device) -> None:
    """Compile one negation. Raises Unsupported where this machine cannot compile."""
    try:
        _find_cpp_compiler()
        probe = torch.compile(torch.neg, dynamic=False)
        probe(torch.ones(2, device=device))
    except Exception as error:  # whatever a missing tool raises, the answer is the same
        raise Unsupported(
            f"torch.mode=compiled needs a {_tool(device)} that works on this machine "
            f"({_first(error)}). Install one, or leave torch.mode=eager."
        ) from error


def _find_cpp_compiler() -> None:
    """Raise what PyTorch raises where there is none: for code it knows, its cache would do."""
    if find_spec("torch._inductor.cpp_builder") is not None:  # since PyTorch 2.4
        from torch._inductor.cpp_builder import get_cpp_compiler

        get_cpp_compiler()


def _tool(device: torch.device) -> str:
    return "C++ compiler" if device.type == "cpu" else "C compiler and Triton"


def _first(error: BaseException) -> str:
    lines: List[str] = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__
