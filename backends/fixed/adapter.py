"""The adapter of `fixed`: walks a quantized graph, node by node, in exact integers."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from xbackend.worker.contract import Backend, Session, Unsupported
from xbackend.worker.graph import read_graph
from xbackend.worker.tensor import Tensor, of

from . import SPEC, layout, linear, pooling, quantized, selection

if TYPE_CHECKING:
    from typing import Collection, Dict, Iterator, List, Mapping, Optional, Tuple

    from xbackend.worker.artifact import Artifact
    from xbackend.worker.contract import Settings
    from xbackend.worker.graph import Graph, Node

    Array = np.ndarray[Any, Any]

OPERATORS = {
    key: operator
    for family in (layout, selection, pooling, linear, quantized)
    for key, operator in family.OPERATORS.items()
}
"""What computes the operator of each domain and name."""

REVISION = "1"
"""Version of the arithmetic, raised whenever a result's bits can change. NumPy's is none: the bits
are the same with any."""

DTYPES = frozenset(
    "bool int8 uint8 int16 uint16 int32 uint32 int64 uint64 float32 float64".split(),
)
"""Formats of which elements can be moved and rounded with NumPy alone."""


class Adapter(Backend):
    """Exact integers with NumPy."""

    spec = SPEC

    def versions(self) -> Dict[str, str]:
        """Return the version of the arithmetic, and NumPy's, on which it does not depend."""
        return {"fixed": REVISION, "numpy": np.__version__}

    def prepare(self, artifact: Artifact, settings: Settings) -> Session:
        """Read the graph and refuse what cannot be computed in integers, before anything runs."""
        precision = settings["precision"]
        if precision != "int8":
            raise Unsupported(str(SPEC.lacks.get(str(precision), f"fixed has no {precision}.")))
        graph = read_graph(artifact.folder)
        refuse(graph)
        return FixedSession(graph)


class FixedSession(Session):
    """A quantized graph that is ready to run."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.taps = graph.values
        self._outputs = tuple(value.name for value in graph.outputs)

    def run(self, inputs: Mapping[str, Tensor]) -> Dict[str, Tensor]:
        """Compute the outputs."""
        values = self._start(inputs)
        for _ in self._steps(values, keep=self._outputs):
            pass
        return {name: of(values[name]) for name in self._outputs}

    def tap(
        self, inputs: Mapping[str, Tensor], wanted: Collection[str]
    ) -> Iterator[Tuple[str, Tensor]]:
        """Yield wanted values as they are computed; by construction they change nothing."""
        values = self._start(inputs)
        for name in self._steps(values, keep=()):
            if name in wanted:
                yield name, of(values[name])

    def facts(self) -> Dict[str, Any]:
        """Tell what the arithmetic is and which number of threads its products were given."""
        threads = os.environ.get("OPENBLAS_NUM_THREADS")
        return {"arithmetic": "exact integers, float32 scales", "blas_threads": threads}

    def _start(self, inputs: Mapping[str, Tensor]) -> Dict[str, Array]:
        values = {name: tensor.array for name, tensor in self.graph.constants.items()}
        return {**values, **{name: tensor.array for name, tensor in inputs.items()}}

    def _steps(self, values: Dict[str, Array], keep: Collection[str]) -> Iterator[str]:
        """Compute every node into `values`, yield each new name, drop what is no longer read."""
        dead = _last_readers(self.graph)
        for index, node in enumerate(self.graph.nodes):
            for name, array in zip(node.outputs, _compute(node, values)):
                if name:
                    values[name] = np.ascontiguousarray(array).reshape(array.shape)
                    yield name
            for name in dead.get(index, ()):
                if name not in keep:
                    values.pop(name, None)


def refuse(graph: Graph) -> None:
    """Raise Unsupported for a graph with operators or formats that integers cannot do."""
    missing = {_label(n): None for n in graph.nodes if (n.domain, n.operator) not in OPERATORS}
    if missing:
        raise Unsupported(_sentence(graph, list(missing)))
    for node in graph.nodes:
        problem = _detail(node) or _training(node, graph)
        if problem:
            raise Unsupported(f"fixed cannot compute the node '{_name(node)}': {problem}.")
    for name, dtype in _formats(graph).items():
        if dtype not in DTYPES:
            raise Unsupported(f"fixed cannot compute with '{name}', which is {dtype}.")


def _formats(graph: Graph) -> Dict[str, str]:
    """Return the format of everything that enters the graph."""
    made = [(n, n.attributes["value"]) for n in graph.nodes if "value" in n.attributes]
    return {
        **{value.name: value.dtype for value in graph.inputs},
        **{name: tensor.dtype for name, tensor in graph.constants.items()},
        **{_name(node): value.dtype for node, value in made if isinstance(value, Tensor)},
    }


def _sentence(graph: Graph, missing: List[str]) -> str:
    names = ", ".join(sorted(missing))
    operators = {node.operator for node in graph.nodes}
    between = "QLinearConv" not in operators and "QGemm" not in operators
    if {"QuantizeLinear", "DequantizeLinear"} <= operators and between:
        return (
            f"fixed computes integer operators only and this graph has {names} in floating point "
            "between QuantizeLinear and DequantizeLinear (QDQ form); convert the float model with "
            "--to onnx-int8, which writes the QOperator form."
        )
    return f"fixed computes in integers only and has no {names}."


def _detail(node: Node) -> str:
    """Return why a node of a known operator cannot be computed; empty if it can."""
    attributes = node.attributes
    if attributes.get("channels_last", 0):
        return "channels come last"
    if node.operator == "MaxPool" and len([name for name in node.outputs if name]) > 1:
        return "it has an output of indices"
    if node.operator == "QLinearAveragePool" and set(attributes.get("dilations", [1])) != {1}:
        return "its window has gaps"
    for key in ("to", "output_dtype"):
        if attributes.get(key) and attributes[key] not in DTYPES:
            return f"its {key} is {attributes[key]}"
    return ""


def _training(node: Node, graph: Graph) -> str:
    """Return why a Dropout is not the identity that it is in inference; empty if it is."""
    if node.operator != "Dropout" or len(node.inputs) < 3 or not node.inputs[2]:
        return ""
    mode = graph.constants.get(node.inputs[2])
    return "" if mode is not None and not mode.array.any() else "it drops elements at random"


def _label(node: Node) -> str:
    return f"{node.domain}.{node.operator}" if node.domain else node.operator


def _name(node: Node) -> str:
    return node.name or next((name for name in node.outputs if name), node.operator)


def _compute(node: Node, values: Mapping[str, Array]) -> List[Array]:
    inputs: List[Optional[Array]] = [values[name] if name else None for name in node.inputs]
    outputs: List[Array] = OPERATORS[node.domain, node.operator](node, inputs)
    return outputs


def _last_readers(graph: Graph) -> Dict[int, List[str]]:
    """Return which computed values no node after a given one reads."""
    last: Dict[str, int] = {}
    for index, node in enumerate(graph.nodes):
        last.update((name, index) for name in (*node.outputs, *node.inputs) if name)
    dead: Dict[int, List[str]] = {}
    for name, index in last.items():
        dead.setdefault(index, []).append(name)
    return dead
