"""LSTM, GRU and RNN: one product over all steps, and a Scan over the rest of each step.

The equations and their names are those of ONNX's pages of the operators. Steps after a sequence's
own end leave the states alone and give zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .activation import Activation, activations_of
from .quantized import FLOAT, dynamic

if TYPE_CHECKING:
    from .body import Body


@dataclass(frozen=True)
class Cell:
    """What a step of one direction reads."""

    gates: str
    """X W^T plus the bias of the input, all gates side by side."""
    states: tuple[str, ...]
    """H, and in an LSTM C."""
    recur: Callable[[Body, str, int | None], str]
    """Multiplies a state by R^T: of all gates, or of one."""
    bias: tuple[str, ...]
    """The recurrent bias of each gate; nothing where there is none."""
    peepholes: tuple[str, ...]
    """Of the gates i, o and f; nothing where there are none."""
    activations: Sequence[Activation]


@dataclass(frozen=True)
class Kind:
    """One of the three operators."""

    gates: int
    states: int
    activations: tuple[str, ...]
    step: Callable[[Body, Cell], tuple[str, ...]]
    """Adds the nodes of a step and returns the new states."""


def _lstm(body: Body, cell: Cell) -> tuple[str, ...]:
    """Return Ht and Ct; f, g and h are the activations, in that order."""
    (f, g, h), (hidden, old) = cell.activations, cell.states
    total = body.add("Add", cell.gates, cell.recur(body, hidden, None))
    i, o, forget, c = body.add_several("Split", total, count=4, axis=-1, num_outputs=4)
    i = f(body, _peeped(body, i, old, cell.peepholes, 0))
    if body.attribute("input_forget", 0):
        one = body.constant(1.0, body.dtype(body.input(0)))
        forget = body.add("Sub", one, i)
    else:
        forget = f(body, _peeped(body, forget, old, cell.peepholes, 2))
    kept = body.add("Mul", forget, old)
    new = body.add("Add", kept, body.add("Mul", i, g(body, c)))
    o = f(body, _peeped(body, o, new, cell.peepholes, 1))
    return body.add("Mul", o, h(body, new)), new


def _peeped(body: Body, gate: str, state: str, peepholes: Sequence[str], index: int) -> str:
    if not peepholes:
        return gate
    return body.add("Add", gate, body.add("Mul", peepholes[index], state))


def _gru(body: Body, cell: Cell) -> tuple[str, ...]:
    """Return Ht; f and g are the activations."""
    (f, g), (hidden,) = cell.activations, cell.states
    z, r, h = body.add_several("Split", cell.gates, count=3, axis=-1, num_outputs=3)
    z, r = (
        f(body, body.add("Add", gate, _biased(body, cell.recur(body, hidden, k), cell, k)))
        for k, gate in enumerate((z, r))
    )
    if body.attribute("linear_before_reset", 0):
        inner = body.add("Mul", r, _biased(body, cell.recur(body, hidden, 2), cell, 2))
    else:
        reset = body.add("Mul", r, hidden)
        inner = _biased(body, cell.recur(body, reset, 2), cell, 2)
    new = g(body, body.add("Add", h, inner))
    one = body.constant(1.0, body.dtype(body.input(0)))
    share = body.add("Mul", body.add("Sub", one, z), new)
    return (body.add("Add", share, body.add("Mul", z, hidden)),)


def _biased(body: Body, value: str, cell: Cell, gate: int) -> str:
    return body.add("Add", value, cell.bias[gate]) if cell.bias else value


def _rnn(body: Body, cell: Cell) -> tuple[str, ...]:
    (f,), (hidden,) = cell.activations, cell.states
    return (f(body, body.add("Add", cell.gates, cell.recur(body, hidden, None))),)


KINDS = {
    "GRU": Kind(3, 1, ("Sigmoid", "Tanh"), _gru),
    "LSTM": Kind(4, 2, ("Sigmoid", "Tanh", "Tanh"), _lstm),
    "RNN": Kind(1, 1, ("Tanh",), _rnn),
}
KINDS["DynamicQuantizeLSTM"] = KINDS["LSTM"]


def recurrent(body: Body) -> None:
    """Add the nodes of an LSTM, a GRU or an RNN."""
    kind = KINDS[body.node.op_type]
    batch_first = bool(body.attribute("layout", 0))
    ways = ["reverse"] if body.attribute("direction") == "reverse" else ["forward", "reverse"]
    ways = ways if body.attribute("direction") == "bidirectional" else ways[:1]
    x = body.add("Transpose", body.input(0), perm=[1, 0, 2]) if batch_first else body.input(0)
    chosen = activations_of(body, list(kind.activations), len(ways))
    direction = DynamicDirection if body.input(8) else Direction
    made = [
        direction(body, kind, place, way == "reverse", batch_first).added(x, chosen[place])
        for place, way in enumerate(ways)
    ]
    _give_sequence(body, [stacked for stacked, _ in made], batch_first)
    for index in range(kind.states):
        _give_state(body, [states[index] for _, states in made], index, batch_first)


def _give_sequence(body: Body, parts: Sequence[str], batch_first: bool) -> None:
    """Give Y: [steps, directions, batch, hidden], or [batch, steps, directions, hidden]."""
    if not body.wants(0):
        return
    wide = [body.add("Unsqueeze", part, body.integers(1)) for part in parts]
    joined = body.add("Concat", *wide, axis=1)
    if batch_first:
        body.add("Transpose", joined, perm=[2, 0, 1, 3], out=0)
    else:
        body.give(0, joined)


def _give_state(body: Body, parts: Sequence[str], index: int, batch_first: bool) -> None:
    """Give Y_h or Y_c: [directions, batch, hidden], or the batch first."""
    if not body.wants(1 + index):
        return
    axis = 1 if batch_first else 0
    wide = [body.add("Unsqueeze", part, body.integers(axis)) for part in parts]
    body.add("Concat", *wide, axis=axis, out=1 + index)


class Direction:
    """One direction of a recurrent operator, as nodes that are added to its body."""

    def __init__(
        self, body: Body, kind: Kind, place: int, backward: bool, batch_first: bool
    ) -> None:
        self.body, self.kind, self.place = body, kind, place
        self.backward, self.batch_first = backward, batch_first
        self.dtype = body.dtype(body.input(0))

    def part(self, index: int, axis: int = 0) -> str:
        """Return this direction's part of an input; empty where it is left out."""
        name = self.body.input(index)
        if not name:
            return ""
        return self.body.add("Gather", name, self.body.constant(self.place, "int64"), axis=axis)

    def added(self, x: str, activations: Sequence[Activation]) -> tuple[str, list[str]]:
        """Add the product and the Scan; return the outputs of all steps, and the last states."""
        body, kind = self.body, self.kind
        gates = self._product(x)
        gates, bias = self._with_bias(gates)
        names = [body.fresh(what) for what in ("H", "C")[: kind.states]]
        inner = body.inner()
        cell = Cell(
            gates=body.fresh("gates"),
            states=tuple(names),
            recur=self._recurrence(),
            bias=bias,
            peepholes=self._peepholes(),
            activations=activations,
        )
        new = list(kind.step(inner, cell))
        scanned, reads = [gates], [*names, cell.gates]
        if body.input(4):
            scanned.append(self._counted(x))
            reads.append(body.fresh("step"))
            new, shown = self._masked(inner, new, names, reads[-1])
        else:
            shown = inner.add("Identity", new[0])
        states = self._start(x)
        made = body.scan(inner, states, scanned, self.backward, reads=reads, gives=[*new, shown])
        return made[-1], made[:-1]

    def _product(self, x: str) -> str:
        """Multiply the input of all steps by W^T."""
        turned = self.body.add("Transpose", self.part(1), perm=[1, 0])
        return self.body.add("MatMul", x, turned)

    def _with_bias(self, gates: str) -> tuple[str, tuple[str, ...]]:
        """Add the bias: all of it, but for the recurrent one of a GRU, which comes later."""
        body, count = self.body, self.kind.gates
        bias = self.part(3)
        if not bias:
            return gates, ()
        ahead, later = body.add_several("Split", bias, count=2, axis=0, num_outputs=2)
        if self.kind.step is _gru:
            each = body.add_several("Split", later, count=count, axis=0, num_outputs=count)
            return body.add("Add", gates, ahead), tuple(each)
        return body.add("Add", gates, body.add("Add", ahead, later)), ()

    def _recurrence(self) -> Callable[[Body, str, int | None], str]:
        body, count = self.body, self.kind.gates
        turned = body.add("Transpose", self.part(2), perm=[1, 0])
        parts: list[str] = []
        if self.kind.step is _gru:
            parts = body.add_several("Split", turned, count=count, axis=1, num_outputs=count)

        def recur(inner: Body, state: str, gate: int | None) -> str:
            return inner.add("MatMul", state, turned if gate is None else parts[gate])

        return recur

    def _peepholes(self) -> tuple[str, ...]:
        own = self.part(7) if self.kind.step is _lstm else ""
        if not own:
            return ()
        return tuple(self.body.add_several("Split", own, count=3, axis=0, num_outputs=3))

    def _start(self, x: str) -> list[str]:
        """Return the first states: given, or zeros of the batch's extent."""
        body, axis = self.body, 1 if self.batch_first else 0
        given = [self.part(5 + index, axis) for index in range(self.kind.states)]
        if all(given):
            return given
        batch = body.add("Shape", x, start=1, end=2)
        axis_of = 1 if body.input(8) else 2
        hidden = body.add("Shape", body.input(2), start=axis_of, end=axis_of + 1)
        shape = body.add("Concat", batch, hidden, axis=0)
        zeros = body.add("Expand", body.constant(0.0, self.dtype), shape)
        return [name or zeros for name in given]

    def _counted(self, x: str) -> str:
        """Return the number of each step."""
        body = self.body
        shape = body.add("Shape", x, start=0, end=1)
        steps = body.add("Squeeze", shape, body.integers(0))
        return body.add("Range", body.constant(0, "int64"), steps, body.constant(1, "int64"))

    def _masked(
        self, inner: Body, new: Sequence[str], old: Sequence[str], step: str
    ) -> tuple[list[str], str]:
        """Keep the old states after a sequence's end, and show zeros there."""
        lengths = self.body.add("Cast", self.body.input(4), to=7)
        within = inner.add("Less", step, lengths)
        mask = inner.add("Unsqueeze", within, inner.integers(1))
        states = [inner.add("Where", mask, a, b) for a, b in zip(new, old, strict=True)]
        zero = inner.constant(0.0, self.dtype)
        return states, inner.add("Where", mask, new[0], zero)


class DynamicDirection(Direction):
    """One direction of a DynamicQuantizeLSTM: weights are integers, and the other factors made so.

    Scale and zero point of W are inputs 8 and 9, of R 10 and 11; both matrices are transposed.
    States are quantized as a whole. ONNX Runtime may take each sequence of a batch by itself, as
    its threads share them out.
    """

    def _product(self, x: str) -> str:
        """Multiply the input of all steps, quantized as a whole."""
        return self._multiplied(self.body, x, [self.part(place) for place in (1, 8, 9)])

    def _recurrence(self) -> Callable[[Body, str, int | None], str]:
        weights = [self.part(place) for place in (2, 10, 11)]
        return lambda inner, state, gate: self._multiplied(inner, state, weights)

    def _multiplied(self, body: Body, x: str, weights: Sequence[str]) -> str:
        whole, scale, zero = weights
        made, own, point = dynamic(body, x)
        total = body.add("MatMulInteger", made, whole, point, zero)
        return body.add("Mul", body.add("Cast", total, to=FLOAT), body.add("Mul", own, scale))


FUNCTIONS = {
    "GRU": recurrent,
    "LSTM": recurrent,
    "RNN": recurrent,
    "com.microsoft.DynamicQuantizeLSTM": recurrent,
}
