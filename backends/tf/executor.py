"""Walks the ONNX graph: one entry of the table of operators for each node."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Sequence, Tuple

import tensorflow as tf

from xbackend.worker import control
from xbackend.worker.contract import Unsupported
from xbackend.worker.graph import last_readers
from xbackend.worker.subgraphs import every_value, expanded

from .flow import TensorflowFlow, branched
from .operators import KNOWN, OPERATORS
from .operators.unsupported import check_supported
from .value import Value, constant, first

if TYPE_CHECKING:
    from typing import Iterator

    from xbackend.worker.control import Walking
    from xbackend.worker.graph import Graph, Node

Tensor = Any

LACKING = (tf.errors.UnimplementedError, tf.errors.NotFoundError)
"""What TensorFlow raises where it has no kernel for a format or a form."""

FAILURES = (*LACKING, tf.errors.InvalidArgumentError, TypeError, ValueError)
"""All that it raises where an operation cannot be."""

LACKING_WORDS = ("allowed values", "support")
"""What it says where it has none and raises something more general."""


class Executor:
    """A graph whose weights are TensorFlow's; it holds no state of an inference."""

    def __init__(self, graph: Graph) -> None:
        graph = expanded(graph, KNOWN)
        check_supported(graph, KNOWN)
        self.graph = graph
        self.taps = every_value(graph)
        self.constants = {name: constant(bits) for name, bits in graph.constants.items()}
        self._inner: Dict[int, Dict[str, Value]] = {}
        self._readers: Dict[int, List[Tuple[str, ...]]] = {}
        self._flow = TensorflowFlow()

    def walk(self, inputs: Mapping[str, Tensor]) -> Iterator[Tuple[str, Any]]:
        """Compute node by node and yield every value by name; each is let go after its last reader.

        Inputs that are outputs too, and constants that are, come before the first node.
        """
        held = {**self.constants, **{name: Value(tensor) for name, tensor in inputs.items()}}
        for output in self.graph.output_names:
            if output in held:
                yield output, held[output]
        yield from self._walk(self.graph, held, "")

    def _walk(self, graph: Graph, held: Dict[str, Any], prefix: str) -> Walking:
        """Compute a graph, or one within; see `xbackend.worker.control.Walk`."""
        if graph is not self.graph:
            held = {**self._constants_of(graph), **held}
        wanted = set(graph.output_names)
        outputs = {name: held[name] for name in wanted if name in held}
        for node, released in zip(graph.nodes, self._readers_of(graph)):
            if control.is_control(node):
                made: Sequence[Any] = yield from self._control(node, held, prefix)
            else:
                made = _compute(node, held)
            for name, value in zip(node.outputs, made):
                if name:
                    held[name] = value
                    if name in wanted:
                        outputs[name] = value
                    yield prefix + name, value
            for name in released:
                held.pop(name, None)
        return [outputs[name] for name in graph.output_names]

    def _control(self, node: Node, held: Dict[str, Any], prefix: str) -> Walking:
        """Compute a node that has bodies; where a graph is made, an If may have to have both."""
        if node.operator == "If" and not self._flow.is_known(held[node.inputs[0]]):
            return branched(node, held, self._walk)
        return (yield from control.compute(node, held, prefix, self._flow, self._walk))

    def _constants_of(self, graph: Graph) -> Dict[str, Value]:
        """Return the constants of a body, made once."""
        if id(graph) not in self._inner:
            with tf.init_scope():
                made = {name: constant(bits) for name, bits in graph.constants.items()}
            self._inner[id(graph)] = made
        return self._inner[id(graph)]

    def _readers_of(self, graph: Graph) -> List[Tuple[str, ...]]:
        if id(graph) not in self._readers:
            self._readers[id(graph)] = last_readers(graph)
        return self._readers[id(graph)]

    def outputs(self, inputs: Mapping[str, Tensor]) -> Dict[str, Tensor]:
        """Return the outputs by name, in ONNX layout."""
        return self.chosen(inputs, self.graph.output_names)

    def chosen(self, inputs: Mapping[str, Tensor], names: Sequence[str]) -> Dict[str, Tensor]:
        """Return values by name, in this order and in ONNX layout, from one inference."""
        wanted = set(names)
        found = {name: first(value) for name, value in self.walk(inputs) if name in wanted}
        return {name: found[name] for name in names}


def _compute(node: Node, held: Mapping[str, Any]) -> Sequence[Any]:
    values = [held[name] if name else None for name in node.inputs]
    try:
        with _scope(node, values):
            results = OPERATORS[node.full_name](node, *values)
    except FAILURES as error:
        if not is_missing_kernel(error):
            raise
        raise _unsupported(node, values, error) from error
    return results if isinstance(results, (list, tuple)) else [results]


@contextmanager
def _scope(node: Node, values: List[Any]) -> Iterator[None]:
    """Name what a graph gets after the node's output; compute at once what hangs on no input."""
    if tf.executing_eagerly():
        yield
    elif all(_is_eager(value) for value in values):
        with tf.init_scope():
            yield
    else:
        with tf.name_scope(scope_name(node.outputs[0])):
            yield


def _is_eager(value: Any) -> bool:
    """Tell whether a value hangs on no input of a graph that is being made."""
    if isinstance(value, list):
        return all(_is_eager(each) for each in value)
    return value is None or hasattr(value.tensor, "numpy")


def scope_name(name: str) -> str:
    """Return a value's name with the characters that TensorFlow allows.

    >>> scope_name("/conv1/Conv_output_0:0")
    'conv1/Conv_output_0_0'
    """
    return re.sub(r"[^A-Za-z0-9_.\\/>-]", "_", name).lstrip("_\\/->.") or "value"


def is_missing_kernel(error: Exception) -> bool:
    """Tell whether TensorFlow has no kernel for what was asked, rather than found it wrong."""
    return isinstance(error, LACKING) or any(word in str(error) for word in LACKING_WORDS)


def summary(error: Exception) -> str:
    """Return the first line of what TensorFlow says, without the name of the node."""
    said = str(getattr(error, "message", error)).strip().splitlines()[0]
    return re.sub(r"^\{\{.*?\}\} ?", "", said)[:300]


def _unsupported(node: Node, values: List[Any], error: Exception) -> Unsupported:
    dtypes = ", ".join(v.tensor.dtype.name for v in values if isinstance(v, Value))
    return Unsupported(
        f"TensorFlow {tf.__version__} cannot compute {node.operator} '{node.outputs[0]}' on "
        f"{dtypes or 'nothing'}: {summary(error)}"
    )
