"""Computes a graph node by node, and the graphs within; values go after their last reader."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xbackend.worker import control
from xbackend.worker.flow import Flow
from xbackend.worker.graph import last_readers

from .operators import compute

if TYPE_CHECKING:
    from typing import Dict, List, Sequence, Tuple

    from xbackend.worker.graph import Graph

    Array = np.ndarray[Any, Any]


class ArrayFlow(Flow):
    """Control flow over arrays of NumPy."""

    def truth(self, value: Array) -> bool:
        """Return a condition of one element."""
        return bool(value.reshape(()))

    def integer(self, value: Array) -> int:
        """Return an integer of one element."""
        return int(value.reshape(()))

    def scalar(self, number: Any, dtype: str) -> Array:
        """Return an array without axes."""
        return np.array(number, dtype)

    def extent(self, value: Array, axis: int) -> int:
        """Return how many elements lie along an axis."""
        return int(value.shape[axis])

    def item(self, value: Array, axis: int, index: int) -> Array:
        """Return one place of an axis, which is dropped."""
        return np.asarray(np.take(value, index, axis=axis))

    def stack(self, values: Sequence[Array], axis: int) -> Array:
        """Lay arrays along a new axis."""
        return np.stack(values, axis=axis)

    def empty(self, shape: Sequence[int], dtype: str) -> Array:
        """Return an array without elements."""
        return np.empty(tuple(shape), dtype or "float32")


class Walker:
    """Walks graphs; it remembers of each which values are let go when."""

    def __init__(self) -> None:
        self.flow = ArrayFlow()
        self._released: Dict[int, List[Tuple[str, ...]]] = {}

    def walk(self, graph: Graph, values: Dict[str, Any], prefix: str) -> control.Walking:
        """Yield what each node computes, by name behind the prefix; return the outputs.

        `values` holds what there is, and has the constants of the graph put in.
        """
        for name, tensor in graph.constants.items():
            values.setdefault(name, tensor.array)
        wanted = set(graph.output_names)
        outputs = {name: values[name] for name in wanted if name in values}
        for node, dead in zip(graph.nodes, self._readers(graph)):
            if control.is_control(node):
                made = yield from control.compute(node, values, prefix, self.flow, self.walk)
            else:
                made = [_plain(array) for array in compute(node, values)]
            for name, value in zip(node.outputs, made):
                if name:
                    values[name] = value
                    yield prefix + name, value
            outputs.update((name, values[name]) for name in node.outputs if name in wanted)
            for name in dead:
                values.pop(name, None)
        return [outputs[name] for name in graph.output_names]

    def _readers(self, graph: Graph) -> List[Tuple[str, ...]]:
        key = id(graph)
        if key not in self._released:
            self._released[key] = last_readers(graph)
        return self._released[key]


def _plain(value: Any) -> Any:
    """Return an array in C order; a sequence as it is."""
    return value if isinstance(value, list) else np.ascontiguousarray(value).reshape(value.shape)
