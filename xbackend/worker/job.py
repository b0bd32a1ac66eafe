"""What a worker is told to do: one backend, one artifact, one platform, some samples."""

from __future__ import annotations

import fnmatch
import json
from dataclasses import asdict, dataclass
from typing import Any, Dict, List, Tuple, Union

SCHEMA_VERSION = 1

SettingValue = Union[bool, int, float, str]


@dataclass(frozen=True)
class Slice:
    """Where one input tensor is: rows `start` to `stop` of an .npy file."""

    file: str
    start: int
    stop: int
    drop_axis: bool = False
    """Whether axis 0 of the file only counts samples and is not the model's own."""


@dataclass(frozen=True)
class Sample:
    """One inference: a name and a tensor for each of the model's inputs."""

    name: str
    inputs: Dict[str, Slice]


@dataclass(frozen=True)
class Job:
    """All that a worker needs, and nothing that it would have to look up."""

    backend: str
    """The backend's word."""
    adapter: str
    """`package.module:Class` within the worker's file."""
    environment: Dict[str, str]
    """Variables to set before NumPy and the framework are imported."""
    artifact: str
    """The artifact's folder."""
    settings: Dict[str, SettingValue]
    """Every setting, `threads` and `precision` among them."""
    samples: Tuple[Sample, ...]
    taps: str
    """`outputs`, `layers`, or glob patterns over tap names, separated by commas."""
    store: str
    """The store's folder, under which `objects/` is written."""
    missing: str
    """The sentence to say if the framework cannot be imported."""
    emulator: str = ""
    """The emulator's signature that must be seen, for the platform's label to be believed."""
    machine: str = ""
    """What `uname -m` must say, likewise; empty for whatever it says."""
    sandbox: bool = True
    """Whether the worker gives up writing elsewhere, the network, and most of the memory."""
    memory: int = 0
    """Bytes that it may take then; 0 for nearly all that is free when it starts."""

    def to_json(self) -> str:
        """Return the job as one JSON document."""
        return json.dumps({"schema_version": SCHEMA_VERSION, **asdict(self)})


def read_job(text: str) -> Job:
    """Read a job. Raises ValueError for another schema version."""
    row: Dict[str, Any] = json.loads(text)
    version = row.pop("schema_version")
    if version != SCHEMA_VERSION:
        raise ValueError(f"This worker reads jobs of schema {SCHEMA_VERSION}, not {version}.")
    samples = tuple(
        Sample(s["name"], {name: Slice(**where) for name, where in s["inputs"].items()})
        for s in row.pop("samples")
    )
    return Job(samples=samples, **row)


def wanted_taps(pattern: str, names: Tuple[str, ...]) -> List[str]:
    """Return which of the names `--taps` asks for.

    >>> wanted_taps("conv*,fc1", ("conv1", "relu1", "fc1"))
    ['conv1', 'fc1']
    """
    if pattern == "outputs":
        return []
    if pattern == "layers":
        return list(names)
    globs = pattern.split(",")
    return [name for name in names if any(fnmatch.fnmatchcase(name, glob) for glob in globs)]
