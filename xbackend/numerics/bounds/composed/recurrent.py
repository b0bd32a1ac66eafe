"""Bounds of recurrent cells: errors carried along the steps of RNN, GRU and LSTM."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from xbackend.numerics.bounds.bound import NOTHING, Array, Bound, Layer, Rule
from xbackend.numerics.bounds.composed.tracked import Steps, Tracked, exactly

X, W, R, B, LENGTHS, HIDDEN, CELL, PEEPHOLES = range(8)
"""Places of the inputs."""
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
FUNCTIONS = {"RNN": ("Tanh",), "GRU": ("Sigmoid", "Tanh"), "LSTM": ("Sigmoid", "Tanh", "Tanh")}
"""The functions of each cell where none are told, for one direction."""
Bend = Callable[[Steps, Tracked, float, float], Tracked]


def _line(low: float, high: float) -> Callable[[Array], Array]:
    return lambda x: np.clip(x, low, high)


def _logistic(x: Array) -> Array:
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-x)))


def _affine(steps: Steps, x: Tracked, alpha: float, beta: float) -> Tracked:
    return steps.add(steps.multiply(x, exactly(alpha)), exactly(beta))


BENDS: Mapping[str, Bend] = {
    "Sigmoid": lambda steps, x, _a, _b: steps.rising(_logistic, x, 1.0),
    "Tanh": lambda steps, x, _a, _b: steps.rising(np.tanh, x),
    "Relu": lambda steps, x, _a, _b: steps.exact(lambda v: np.maximum(v, 0), x),
    "Affine": _affine,
    "HardSigmoid": lambda steps, x, a, b: steps.exact(_line(0, 1), _affine(steps, x, a, b)),
    "Softsign": lambda steps, x, _a, _b: steps.rising(lambda v: v / (1 + np.abs(v)), x),
    "Softplus": lambda steps, x, _a, _b: steps.rising(lambda v: np.logaddexp(0, v), x, 1.0),
    "ScaledTanh": lambda steps, x, a, b: steps.multiply(
        steps.rising(np.tanh, steps.multiply(x, exactly(b))), exactly(a)
    ),
}
"""What bends the sums of gates, by its name in ONNX."""
DEFAULTS = {"HardSigmoid": (0.2, 0.5), "Affine": (1.0, 0.0), "ScaledTanh": (1.0, 1.0)}
"""alpha and beta where none are told."""


@dataclass(frozen=True)
class Cell:
    """One direction of a layer."""

    steps: Steps
    w: Tracked
    """Of features and gates, as all weights here."""
    r: Tracked
    b: tuple[Tracked, Tracked]
    """Biases of the inputs and of what is fed back."""
    peepholes: Sequence[Tracked]
    bends: Sequence[Callable[[Tracked], Tracked]]
    reset_after: bool
    """Of a GRU: whether the reset gate comes after the product with what is fed back."""
    coupled: bool
    """Of an LSTM: whether the forget gate is 1 less the input gate."""
    clip: float
    """0 for none."""

    def gates(self, x: Tracked, fed: Tracked, where: slice, more: Tracked | None = None) -> Tracked:
        """Return the sums of some gates: two products, two biases, in any order."""
        own = self.steps.matmul(x, self.w.moved(lambda m: m[:, where]), 4)
        back = self.steps.matmul(fed, self.r.moved(lambda m: m[:, where]), 4)
        biases = [each.moved(lambda v: v[where]) for each in self.b]
        total = self.steps.add(own, back)
        for each in (*biases, *(() if more is None else (more,))):
            total = self.steps.add(total, each)
        return total

    def bend(self, which: int, x: Tracked) -> Tracked:
        """Clip what is given where that is asked for, and apply a function."""
        if self.clip:
            x = self.steps.exact(_line(-self.clip, self.clip), x)
        return self.bends[which](x)


State = tuple[Tracked, Tracked]
"""What is fed back, and what an LSTM keeps."""


def _rnn(cell: Cell, x: Tracked, state: State) -> State:
    return cell.bend(0, cell.gates(x, state[0], slice(None))), state[1]


def _gru(cell: Cell, x: Tracked, state: State) -> State:
    steps, hidden = cell.steps, state[0]
    size = hidden.value.shape[-1]
    update, reset, new = (slice(n * size, (n + 1) * size) for n in range(3))
    z = cell.bend(0, cell.gates(x, hidden, update))
    r = cell.bend(0, cell.gates(x, hidden, reset))
    if cell.reset_after:
        back = steps.matmul(hidden, cell.r.moved(lambda m: m[:, new]), 2)
        back = steps.multiply(r, steps.add(back, cell.b[1].moved(lambda v: v[new])))
        own = steps.matmul(x, cell.w.moved(lambda m: m[:, new]), 2)
        total = steps.add(steps.add(own, cell.b[0].moved(lambda v: v[new])), back)
    else:
        total = cell.gates(x, steps.multiply(r, hidden), new)
    h = cell.bend(1, total)
    # (1 - z) h + z H, or h + z (H - h): the bound of the first, and what the second rounds more
    rest = steps.add(exactly(1.0), z.negated)
    found = steps.add(steps.multiply(rest, h), steps.multiply(z, hidden))
    more = 4 * steps.unit * (h.size + hidden.size)
    return Tracked(found.value, found.error + more), state[1]


def _lstm(cell: Cell, x: Tracked, state: State) -> State:
    steps, (hidden, kept) = cell.steps, state
    size = hidden.value.shape[-1]
    i, o, f, c = (slice(n * size, (n + 1) * size) for n in range(4))
    looks = [steps.multiply(each, kept) for each in (cell.peepholes[0], cell.peepholes[2])]
    enters = cell.bend(0, cell.gates(x, hidden, i, looks[0]))
    stays = (
        steps.add(exactly(1.0), enters.negated)
        if cell.coupled
        else cell.bend(0, cell.gates(x, hidden, f, looks[1]))
    )
    new = cell.bend(1, cell.gates(x, hidden, c))
    kept = steps.add(steps.multiply(stays, kept), steps.multiply(enters, new))
    leaves = cell.bend(0, cell.gates(x, hidden, o, steps.multiply(cell.peepholes[1], kept)))
    return steps.multiply(leaves, cell.bends[2](kept)), kept


CELLS: Mapping[str, Callable[[Cell, Tracked, State], State]] = {
    "RNN": _rnn, "GRU": _gru, "LSTM": _lstm,
}  # fmt: skip


def recurrent(layer: Layer) -> Bound:
    """Carry errors along the steps of each direction."""
    told = layer.attributes
    x = layer.input(X)
    turned = bool(int(told.get("layout") or 0))
    x = x.transpose(1, 0, 2) if turned else x
    directions = {"bidirectional": (False, True), "reverse": (True,)}
    ways = directions.get(str(told.get("direction") or "forward"), (False,))
    found = [_way(layer, x, place, backward, turned) for place, backward in enumerate(ways)]
    whole, last, kept = (_joined(each) for each in zip(*found, strict=True))
    shown = (whole.moved(_steps_first), last, kept)[layer.output]
    if turned:
        order = (2, 0, 1, 3) if not layer.output else (1, 0, 2)
        shown = shown.moved(lambda v: v.transpose(order))
    terms = x.shape[-1] + layer.input(R).shape[-1]
    return Steps(layer.dtype).bound(shown, terms, terms + 32.0)


def _joined(parts: Sequence[Tracked]) -> Tracked:
    return Tracked(np.stack([p.value for p in parts]), np.stack([p.error for p in parts]))


def _steps_first(whole: Array) -> Array:
    return whole.transpose(1, 0, 2, 3)


def _way(
    layer: Layer, x: Array, place: int, backward: bool, turned: bool
) -> tuple[Tracked, Tracked, Tracked]:
    """Run one direction; return what each step gives, the last, and what is kept at last."""
    cell, count = _cell(layer, place), x.shape[1]
    size = cell.r.value.shape[0]
    state = tuple(exactly(_first(layer, n, place, (count, size), turned)) for n in (HIDDEN, CELL))
    lengths = layer.input(LENGTHS) if layer.has(LENGTHS) else np.full(count, len(x))
    given: list[Tracked] = [exactly(np.zeros((count, size)))] * len(x)
    hidden, kept = state
    for time in range(len(x))[:: -1 if backward else 1]:
        active = (time < lengths)[:, None]
        new, held = CELLS[layer.operator](cell, exactly(x[time]), (hidden, kept))
        hidden, kept = _chosen(active, new, hidden), _chosen(active, held, kept)
        given[time] = _chosen(active, new, exactly(np.zeros((count, size))))
    return _joined(given), hidden, kept


def _chosen(active: Array, new: Tracked, old: Tracked) -> Tracked:
    return Tracked(np.where(active, new.value, old.value), np.where(active, new.error, old.error))


def _first(
    layer: Layer, which: int, place: int, shape: tuple[int, int], turned: bool
) -> Array | float:
    if not layer.has(which):
        return np.zeros(shape)
    return layer.input(which)[:, place] if turned else layer.input(which)[place]


def _cell(layer: Layer, place: int) -> Cell:
    told, steps = layer.attributes, Steps(layer.dtype)
    w, r = (exactly(layer.input(n)[place].T) for n in (W, R))
    size = r.value.shape[0]
    biases = layer.input(B)[place] if layer.has(B) else np.zeros(2 * GATES[layer.operator] * size)
    holes = layer.input(PEEPHOLES)[place] if layer.has(PEEPHOLES) else np.zeros(3 * size)
    own, fed = np.split(biases, 2)
    return Cell(
        steps, w, r, (exactly(own), exactly(fed)),
        peepholes=[exactly(each) for each in np.split(holes, 3)],
        bends=_bends(layer, steps, place),
        reset_after=bool(told.get("linear_before_reset")),
        coupled=bool(told.get("input_forget")),
        clip=float(told.get("clip") or 0.0),
    )  # fmt: skip


def _bends(layer: Layer, steps: Steps, place: int) -> list[Callable[[Tracked], Tracked]]:
    """Return the functions of one direction."""
    told, plain = layer.attributes, FUNCTIONS[layer.operator]
    names = list(told.get("activations") or plain * (place + 1))
    first = place * len(plain)
    own = [_known(str(name)) for name in names]
    alphas, betas = (
        list(told.get("activation_alpha") or ()),
        list(told.get("activation_beta") or ()),
    )
    found: list[Callable[[Tracked], Tracked]] = []
    for name in own:
        alpha, beta = DEFAULTS.get(name, (0.0, 0.0))
        if name in DEFAULTS:  # those that take numbers take them in turn
            alpha = float(alphas.pop(0)) if alphas else alpha
            beta = float(betas.pop(0)) if betas else beta
        found.append(lambda x, n=name, a=alpha, b=beta: BENDS[n](steps, x, a, b))  # type: ignore[misc]  # mypy has no type for defaults of a lambda
    return found[first : first + len(plain)]


def _known(name: str) -> str:
    for known in BENDS:
        if known.lower() == name.lower():
            return known
    raise LookupError(f"no bound is known for its activation {name}")


RULES: dict[str, Rule] = {name: Rule(recurrent, NOTHING, reads=True) for name in GATES}
