"""The model that computes right values: each node alone, in float64 and on absolute values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from xbackend.diagnosis.certification.layers import GraphIndex, LayerSubject
from xbackend.diagnosis.cut_graph import (
    SHAPE_OPERATORS,
    TensorType,
    empty_like,
    value_info,
)
from xbackend.numerics.bounds.arithmetic import round_operand
from xbackend.numerics.bounds.bound import COPY, INTEGERS, NOTHING, SUM
from xbackend.numerics.floats import FORMATS
from xbackend.worker.tensor import Tensor, cast

if TYPE_CHECKING:
    import onnx

    from xbackend.worker.graph import Node

    Array = np.ndarray[Any, Any]

RAW, HELD, DOUBLE, ABSOLUTE = "raw", "held", "double", "absolute"
"""Forms of a value: as it was recorded; as float32 where that holds it; in float64; its magnitude.
A form such as `11` or `11-` is in float64, rounded to so many bits before, to nearest or down."""
KEPT_INPUTS = {"Resize": 1, "Upsample": 1}
"""Operators of which only the first inputs are data; the others keep their format."""
PLAIN = {"QLinearConv": "Conv", "ConvInteger": "Conv", "QLinearMatMul": "MatMul",
         "MatMulInteger": "MatMul", "QGemm": "Gemm"}  # fmt: skip
"""Operators on integers, to those on numbers that give their sums."""
OPERANDS = {"QLinearConv": (0, 2, 3, 5, 8), "QLinearMatMul": (0, 2, 3, 5), "QGemm": (0, 2, 3, 5, 6),
            "ConvInteger": (0, 2, 1, 3), "MatMulInteger": (0, 2, 1, 3)}  # fmt: skip
"""Where the operands of these are: a value and its zero point, another and its own, a bias."""


@dataclass(frozen=True)
class GivenTensor:
    """An input of the model: a value of the run, perhaps rounded first."""

    value: str
    bits: int = 0
    """Significant bits that it is rounded to; 0 where it is as it was recorded."""
    truncates: bool = False


@dataclass(frozen=True)
class EvaluationModel:
    """What computes the right values of some layers."""

    model: onnx.ModelProto
    given: Mapping[str, GivenTensor]
    """By the name of the model's input."""
    outputs: Mapping[tuple[str, str], str]
    """By tap or value and what of it (`exact`, `magnitude`, `value`): the output's name."""


@dataclass
class EvaluationBuilder:
    """Adds layers one by one to a model that a worker is to run."""

    whole: onnx.ModelProto
    index: GraphIndex
    types: Mapping[str, TensorType]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)
    given: dict[str, GivenTensor] = field(default_factory=dict)
    declared: list[onnx.ValueInfoProto] = field(default_factory=list)
    outputs: dict[tuple[str, str], str] = field(default_factory=dict)
    results: list[onnx.ValueInfoProto] = field(default_factory=list)
    memo: dict[tuple[str, str], str] = field(default_factory=dict)

    def built(self) -> EvaluationModel:
        """Return the model of all that was added."""
        model = empty_like(self.whole)
        model.graph.node.extend(self.nodes)
        model.graph.initializer.extend(self.initializers)
        model.graph.input.extend(self.declared)
        model.graph.output.extend(self.results)
        return EvaluationModel(model, dict(self.given), dict(self.outputs))

    def add(self, subject: LayerSubject, form: str = "") -> None:
        """Add a layer: its right values, and its magnitudes where it is a sum.

        With a form its right values alone, with operands in that form, beside those of `add`
        without one. Raises LookupError where the form of a node is not one that can be written.
        """
        rule, node = subject.rule, self.index.graph.nodes[subject.node]
        if subject.local and not form:
            return
        if form:
            self._result(subject, form, self._apply(subject, form), "float64")
        elif rule.evaluation == INTEGERS:
            self._result(subject, "exact", self._integers(subject.node, node), "float64")
        elif rule.evaluation == COPY:
            held = _held(self.types[subject.tap].dtype)
            self._result(subject, "exact", self._apply(subject, HELD), held)
        elif rule.evaluation != NOTHING:
            self._result(subject, "exact", self._apply(subject, DOUBLE), "float64")
        if rule.evaluation == SUM and not form:
            self._result(subject, "magnitude", self._magnitude(subject), "float64")

    def _apply(self, subject: LayerSubject, form: str) -> str:
        """Return the name of a layer's output, computed from inputs in a form."""
        found = self._node(subject.node, form)[subject.output]
        for place in subject.tail:
            first = self.index.graph.nodes[place].inputs[0]
            self.memo[first, f"{form}/tail"] = found
            found = self._node(place, DOUBLE if form != HELD else HELD, found)[0]
        return found

    def _magnitude(self, subject: LayerSubject) -> str:
        return self._node(subject.node, ABSOLUTE)[subject.output]

    def _result(self, subject: LayerSubject, what: str, name: str, dtype: str) -> None:
        self._declare((subject.tap, what), name, TensorType(dtype, self.types[subject.tap].shape))

    def _declare(self, key: tuple[str, str], name: str, of: TensorType) -> None:
        self.outputs[key] = shown = f"{key[1]}/{len(self.outputs)}"
        self._emit("Identity", [name], shown)
        self.results.append(value_info(shown, of))

    def form(self, name: str, form: str) -> str:
        """Return the name of a value in a form, computed where it is not there yet."""
        if not name:
            return ""
        wanted = form if self._is_float(name) else RAW
        if (name, wanted) not in self.memo:
            self.memo[name, wanted] = self._made(name, wanted)
        return self.memo[name, wanted]

    def _made(self, name: str, form: str) -> str:
        if name in self.index.graph.constants:
            return self._constant(name, form)
        if name in self.index.recorded and name not in self.index.hanging:
            return self._recorded(name, form)
        place = self.index.makers[name]
        where = list(self.index.graph.nodes[place].outputs).index(name)
        if name in self.index.hanging:
            raw = self._node(place, RAW)[where]
            return raw if form == RAW else self._cast(raw, form)
        if form == ABSOLUTE:
            return self._emit("Abs", [self.form(name, DOUBLE)])
        return self._node(place, form)[where]

    def _recorded(self, name: str, form: str) -> str:
        of = self.types[name]
        if form == ABSOLUTE:
            return self._emit("Abs", [self.form(name, DOUBLE)])
        if form[:1].isdigit():
            bits = GivenTensor(name, int(form.rstrip("-")), form.endswith("-"))
            return self._cast(self._input(bits, TensorType("float32", of.shape)), form)
        if form == HELD and of.dtype != "float16":
            return self.form(name, RAW)
        if form == RAW:
            dtype = "float32" if of.dtype == "bfloat16" else of.dtype
            return self._input(GivenTensor(name), TensorType(dtype, of.shape))
        return self._cast(self.form(name, RAW), form)

    def _input(self, given: GivenTensor, of: TensorType) -> str:
        name = f"given/{len(self.given)}"
        self.given[name] = given
        self.declared.append(value_info(name, of))
        return name

    def _cast(self, name: str, form: str) -> str:
        from onnx import TensorProto

        to = TensorProto.FLOAT if form == HELD else TensorProto.DOUBLE
        return self._emit("Cast", [name], to=int(to))

    def _constant(self, name: str, form: str) -> str:
        """Return a weight in a form: kept as it is in the model, widened when it is needed."""
        tensor = self.index.graph.constants[name]
        if form == ABSOLUTE:
            return self._emit("Abs", [self.form(name, DOUBLE)])
        if form == HELD and tensor.dtype != "float16":
            return self.form(name, RAW)
        if form != RAW and not form[:1].isdigit():
            return self._cast(self.form(name, RAW), form)
        array = cast(tensor, "float32").array if tensor.dtype == "bfloat16" else tensor.array
        if form == RAW:
            return self._initializer(array)
        rounded = round_operand(array, int(form.rstrip("-")), form.endswith("-"))
        return self._cast(self._initializer(rounded.astype(np.float32)), form)

    def _initializer(self, array: Array) -> str:
        from onnx import numpy_helper

        name = f"constant/{len(self.initializers)}"
        held = np.ascontiguousarray(array).reshape(array.shape)
        self.initializers.append(numpy_helper.from_array(held, name))
        return name

    def _is_float(self, name: str) -> bool:
        return self._dtype(name) in FORMATS

    def _dtype(self, name: str) -> str:
        if name in self.index.graph.constants:
            return self.index.graph.constants[name].dtype
        if name in self.types:
            return self.types[name].dtype
        node = self.index.maker(name)
        if node is None or node.operator in SHAPE_OPERATORS:
            return "int64"
        told = node.attributes.get("value")
        if isinstance(told, Tensor):
            return told.dtype
        if node.operator == "Cast":
            return str(node.attributes["to"])
        return self._dtype(node.inputs[0]) if node.inputs else "float32"

    def _node(self, place: int, form: str, first: str = "") -> list[str]:
        """Copy a node with its inputs in a form; return the names of its outputs.

        `first` stands for its first input where that was computed with it.
        """
        import onnx

        proto, node = self.whole.graph.node[place], self.index.graph.nodes[place]
        kept = KEPT_INPUTS.get(node.operator, len(proto.input))
        made = onnx.NodeProto()
        made.CopyFrom(proto)
        base = f"node/{len(self.nodes)}"
        made.name = base
        made.input[:] = [
            first
            if first and position == 0
            else self._argument(name, form if position < kept else RAW, node, position)
            for position, name in enumerate(proto.input)
        ]
        base = f"node/{len(self.nodes)}"
        made.output[:] = [f"{base}/{n}" if name else "" for n, name in enumerate(proto.output)]
        if form == ABSOLUTE:
            _make_absolute(made)
        self.nodes.append(made)
        return list(made.output)

    def _argument(self, name: str, form: str, node: Node, position: int) -> str:
        """Return an input in a form; what is added to products is not rounded with them."""
        rounded = form[:1].isdigit()
        return self.form(name, DOUBLE if rounded and position > 1 else form)

    def _emit(self, operator: str, inputs: Sequence[str], output: str = "", **more: Any) -> str:
        from onnx import helper

        name = output or f"{operator}/{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], **more))
        return name

    def _integers(self, place: int, node: Node) -> str:
        """Write a quantized product as one of whole numbers in float64, which holds its sums."""
        import onnx

        operator = PLAIN[node.operator]
        where = OPERANDS[node.operator]
        names = [node.inputs[n] if n < len(node.inputs) else "" for n in where]
        inputs = [self._centred(names[0], names[1], 0, operator)]
        inputs += [self._centred(names[2], names[3], 1, operator)]
        inputs += [self._whole(name) for name in names[4:] if name]
        proto = self.whole.graph.node[place]
        made = onnx.helper.make_node(operator, inputs, [f"node/{len(self.nodes)}/0"])
        made.attribute.extend(a for a in proto.attribute if a.name != "alpha")
        self.nodes.append(made)
        return str(made.output[0])

    def _centred(self, name: str, zero: str, side: int, operator: str) -> str:
        values = self._whole(name)
        if not zero:
            return values
        tensor = self.index.graph.constants.get(zero)
        if tensor is None:
            raise LookupError("its zero points are computed")
        array = np.asarray(tensor.array, np.float64)
        if array.size > 1 and operator == "Conv" and side:
            array = array.reshape((-1, *(1,) * (self._rank(name) - 1)))
        elif array.size == 1:
            array = array.reshape(())
        return self._emit("Sub", [values, self._initializer(array)])

    def _rank(self, name: str) -> int:
        constant = self.index.graph.constants.get(name)
        return len(self.types[name].shape if constant is None else constant.shape)

    def _whole(self, name: str) -> str:
        """Return integers in float64."""
        if (name, "whole") not in self.memo:
            self.memo[name, "whole"] = self._cast(self.form(name, RAW), DOUBLE)
        return self.memo[name, "whole"]


def _held(dtype: str) -> str:
    """Return the format in which a copied node gives numbers of another."""
    return "float32" if dtype in ("float16", "bfloat16") else dtype


def _make_absolute(node: onnx.NodeProto) -> None:
    for attribute in node.attribute:
        if attribute.name in ("alpha", "beta"):
            attribute.f = abs(attribute.f)
