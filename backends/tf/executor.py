"""Walks the ONNX graph: one entry of the table of operators for each node."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Sequence, Tuple

import tensorflow as tf

from xbackend.worker.contract import Unsupported
from xbackend.worker.graph import last_readers

from .operators import OPERATORS
from .operators.unsupported import check_supported
from .value import Value, constant, first

if TYPE_CHECKING:
    from typing import Iterator

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
        check_supported(graph, OPERATORS)
        self.graph = graph
        self.constants = {name: constant(bits) for name, bits in graph.constants.items()}
        self._last_readers = last_readers(graph)

    def walk(self, inputs: Mapping[str, Tensor]) -> Iterator[Tuple[str, Value]]:
        """Compute node by node and yield every value by name; each is let go after its last reader.

        Inputs that are outputs too, and constants that are, come before the first node.
        """
        held = {**self.constants, **{name: Value(tensor) for name, tensor in inputs.items()}}
        for output in self.graph.output_names:
            if output in held:
                yield output, held[output]
        for node, released in zip(self.graph.nodes, self._last_readers):
            for name, value in _compute(node, held):
                held[name] = value
                yield name, value
            for name in released:
                del held[name]

    def outputs(self, inputs: Mapping[str, Tensor]) -> Dict[str, Tensor]:
        """Return the outputs by name, in ONNX layout."""
        return self.chosen(inputs, self.graph.output_names)

    def chosen(self, inputs: Mapping[str, Tensor], names: Sequence[str]) -> Dict[str, Tensor]:
        """Return values by name, in this order and in ONNX layout, from one inference."""
        wanted = set(names)
        found = {name: first(value) for name, value in self.walk(inputs) if name in wanted}
        return {name: found[name] for name in names}


def _compute(node: Node, held: Mapping[str, Value]) -> Iterator[Tuple[str, Value]]:
    values = [held[name] if name else None for name in node.inputs]
    try:
        with _scope(node, values):
            results = OPERATORS[node.operator](node, *values)
    except FAILURES as error:
        if not is_missing_kernel(error):
            raise
        raise _unsupported(node, values, error) from error
    several = results if isinstance(results, (list, tuple)) else [results]
    return ((name, value) for name, value in zip(node.outputs, several) if name)


@contextmanager
def _scope(node: Node, values: List[Any]) -> Iterator[None]:
    """Name what a graph gets after the node's output; compute at once what hangs on no input."""
    if tf.executing_eagerly():
        yield
    elif all(value is None or hasattr(value.tensor, "numpy") for value in values):
        with tf.init_scope():
            yield
    else:
        with tf.name_scope(scope_name(node.outputs[0])):
            yield


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
    dtypes = ", ".join(v.tensor.dtype.name for v in values if v is not None)
    return Unsupported(
        f"TensorFlow {tf.__version__} cannot compute {node.operator} '{node.outputs[0]}' on "
        f"{dtypes or 'nothing'}: {summary(error)}"
    )
