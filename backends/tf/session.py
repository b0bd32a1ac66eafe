"""An executor that is ready to run: eagerly, as a tf.function, or compiled by XLA."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, Mapping, Sequence

import tensorflow as tf

from xbackend.worker.contract import Session, Unsupported
from xbackend.worker.subgraphs import is_wanted
from xbackend.worker.tensor import Tensor as Bits

from .executor import FAILURES, is_missing_kernel, summary
from .placement import collected_operations, short_name
from .value import Tensor, Value, constant, first

if TYPE_CHECKING:
    from typing import Collection, Iterator, Tuple

    from .executor import Executor
    from .framework import Placement

Function = Callable[[Dict[str, Tensor]], Dict[str, Tensor]]


def bits_of(tensor: Tensor) -> Bits:
    """Return a computed tensor as bits."""
    array = tensor.numpy()
    if tensor.dtype == tf.bfloat16:
        return Bits("bfloat16", array.view("uint16"))
    return Bits(tensor.dtype.name, array)


class TensorflowSession(Session):
    """What the modes share: inputs to TensorFlow, outputs back, and the taps' names."""

    def __init__(self, executor: Executor, placement: Placement) -> None:
        self.executor = executor
        self.placement = placement
        self.taps = executor.taps

    def facts(self) -> Dict[str, Any]:
        """Return the settings as they were read back, and where operations were placed."""
        return {**self.placement.facts, "placement": self.placed()}

    def placed(self) -> Dict[str, Any]:
        """Return what is known of where operations were run."""
        raise NotImplementedError

    def _inputs(self, inputs: Mapping[str, Bits]) -> Dict[str, Tensor]:
        return {name: constant(inputs[name]).tensor for name in self.executor.graph.input_names}


class EagerSession(TensorflowSession):
    """Runs one operation after the other, as Python reaches them."""

    def __init__(self, executor: Executor, placement: Placement) -> None:
        super().__init__(executor, placement)
        self._devices: Dict[str, str] = {}

    def run(self, inputs: Mapping[str, Bits]) -> Dict[str, Bits]:
        """Compute every node and keep what is still to be read."""
        wanted = self.executor.graph.output_names
        found = dict(self._walk(inputs, set(wanted)))
        return {name: found[name] for name in wanted}

    def tap(
        self, inputs: Mapping[str, Bits], wanted: Collection[str]
    ) -> Iterator[Tuple[str, Bits]]:
        """Walk again and give each wanted value as it is computed."""
        return self._walk(inputs, wanted)

    def placed(self) -> Dict[str, Any]:
        """Return for each value the device that holds it, which is where it was computed."""
        return dict(self._devices)

    def _walk(
        self, inputs: Mapping[str, Bits], wanted: Collection[str]
    ) -> Iterator[Tuple[str, Bits]]:
        with self.placement.scope():
            steps = self.executor.walk(self._inputs(inputs))
        for name, value in self._placed(steps):
            if not isinstance(value, Value):
                continue
            self._devices[name] = short_name(value.tensor.device)
            if is_wanted(name, wanted):
                yield name, bits_of(first(value))

    def _placed(self, steps: Iterator[Tuple[str, Any]]) -> Iterator[Tuple[str, Any]]:
        """Take each step on the device, which is left before the step is given to anyone."""
        while True:
            with self.placement.scope():
                step = next(steps, None)
            if step is None:
                return
            yield step

    def close(self) -> None:
        """Let go of the weights."""
        self.executor.constants.clear()


class FunctionSession(TensorflowSession):
    """Runs the whole graph as one tf.function, made anew for inputs of another shape."""

    def __init__(self, executor: Executor, placement: Placement, xla: bool) -> None:
        super().__init__(executor, placement)
        self.xla = xla
        self._function = self._made(executor.graph.output_names)
        self._tapping: Dict[Tuple[str, ...], Function] = {}
        self._operations: Dict[str, int] = {}

    def run(self, inputs: Mapping[str, Bits]) -> Dict[str, Bits]:
        """Run the function whose results are the outputs and nothing else."""
        return self._call(self._function, inputs, self._operations)

    def tap(
        self, inputs: Mapping[str, Bits], wanted: Collection[str]
    ) -> Iterator[Tuple[str, Bits]]:
        """Run a second function, whose results are the outputs and all wanted values."""
        outputs = self.executor.graph.output_names
        own = set(self.executor.graph.values)  # what a body computes does not leave its function
        names = [n for n in self.taps if n in own and (n in wanted or n in outputs)]
        names += [name for name in outputs if name not in names]
        function = self._tapping.setdefault(tuple(names), self._made(names))
        found = self._call(function, inputs, {})
        yield from ((name, found[name]) for name in names if name in wanted)

    def placed(self) -> Dict[str, Any]:
        """Count the operations of the graph after TensorFlow's own rewriting, by device."""
        return dict(self._operations)

    def _made(self, names: Sequence[str]) -> Function:
        """Make a function of the inputs; XLA compiles all of it or fails."""

        def compute(inputs: Dict[str, Tensor]) -> Dict[str, Tensor]:
            return self.executor.chosen(inputs, names)

        options = {"jit_compile": True} if self.xla else {}
        function: Function = tf.function(compute, autograph=False, **options)
        return function

    def _call(
        self, function: Any, inputs: Mapping[str, Bits], operations: Dict[str, int]
    ) -> Dict[str, Bits]:
        """Make the graph first, so that `operations` counts what runs and not what prepares."""
        try:
            with self.placement.scope():
                tensors = self._inputs(inputs)
                made = function.get_concrete_function(tensors)
                with collected_operations() as collected:
                    results = function(tensors)
        except FAILURES as error:
            if not is_missing_kernel(error):
                raise
            raise Unsupported(_refusal(error, self.xla)) from error
        operations.update(_compiled(made, results) if self.xla else collected)
        return {name: bits_of(tensor) for name, tensor in results.items()}

    def close(self) -> None:
        """Let go of the weights and the functions."""
        self.executor.constants.clear()
        self._tapping.clear()


def _compiled(made: Any, results: Mapping[str, Tensor]) -> Dict[str, int]:
    """Count the functions that XLA compiled as a whole, which it must or fail, by device."""
    must = int(made.function_def.attr["_XlaMustCompile"].b)
    return {f"{short_name(tensor.device)} compiled by XLA": must for tensor in results.values()}


def _refusal(error: Exception, xla: bool) -> str:
    mode = "XLA" if xla else "a tf.function"
    return (
        f"TensorFlow {tf.__version__} cannot run this model as {mode}: {summary(error)}. "
        "Run it with --set tf.mode=eager."
    )
