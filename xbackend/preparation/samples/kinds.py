"""What numbers an input stands for: indices, a mask, positions, lengths, a state, a picture."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xbackend.worker.artifact import ValueInfo

if TYPE_CHECKING:
    from xbackend.worker.graph import Graph, Node

MOVES = frozenset(
    """
    Cast Reshape Unsqueeze Squeeze Identity Flatten Transpose Slice Expand Tile Concat Split
    DequantizeLinear CastLike Pad
    """.split()
)
"""Operators whose first output holds the elements of what they read."""

INDEX_READERS: Mapping[str, tuple[int, int]] = {"Gather": (1, 0), "GatherElements": (1, 0)}
"""Operators to the places of indices and of what is looked up in."""

STATE_READERS: Mapping[str, tuple[int, ...]] = {"LSTM": (5, 6), "GRU": (5,), "RNN": (5,)}
"""Recurrent operators to the places of initial states; that of lengths is 4."""

NAMES: tuple[tuple[str, str], ...] = (
    (r"mask", "mask"),
    (r"position|pos_ids", "positions"),
    (r"(^|_)sr$|sample_?rate|sampling_rate", "rate"),
    (r"encoder|decoder|last_hidden", ""),
    (r"(^|[_.])(h|c|hn|cn)_?[0-9]*$|state|hidden|cache|past|carry", "state"),
    (r"len(gth)?s?$|(^|_)(seq|x|n)_?lens?", "length"),
)
"""Patterns of an input's name, to what it stands for, the first that fits; empty for nothing."""

RATE = 16_000
"""The samples in a second that speech is given in."""


@dataclass(frozen=True)
class InputKind:
    """What an input's made up numbers are."""

    word: str
    """`uniform`, `indices`, `mask`, `positions`, `length`, `rate`, `state` or `pixels`."""
    below: int = 0
    """The extent that indices and positions stay under; 0 where none is known."""

    def sentence(self) -> str:
        """Return what is made up, for a record and a reader; nothing for plain random numbers."""
        words = {
            "indices": f"indices below {self.below}",
            "mask": "ones",
            "positions": "0, 1, 2 …" + (f", below {self.below}" if self.below else ""),
            "length": "the full length",
            "rate": str(RATE),
            "state": "zeros",
            "pixels": "0 to 255",
        }
        return words.get(self.word, "")


UNIFORM = InputKind("uniform")


def input_kinds(interface: Sequence[ValueInfo], graph: Graph | None) -> dict[str, InputKind]:
    """Return what each input stands for: by what reads it, then by its name."""
    read = {} if graph is None else _by_readers(graph)
    return {value.name: _kind(value, read.get(value.name)) for value in interface}


def _kind(value: ValueInfo, read: InputKind | None) -> InputKind:
    name = value.name.lower()
    named = next((word for pattern, word in NAMES if re.search(pattern, name)), "")
    whole = value.dtype.startswith(("int", "uint"))
    if read is not None and read.word == "indices":
        return InputKind("positions", read.below) if named == "positions" else read
    if read is not None:
        return read
    if named in ("mask", "state") and not (named == "state" and value.dtype == "bool"):
        return InputKind(named)
    if whole and named in ("positions", "length", "rate"):
        return InputKind(named)
    is_picture = value.dtype == "uint8" and value.shape is not None and len(value.shape) >= 3
    return InputKind("pixels") if is_picture else UNIFORM


def _by_readers(graph: Graph) -> dict[str, InputKind]:
    """Return what the inputs are that a look-up or a recurrent layer reads, moved or not."""
    origins = {name: name for name in graph.input_names}
    lookups = {name: tensor.array.shape for name, tensor in graph.constants.items()}
    found: dict[str, InputKind] = {}
    for node in graph.nodes:
        for place, kind in _roles(node, lookups):
            origin = origins.get(node.inputs[place], "")
            if origin:
                found[origin] = _stricter(found.get(origin), kind)
        if node.operator in MOVES and node.inputs and node.outputs:
            _follow(node, origins, lookups)
    return found


def _follow(node: Node, origins: dict[str, str], lookups: dict[str, tuple[int, ...]]) -> None:
    """Let what a node moves keep where it came from, and a table its extents."""
    several = node.inputs if node.operator == "Concat" else node.inputs[:1]
    origin = next((origins[name] for name in several if name in origins), "")
    if origin:
        origins.update((name, origin) for name in node.outputs if name)
    same = ("Cast", "DequantizeLinear", "Identity", "CastLike")
    if node.operator in same and node.inputs[0] in lookups:
        lookups[node.outputs[0]] = lookups[node.inputs[0]]


def _roles(node: Node, lookups: Mapping[str, tuple[int, ...]]) -> list[tuple[int, InputKind]]:
    """Return which inputs of a node are indices, states or lengths."""
    count = len(node.inputs)
    if node.operator in INDEX_READERS and not node.domain:
        place, table = INDEX_READERS[node.operator]
        shape = lookups.get(node.inputs[table])
        axis = int(node.attributes.get("axis", 0))
        return [(place, InputKind("indices", shape[axis]))] if shape else []
    if node.operator == "EmbedLayerNormalization":
        pairs = [(0, 2), (1, 4)]
        known = [(p, lookups.get(node.inputs[t])) for p, t in pairs if t < count]
        return [(place, InputKind("indices", shape[0])) for place, shape in known if shape]
    if node.operator in STATE_READERS:
        states = [(p, InputKind("state")) for p in STATE_READERS[node.operator] if p < count]
        return [*states, *([(4, InputKind("length"))] if count > 4 else [])]
    return []


def _stricter(one: InputKind | None, other: InputKind) -> InputKind:
    """Return the kind that both readers can take."""
    if one is None or one.word != other.word:
        return other if one is None else one
    return min((one, other), key=lambda kind: kind.below or 1 << 62)
