"""What a baseline holds: known classes of tensors, and the kinds of machines that gave each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

Record = dict[str, Any]


def canonical(value: object) -> str:
    """Return JSON whose bytes depend on the value alone.

    >>> canonical({"b": 1, "a": [None]})
    '{"a":[null],"b":1}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def identity(value: object) -> str:
    """Return the name of an entry, which follows from what it says: 16 hexadecimal digits."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class BaselineSection:
    """What can be compared at all: a model in a precision on a set of inputs."""

    model: str
    model_digest: str
    precision: str
    inputs: str
    """What tells sets of inputs apart: the digest of all samples."""
    conversion: str | None = None
    """What converters were told; None where that was nothing."""
    quantizer: str | None = None
    """Who chose the scales of an int8 model."""

    @cached_property
    def id(self) -> str:
        """Its name in a baseline; what the model is called is no part of it."""
        return identity([value for key, value in vars(self).items() if key not in ("model", "id")])

    def to_dict(self) -> Record:
        """Return JSON values."""
        keys = ("model", "model_digest", "precision", "inputs", "conversion", "quantizer")
        return {"section": self.id, **{key: getattr(self, key) for key in keys}}


@dataclass(frozen=True)
class MachineKind:
    """A kind of machine and what computed on it: all that is known to choose bits."""

    vendor: str | None
    microarchitecture: str | None
    machine: str | None
    """The instruction set, as `uname` names it."""
    flags: tuple[str, ...]
    """Those of vector and matrix arithmetic, sorted."""
    backend: str
    version: str | None
    settings: str
    """All of them, threads too, as canonical JSON."""

    @cached_property
    def id(self) -> str:
        """Its name in a baseline."""
        return identity({key: value for key, value in self.to_dict().items() if key != "kind"})

    @property
    def threads(self) -> int:
        """How many it computed with."""
        return int(json.loads(self.settings).get("threads", 1))

    def to_dict(self, name: str | None = None) -> Record:
        """Return JSON values, under a name where that is given."""
        keys = ("vendor", "microarchitecture", "machine", "backend", "version")
        return {
            **({} if name is None else {"kind": name}),
            **{key: getattr(self, key) for key in keys},
            "flags": list(self.flags),
            "settings": json.loads(self.settings),
        }


@dataclass(frozen=True)
class KnownClass:
    """One bit pattern of one tensor of one sample."""

    section: str
    """The name of its section."""
    tensor: str
    sample: str
    is_output: bool
    dtype: str
    shape: tuple[int, ...]
    digest: str
    """SHA-256 of its bytes."""
    data: bytes | None = field(default=None, repr=False, compare=False)
    """The bytes themselves, little-endian, where they are few."""
    labels: tuple[int, ...] | None = field(default=None, compare=False)
    """The index of the highest score of each row, where bytes are too many to keep."""

    @property
    def place(self) -> tuple[str, str, str]:
        """Section, tensor and sample: what its classes are known of."""
        return (self.section, self.tensor, self.sample)

    @cached_property
    def id(self) -> str:
        """Its name in a baseline."""
        shape = list(self.shape)
        return identity([*self.place, self.is_output, self.dtype, shape, self.digest])


@dataclass(frozen=True, order=True)
class Sighting:
    """A class that a kind of machine gave."""

    known_class: str
    kind: str
    emulated: bool = False
    """Whether an emulator stood for the machine."""
    unsafe: bool = False
    """Whether the bits rest on what an emulator may compute unlike a real processor."""


@dataclass(frozen=True)
class Baseline:
    """All entries, each under its name."""

    sections: Mapping[str, BaselineSection] = field(default_factory=dict)
    kinds: Mapping[str, MachineKind] = field(default_factory=dict)
    classes: Mapping[str, KnownClass] = field(default_factory=dict)
    sightings: frozenset[Sighting] = frozenset()

    def merged(self, other: Baseline) -> Baseline:
        """Return the entries of both; of a class known to both, the one with its bytes."""
        classes = {**other.classes, **self.classes}
        for name, each in other.classes.items():
            if classes[name].data is None and each.data is not None:
                classes[name] = each
        return Baseline(
            {**other.sections, **self.sections},
            {**other.kinds, **self.kinds},
            classes,
            self.sightings | other.sightings,
        )

    def at(self, place: tuple[str, str, str]) -> Mapping[str, KnownClass]:
        """Return the known classes of a tensor of a sample, by digest, the most common first."""
        return self._places.get(place, {})

    def has_layers(self, section: str) -> bool:
        """Tell whether classes of layers are known in a section, and not of outputs only."""
        of = (each for each in self.classes.values() if each.section == section)
        return any(not each.is_output for each in of)

    def seen_by(self, known_class: str) -> tuple[Sighting, ...]:
        """Return who gave a class, sorted."""
        return self._by_class.get(known_class, ())

    @cached_property
    def _by_class(self) -> Mapping[str, tuple[Sighting, ...]]:
        found: dict[str, list[Sighting]] = {}
        for each in sorted(self.sightings):
            found.setdefault(each.known_class, []).append(each)
        return {name: tuple(seen) for name, seen in found.items()}

    @cached_property
    def _places(self) -> Mapping[tuple[str, str, str], Mapping[str, KnownClass]]:
        def rank(known: KnownClass) -> tuple[int, str]:
            return (-len(self.seen_by(known.id)), known.digest)

        found: dict[tuple[str, str, str], dict[str, KnownClass]] = {}
        for each in sorted(self.classes.values(), key=rank):
            found.setdefault(each.place, {})[each.digest] = each
        return found


@dataclass(frozen=True)
class BaselineChange:
    """What was written into a baseline's file."""

    path: Path
    before: Baseline | None
    """What it held; None where it was not there."""
    after: Baseline
    size: int
    """Bytes of the file."""
    refused: tuple[str, ...] = ()
    """Ids of runs that did not pass, and were not taken up."""
