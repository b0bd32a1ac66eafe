"""Reads what runs recorded of a layer, and its right values, as a rule wants them."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xbackend.diagnosis.certification.evaluation import EvaluatedPart, EvaluationSetting, Rows
from xbackend.diagnosis.certification.hidden import hidden_values
from xbackend.diagnosis.certification.layers import GraphIndex, LayerSubject, are_products
from xbackend.diagnosis.certification.local import LocalWeights, RightValues, right_values
from xbackend.numerics.bounds.arithmetic import Arithmetic, round_operand
from xbackend.numerics.bounds.bound import Bound, Layer
from xbackend.numerics.bounds.composed.chain import chain_bound
from xbackend.store.records import Record
from xbackend.store.store import Store
from xbackend.worker.graph import Node
from xbackend.worker.tensor import Tensor, cast, storage_dtype

Array = np.ndarray[Any, Any]
CACHE_BYTES = 1 << 27
"""What the tensors take that are kept for the next layers."""


@dataclass
class TensorCache:
    """Keeps the tensors that were read last, as what one layer gives the next one reads."""

    store: Store
    held: dict[str, Array] = field(default_factory=dict)
    size: int = 0

    def read(self, row: Record) -> Array:
        """Return a tensor of a run in float64; it must not be written to."""
        digest = f"{row['digest']} {row['dtype']} {row['shape']}"
        if digest not in self.held:
            array = widened(self.store.read_tensor(row))
            if self.size + array.nbytes > CACHE_BYTES:
                self.held.clear()
                self.size = 0
            self.held[digest] = array
            self.size += array.nbytes
        return self.held[digest]


@dataclass(frozen=True)
class LayerReader:
    """Reads tensors of runs and their right values."""

    setting: EvaluationSetting
    cache: TensorCache
    part: EvaluatedPart
    constants: dict[str, Array] = field(default_factory=dict)
    """In float64, those of the layer that is judged."""
    moved: dict[tuple[str, int], Array | None] = field(default_factory=dict)
    """By value and sample, -1 where that is all one: what was computed, as no run recorded it."""
    weights: LocalWeights = field(default_factory=LocalWeights)
    values: dict[tuple[str, ...], RightValues] = field(default_factory=dict)
    """The last that were computed here, by what they were computed from."""

    @property
    def index(self) -> GraphIndex:
        """The graph."""
        return self.setting.index

    def key(self, subject: LayerSubject, rows: Rows) -> tuple[str, ...]:
        """Return what decides the judgement of a layer: digests; empty where that is not known."""
        node = self.index.graph.nodes[subject.node]
        own = [name for name in node.inputs if name and name not in self.index.graph.constants]
        if subject.fused or subject.chain or not all(name in rows for name in own):
            return ()
        return tuple(str(rows[name]["digest"]) for name in (*own, subject.tap))

    def _local(self, subject: LayerSubject, node: Node, rows: Rows, place: int) -> RightValues:
        """Compute right values here, for runs that read the same tensors once."""
        key = (subject.tap, *self.key(subject, rows)[:-1])
        if key not in self.values:
            if all(known[0] != subject.tap for known in self.values):
                self.weights.held.clear()
            self.values.clear()
            inputs = [self.value(name, rows, place) for name in node.inputs]
            self.values[key] = right_values(node, inputs, self.weights)
        return self.values[key]

    def layer(self, subject: LayerSubject, rows: Rows, place: int) -> Layer:
        """Return a layer on one sample as its rule wants it."""
        node = self.index.graph.nodes[subject.node]
        found = self.part.rows[place]
        row = rows[subject.tap]
        local = self._local(subject, node, rows, place) if subject.local else None
        exact = self._result(found.get((subject.tap, "exact")))
        magnitude = self._result(found.get((subject.tap, "magnitude")))
        inputs = [self._input(subject, node, n, rows, place) for n in range(len(node.inputs))]
        return Layer(
            operator=node.operator,
            attributes={"opset": self.index.graph.opset, **node.attributes},
            inputs=inputs,
            shapes=[self._shape(name, rows, place) for name in node.inputs],
            shape=tuple(row["shape"]),
            dtype=str(row["dtype"]),
            exact=exact if local is None or exact is not None else local.exact,
            magnitude=magnitude if local is None or magnitude is not None else local.magnitude,
            recorded=self.cache.read(row),
            products=are_products(self.index, node),
            output=subject.output,
        )

    def rounded(
        self, subject: LayerSubject, layer: Layer, place: int, arithmetic: Arithmetic
    ) -> Array | None:
        """Return a layer's right values with what it multiplies rounded to fewer bits."""
        if not subject.local:
            found = self._result(self.part.rows[place].get((subject.tap, form_of(arithmetic))))
            if found is None:
                raise LookupError("its products were not computed")
            return found
        bits, truncates = arithmetic.operand_bits, arithmetic.truncates
        operands = [
            round_operand(each, bits, truncates) if n < 2 and each is not None else each
            for n, each in enumerate(layer.inputs)
        ]
        node = self.index.graph.nodes[subject.node]
        return right_values(node, operands, LocalWeights()).exact

    def chained(self, subject: LayerSubject, rows: Rows, place: int) -> Bound | None:
        """Return the bound of a layer that several nodes compute together; None of another."""
        if not subject.chain:
            return None
        nodes = [self.index.graph.nodes[at] for at in subject.chain]
        names = self.index.chain_inputs(subject.chain)
        held = {n: self.value(n, rows, place) for n in names if self.index.is_held(n)}
        known = {name: array for name, array in held.items() if array is not None}
        others = [name for name in names if name not in held]
        hidden: dict[str, Array] = {}
        if others:
            whole, types = self.setting.whole, self.setting.types
            hidden = hidden_values(
                whole, self.index, types, others, lambda name: self.value(name, rows, place)
            )
        dtype = str(rows[subject.tap]["dtype"])
        return chain_bound(nodes, known, hidden, subject.tap, dtype)

    def _input(
        self, subject: LayerSubject, node: Node, position: int, rows: Rows, place: int
    ) -> Array | None:
        name = node.inputs[position]
        parameter = name in self.index.graph.constants
        parameter |= name in self.index.hanging and not subject.rule.multiplies
        return self.value(name, rows, place) if subject.rule.reads or parameter else None

    def reads_finite(self, subject: LayerSubject, rows: Rows, place: int) -> bool:
        """Tell whether all that a layer reads is finite; what is nowhere is not known to be."""
        names = [name for name in self.index.graph.nodes[subject.node].inputs if name]
        found = [self.value(name, rows, place) for name in names]
        return all(each is not None and np.isfinite(each).all() for each in found)

    def value(self, name: str, rows: Rows, place: int) -> Array | None:
        """Return a value as a run had it; None where it is left out or nowhere."""
        if not name:
            return None
        if name in self.index.graph.constants:
            if name not in self.constants:
                self.constants[name] = widened(self.index.graph.constants[name])
            return self.constants[name]
        if name in rows:
            return self.cache.read(rows[name])
        key = (name, -1 if name in self.index.hanging else place)
        if key not in self.moved:
            self.moved[key] = self._hidden(name, rows, place)
        return self.moved[key]

    def _hidden(self, name: str, rows: Rows, place: int) -> Array | None:
        """Compute what was not recorded but moves, or follows from, what was; None of others."""
        if not self.index.is_known(name):
            return None
        setting = self.setting
        with contextlib.suppress(LookupError):
            found = hidden_values(
                setting.whole,
                setting.index,
                setting.types,
                [name],
                lambda each: self.value(each, rows, place),
            )
            array = found[name]
            return array.astype(np.float64) if array.dtype.kind == "f" else array
        return None

    def _result(self, row: Record | None) -> Array | None:
        """Return what a worker has just given, whose digest nothing can have spoilt since."""
        if row is None:
            return None
        path = self.part.store.object_path(str(row["digest"]))
        flat = np.fromfile(path, storage_dtype(str(row["dtype"])))
        return widened(Tensor(str(row["dtype"]), flat.reshape(row["shape"])))

    def _shape(self, name: str, rows: Rows, place: int) -> tuple[int, ...] | None:
        if not name:
            return None
        if name in self.index.graph.constants:
            return self.index.graph.constants[name].shape
        if name in rows:
            return tuple(rows[name]["shape"])
        array = self.value(name, rows, place)
        return () if array is None else array.shape


def form_of(arithmetic: Arithmetic) -> str:
    """Return how an evaluation's graph names operands that are rounded as in an arithmetic."""
    return f"{arithmetic.operand_bits}{'-' if arithmetic.truncates else ''}"


def widened(tensor: Tensor) -> Array:
    """Return a tensor in float64; integers and truth values as they are."""
    wide = cast(tensor, "float32") if tensor.dtype == "bfloat16" else tensor
    floats = np.issubdtype(wide.array.dtype, np.floating)
    return wide.array.astype(np.float64, copy=False) if floats else wide.array
