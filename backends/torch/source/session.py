"""The model's own program or module, ready to run; taps come from a second inference."""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Callable, Collection, Dict, Iterator, List, Mapping, Tuple

import torch
import torch.fx
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from xbackend.worker.contract import Session, Unsupported
from xbackend.worker.torch_functions import call_name, watched_functions

from .. import global_settings, libraries
from ..exchange import from_torch, to_torch
from .module import load_module
from .program import build, fixed_values, read_constants

if TYPE_CHECKING:
    from xbackend.worker.artifact import Artifact
    from xbackend.worker.tensor import Tensor

SEED = 0
"""Before each inference, so that a program that draws random numbers gives the same ones again."""

Pairs = Iterator[Tuple[str, torch.Tensor]]


def prepare_source(
    artifact: Artifact, device: torch.device, compiled: bool, about: Mapping[str, Any]
) -> Session:
    """Load what `source.json` names."""
    document = json.loads((artifact.folder / "source.json").read_text(encoding="utf-8"))
    if document["kind"] == "program":
        program = document["program"]
        constants = [value.to(device) for value in read_constants(program, artifact.folder)]
        runner: _Runner = _ProgramRunner(program, constants, device, compiled)
    else:
        loaded = load_module(document["callable"], document["state"])
        if not isinstance(loaded, torch.nn.Module):
            loaded = loaded.module()
        runner = _ModuleRunner(loaded.to(device), compiled)
    return SourceSession(runner, document["taps"], artifact, device, about)


class SourceSession(Session):
    """Runs the source and names its tensors after the values of the exported graph."""

    def __init__(
        self,
        runner: _Runner,
        taps: Mapping[str, str],
        artifact: Artifact,
        device: torch.device,
        about: Mapping[str, Any],
    ) -> None:
        self.runner = runner
        self.inputs = [value.name for value in artifact.inputs]
        self.outputs = [value.name for value in artifact.outputs]
        self.names = taps
        order = [layer.tap for layer in artifact.layers]
        self.taps = tuple(name for name in order if name in taps or name in self.outputs)
        self.device = device
        self.about = about
        self.draws = False

    def run(self, inputs: Mapping[str, Tensor]) -> Dict[str, Tensor]:
        """Return the outputs of one inference that nothing watches."""
        with torch.inference_mode():
            torch.manual_seed(SEED)
            before = _generators(self.device)
            results = self._named(self.runner.run(self._load(inputs)))
        after = _generators(self.device)
        self.draws |= not all(map(torch.equal, before, after))
        return results

    def _named(self, results: List[torch.Tensor]) -> Dict[str, Tensor]:
        if len(results) != len(self.outputs):
            raise Unsupported(
                f"The PyTorch model gives {len(results)} tensors and its exported graph "
                f"{len(self.outputs)}, so which is which is not known. Set torch.graph=onnx."
            )
        return {name: from_torch(value) for name, value in zip(self.outputs, results)}

    def tap(
        self, inputs: Mapping[str, Tensor], wanted: Collection[str]
    ) -> Iterator[Tuple[str, Tensor]]:
        """Yield what was matched, in the order of computation, then the outputs."""
        asked = {self.names[name]: name for name in wanted if name in self.names}
        found: Dict[str, Tensor] = {}

        def keep(source: str, value: Any) -> None:
            name = asked.get(source)
            if name is not None and isinstance(value, torch.Tensor):
                found[name] = from_torch(value)

        with torch.inference_mode():
            torch.manual_seed(SEED)
            results = self._named(self.runner.watch(self._load(inputs), keep))
        found.update({name: value for name, value in results.items() if name in set(wanted)})
        order = [*self.taps, *(name for name in self.outputs if name not in self.taps)]
        yield from ((name, found[name]) for name in order if name in found)

    def facts(self) -> Dict[str, Any]:
        """Return the switches as they are, and the device."""
        found = {**self.about, "switches": global_settings.read(), "libraries": libraries.read()}
        return {**found, "draws_random": True} if self.draws else found

    def _load(self, inputs: Mapping[str, Tensor]) -> List[torch.Tensor]:
        return [to_torch(inputs[name]).to(self.device) for name in self.inputs]


def _generators(device: torch.device) -> List[torch.Tensor]:
    """Return the states of the random generators, which change when a number is drawn."""
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states


Keep = Callable[[str, Any], None]


class _Runner:
    """What is run: a list of tensors in, a list of tensors out."""

    def run(self, inputs: List[torch.Tensor]) -> List[torch.Tensor]:
        """Run with nothing watching."""
        raise NotImplementedError

    def watch(self, inputs: List[torch.Tensor], keep: Keep) -> List[torch.Tensor]:
        """Run and hand every tensor that has a name to `keep`."""
        raise NotImplementedError


class _ProgramRunner(_Runner):
    """An exported program, operation by operation."""

    def __init__(
        self,
        document: Mapping[str, Any],
        constants: List[torch.Tensor],
        device: torch.device,
        compiled: bool,
    ) -> None:
        self.module = build(document, device)
        self.constants = constants
        self.fixed = fixed_values(document, device)
        self.mutates = bool(document["mutates"])
        self.compiled = torch.compile(self.module, dynamic=False) if compiled else None

    def run(self, inputs: List[torch.Tensor]) -> List[torch.Tensor]:
        function = self.compiled or self.module
        return [value for value in tree_leaves(function(*self._arguments(inputs))) if _is(value)]

    def watch(self, inputs: List[torch.Tensor], keep: Keep) -> List[torch.Tensor]:
        if self.compiled is not None:
            return self.run(inputs)
        walk = _WatchedInterpreter(self.module, keep)
        return [value for value in tree_leaves(walk.run(*self._arguments(inputs))) if _is(value)]

    def _arguments(self, inputs: List[torch.Tensor]) -> List[Any]:
        """Return all that the graph takes; weights that it writes to are copied each time."""
        weights = [each.clone() for each in self.constants] if self.mutates else self.constants
        return [*weights, *inputs, *self.fixed]


class _WatchedInterpreter(torch.fx.Interpreter):  # type: ignore[misc]
    """Runs one operation after the other and shows each result before the next one begins."""

    def __init__(self, module: torch.fx.GraphModule, keep: Keep) -> None:
        super().__init__(module)
        self.keep = keep

    def run_node(self, n: torch.fx.Node) -> Any:
        """Run an operation."""
        value = super().run_node(n)
        self.keep(str(n.meta.get("source", n.name)), value)
        return value


class _ModuleRunner(_Runner):
    """A module, whose inner modules are watched as they are called."""

    def __init__(self, module: torch.nn.Module, compiled: bool) -> None:
        self.module = module
        self.compiled = torch.compile(module, dynamic=False) if compiled else None

    def run(self, inputs: List[torch.Tensor]) -> List[torch.Tensor]:
        function = self.compiled or self.module
        return [value for value in tree_leaves(function(*inputs)) if _is(value)]

    def watch(self, inputs: List[torch.Tensor], keep: Keep) -> List[torch.Tensor]:
        if self.compiled is not None:
            return self.run(inputs)
        if isinstance(self.module, torch.fx.GraphModule):
            walk = _WatchedInterpreter(self.module, keep)
            return [value for value in tree_leaves(walk.run(*inputs)) if _is(value)]
        counts: Dict[str, int] = {}
        within = [
            (path, inner)
            for path, inner in self.module.named_modules()
            if path and not isinstance(inner, torch.jit.ScriptModule)
        ]
        hooks = [inner.register_forward_hook(_hook(path, counts, keep)) for path, inner in within]

        def told(path: str, function: str, number: int, given: Any, result: Any) -> None:
            keep(call_name(path, function, number), result)

        # An attention that is watched takes another way than PyTorch's fast path through it.
        fast = any(isinstance(inner, torch.nn.MultiheadAttention) for _, inner in within)
        watched = watched_functions(TorchFunctionMode, within, told, (torch.Tensor,))
        try:
            with nullcontext() if fast else watched:
                return self.run(inputs)
        finally:
            for hook in hooks:
                hook.remove()


def _hook(path: str, counts: Dict[str, int], keep: Keep) -> Callable[..., None]:
    """Return what names a call as the exporter's marks do: `fc`, then `fc#1`."""

    def record(_module: Any, _inputs: Any, output: Any) -> None:
        number = counts.get(path, 0)
        counts[path] = number + 1
        keep(f"{path}#{number}" if number else path, output)

    return record


def _is(value: Any) -> bool:
    return isinstance(value, torch.Tensor)
