"""The ONNX graph without the onnx package: what the executors of `tf`, `torch` and `fixed` walk.

The graph is normalised when it is written (converters/onnx_to_graph), so that an executor sees
one form of each operator whatever its opset:

* what later opsets take as inputs are inputs, as new constants: axes (Squeeze, Unsqueeze,
  Reduce*), split (Split), pads and value (Pad), min and max (Clip), starts, ends and axes
  (Slice), ratio (Dropout), scales (Upsample and Resize before opset 11 become today's Resize);
* attributes with a default are written out (`axis`, `epsilon`, `group`, `keepdims`, and where the
  rank is known `strides`, `dilations`, `pads`), and `auto_pad` stays as it is;
* an attribute that names a format (`to`, `dtype`, `output_dtype`) holds its NumPy name, such as
  `float32`, or the empty string where ONNX has 0;
* every form of Constant has one attribute, the Tensor `value`;
* Softmax and LogSoftmax before opset 13 carry `coerce_2d = 1`: flatten from `axis` on, then the
  last axis;
* an optional input that is left out is the empty string;
* an attribute that is a graph (the branches of If, the body of Loop and Scan) is a Graph, whose
  nodes may read values of the graphs around it;
* an operator that ONNX defines by others, or that is known to be made of them, carries these as
  `function`; who has no kernel of its own computes them instead (`xbackend.worker.subgraphs`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Collection, Dict, List, Optional, Tuple

import numpy as np

from xbackend.worker.artifact import ValueInfo, value_of
from xbackend.worker.tensor import Tensor, storage_dtype

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Iterable


@dataclass(frozen=True)
class Node:
    """One operation of the graph."""

    operator: str
    """The operator's name, such as `Conv`."""
    domain: str
    """Empty for ONNX's own operators, `com.microsoft` for ONNX Runtime's."""
    name: str
    inputs: Tuple[str, ...]
    """Value names; the empty string where an optional input is left out."""
    outputs: Tuple[str, ...]
    attributes: Dict[str, Any]
    """Integers, floats, strings, lists of them, Tensor, or Graph."""
    function: Optional[Graph] = None
    """The same in other operators: a graph without inputs, which reads the node's own and computes
    its outputs under their names; None where there is no such thing."""

    @property
    def full_name(self) -> str:
        """The operator with its domain, unless that is ONNX's own."""
        return f"{self.domain}.{self.operator}" if self.domain else self.operator

    @property
    def bodies(self) -> Dict[str, Graph]:
        """The graphs within, by attribute."""
        return {key: each for key, each in self.attributes.items() if isinstance(each, Graph)}

    @property
    def reads(self) -> Tuple[str, ...]:
        """All values that it needs: its inputs, and what the graphs within read of those around."""
        bodies = self.bodies.values() if self.attributes else ()
        inner = [name for body in bodies for name in captured(body)]
        return tuple(dict.fromkeys([*(name for name in self.inputs if name), *inner]))

    def gives(self, position: int) -> bool:
        """Tell whether somebody may want an output."""
        return position < len(self.outputs) and bool(self.outputs[position])


@dataclass(frozen=True)
class Graph:
    """A model: nodes in an order in which they can be computed."""

    opset: int
    """Version of ONNX's own operator set."""
    inputs: Tuple[ValueInfo, ...]
    outputs: Tuple[ValueInfo, ...]
    constants: Dict[str, Tensor]
    """Initializers by name, and the constants that normalisation added."""
    nodes: Tuple[Node, ...]

    @property
    def input_names(self) -> Tuple[str, ...]:
        """Names of the inputs, in order."""
        return tuple(value.name for value in self.inputs)

    @property
    def output_names(self) -> Tuple[str, ...]:
        """Names of the outputs, in order."""
        return tuple(value.name for value in self.outputs)

    @property
    def values(self) -> Tuple[str, ...]:
        """Names of all values that nodes compute, in order."""
        return tuple(name for node in self.nodes for name in node.outputs if name)


def captured(graph: Graph) -> List[str]:
    """Return the values that a graph takes from those around it, each once, in order."""
    own = {*graph.input_names, *graph.constants, *graph.values}
    read = [name for node in graph.nodes for name in node.reads]
    return [name for name in dict.fromkeys([*read, *graph.output_names]) if name not in own]


def read_graph(folder: Path) -> Graph:
    """Read `graph.json` and `weights.bin` of an artifact's folder."""
    document = json.loads((folder / "graph.json").read_text(encoding="utf-8"))
    weights = np.fromfile(folder / "weights.bin", np.uint8)
    return _graph(document, [_tensor(row, weights) for row in document["tensors"]])


def _graph(document: Dict[str, Any], tensors: List[Tensor]) -> Graph:
    return Graph(
        opset=document["opset"],
        inputs=tuple(value_of(row) for row in document["inputs"]),
        outputs=tuple(value_of(row) for row in document["outputs"]),
        constants={name: tensors[index] for name, index in document["constants"].items()},
        nodes=tuple(_node(row, tensors) for row in document["nodes"]),
    )


def missing(nodes: Collection[Node], known: Collection[str]) -> List[str]:
    """Return the operators of which a table has none, sorted; its names are full ones."""
    return sorted({node.full_name for node in nodes} - set(known))


def last_uses(steps: Iterable[Tuple[Collection[str], Collection[str]]]) -> List[Tuple[str, ...]]:
    """Return for each step the values that nobody reads after it, given what it reads and makes.

    A value that nobody reads at all is let go by the step that makes it.

    >>> last_uses([(["x"], ["y", "z"]), (["x", "y"], ["w"])])
    [('z',), ('x', 'y', 'w')]
    """
    rows = list(steps)
    last: Dict[str, int] = {}
    for index, (reads, makes) in enumerate(rows):
        last.update((name, index) for name in (*reads, *makes) if name)
    free: List[List[str]] = [[] for _ in rows]
    for name, index in last.items():
        free[index].append(name)
    return [tuple(names) for names in free]


def last_readers(graph: Graph) -> List[Tuple[str, ...]]:
    """Return for each node the computed values that no node after it reads."""
    computed = set(graph.values)
    return last_uses(
        ([n for n in node.reads if n in computed], node.outputs) for node in graph.nodes
    )


def _tensor(row: Dict[str, Any], weights: np.ndarray[Any, Any]) -> Tensor:
    dtype = storage_dtype(row["dtype"])
    count = int(np.prod(row["shape"], dtype=np.int64))
    data = weights[row["offset"] : row["offset"] + count * dtype.itemsize]
    return Tensor(row["dtype"], data.view(dtype).reshape(row["shape"]))


def _node(row: Dict[str, Any], tensors: List[Tensor]) -> Node:
    return Node(
        operator=row["operator"],
        domain=row["domain"],
        name=row["name"],
        inputs=tuple(row["inputs"]),
        outputs=tuple(row["outputs"]),
        attributes={key: _attribute(each, tensors) for key, each in row["attributes"].items()},
        function=_graph(row["function"], tensors) if row.get("function") else None,
    )


def _attribute(value: Any, tensors: List[Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    return tensors[value["tensor"]] if "tensor" in value else _graph(value["graph"], tensors)
