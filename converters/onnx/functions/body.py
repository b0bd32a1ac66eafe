"""Writes the nodes that an operator is made of, in ONNX's own operators of one opset."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from xbackend.worker.artifact import ValueInfo
from xbackend.worker.graph import Graph
from xbackend.worker.tensor import from_numpy

from ..normalise import NormaliseContext, format_name, normalise

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx

    from xbackend.worker.tensor import Tensor

OPSET = 21
"""The opset in which functions are written."""


class NotSpelled(Exception):
    """A form of the operator that is not known to be made of others."""


class Body:
    """The nodes of a function, or of a graph within one, as they are added."""

    def __init__(self, node: onnx.NodeProto, context: NormaliseContext, prefix: str = "") -> None:
        from onnx import helper

        self.node, self.context = node, context
        self.attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        self.prefix = prefix or next(name for name in node.output if name)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, Tensor] = {}
        self.count = 0

    def attribute(self, name: str, default: Any = None) -> Any:
        """Return an attribute of the node, texts as such."""
        value = self.attributes.get(name, default)
        if isinstance(value, bytes):
            return value.decode()
        if isinstance(value, (list, tuple)):
            return [v.decode() if isinstance(v, bytes) else v for v in value]
        return value

    def input(self, index: int) -> str:
        """Return the name of an input, empty where it is left out."""
        return self.node.input[index] if index < len(self.node.input) else ""

    def wants(self, index: int) -> bool:
        """Tell whether somebody may read an output."""
        return index < len(self.node.output) and bool(self.node.output[index])

    def dtype(self, name: str) -> str:
        """Return the format of a value by NumPy's name, float32 where it is not known."""
        known = self.context.types.get(name)
        return (format_name(known.tensor_type.elem_type) if known else "") or "float32"

    def shape(self, name: str) -> tuple[int | None, ...]:
        """Return the shape of a value. Raises NotSpelled where its rank is not known."""
        known = self.context.types.get(name)
        if known is None or not known.tensor_type.HasField("shape"):
            raise NotSpelled(f"The rank of '{name}' is not known.")
        dims = known.tensor_type.shape.dim
        return tuple(d.dim_value if d.HasField("dim_value") else None for d in dims)

    def extent(self, name: str, axis: int) -> int:
        """Return an extent. Raises NotSpelled where it is free."""
        extent = self.shape(name)[axis]
        if extent is None:
            raise NotSpelled(f"Extent {axis} of '{name}' is free.")
        return extent

    def fresh(self, what: str) -> str:
        """Return a name for a new value."""
        self.count += 1
        return f"{self.prefix}/{what}_{self.count}"

    def add(
        self, operator: str, *inputs: str, out: int | None = None, domain: str = "", **given: Any
    ) -> str:
        """Add a node of one output and return its name: a new one, or that of the node's own."""
        name = self.fresh(operator) if out is None else self.node.output[out]
        self._add(operator, inputs, [name], domain, given)
        return name

    def add_several(self, operator: str, *inputs: str, count: int, **given: Any) -> list[str]:
        """Add a node of several outputs and return their names."""
        names = [self.fresh(operator) for _ in range(count)]
        self._add(operator, inputs, names, "", given)
        return names

    def _add(
        self,
        operator: str,
        inputs: Sequence[str],
        names: Sequence[str],
        domain: str,
        given: dict[str, Any],
    ) -> None:
        from onnx import helper

        kept = {key: value for key, value in given.items() if value is not None}
        name = f"{self.prefix}/{operator}" if operator == "Scan" else ""
        inputs = list(inputs)
        while inputs and not inputs[-1]:
            inputs.pop()
        self.nodes.append(
            helper.make_node(operator, inputs, list(names), name, domain=domain, **kept)
        )

    def constant(self, value: Any, dtype: str = "float32") -> str:
        """Add a constant and return its name."""
        name = self.fresh("constant")
        if dtype == "bfloat16":
            return self.add("Cast", self.constant(value), to=16)
        self.constants[name] = from_numpy(np.asarray(value, dtype))
        return name

    def integers(self, *values: int) -> str:
        """Add a list of integers: axes, extents, sizes of parts."""
        return self.constant(list(values), "int64")

    def give(self, index: int, name: str) -> None:
        """Let a value be an output of the node, if that is wanted."""
        if self.wants(index):
            self.add("Identity", name, out=index)

    def inner(self) -> Body:
        """Return an empty body for a graph within."""
        body = Body(self.node, self.context, self.prefix)
        body.count = self.count + 1000
        return body

    def scan(
        self,
        body: Body,
        states: Sequence[str],
        scanned: Sequence[str],
        backward: bool,
        **names: Any,
    ) -> list[str]:
        """Add a Scan whose body reads and gives these names; return last states and stacks."""
        from onnx import helper

        reads, gives = names["reads"], names["gives"]
        graph = helper.make_graph(
            body.nodes,
            "step",
            [helper.make_empty_tensor_value_info(name) for name in reads],
            [helper.make_empty_tensor_value_info(name) for name in gives],
        )
        self.constants.update(body.constants)
        outward = len(gives) - len(states)
        return self.add_several(
            "Scan",
            *states,
            *scanned,
            count=len(gives),
            body=graph,
            num_scan_inputs=len(scanned),
            scan_input_directions=[int(backward)] * len(scanned),
            scan_output_directions=[int(backward)] * outward,
        )

    def graph(self) -> Graph:
        """Return what was added as a graph without inputs."""
        context = replace(self.context, opset=OPSET, constants={})
        nodes = tuple(normalise(node, context) for node in self.nodes)
        outputs = tuple(ValueInfo(name, "", None) for name in self.node.output if name)
        return Graph(OPSET, (), outputs, {**self.constants, **context.constants}, nodes)
