"""The contract of an importer: runs that others made, read from files of a foreign format.

An importer is named by an entry point of the group `xbackend.importers`, whose name is the word
that `xbackend import` takes. It knows its format and nothing of stores: it yields values, which
`xbackend.exchange.importing` checks and keeps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xbackend.worker.tensor import Tensor


@dataclass(frozen=True)
class ImportedSample:
    """What a run gave for one input."""

    input: str
    """The input's name; runs are compared where they share it."""
    outputs: Mapping[str, Tensor]


@dataclass(frozen=True)
class ImportedRun:
    """One model on one machine in one go, as the files tell it."""

    model: str
    """Two runs with the same model and source ran the same weights."""
    source: str
    """Where the model comes from, in words."""
    inputs: str
    """Names the set of inputs: runs are compared only with others of the same set."""
    backend: str
    backend_version: str | None
    precision: str
    platform: str
    """Such as `aws:t2.xlarge`."""
    samples: tuple[ImportedSample, ...]
    repeat: int = 0
    """Repeats of one run differ in this and, if that is not deterministic, in the bits."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    hardware: Mapping[str, Any] = field(default_factory=dict)
    """`vendor`, `device`, `microarchitecture`, `cores`, `memory_bytes`, `flags` and more; what the
    files do not tell is left out."""
    software: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Anything else worth recording, JSON values; no path that another machine would not have."""


@dataclass(frozen=True)
class ImportIssue:
    """Something that was not imported, or not whole."""

    message: str
    """What, and why."""


@dataclass(frozen=True)
class ImporterSpec:
    """What the command line knows of an importer before it reads a file."""

    name: str
    """The word of the entry point."""
    title: str
    """What it reads, in a few words."""
    read: str
    """The function, as `package.module:function`. It takes the path that the user gave and returns
    an iterable of ForeignRun and Refusal, in any order; it raises UsageError for a path that holds
    nothing of its format, and never for one bad file among good ones."""


ImportItems = Iterable[ImportedRun | ImportIssue]
"""What an importer's function returns."""
