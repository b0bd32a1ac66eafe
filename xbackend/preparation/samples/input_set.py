"""A set of inputs: files of arrays in the store, and what makes samples of them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xbackend.errors import InputError, StoreError
from xbackend.store.files import digest_of, is_digest
from xbackend.worker.artifact import ValueInfo
from xbackend.worker.job import Sample, Slice

if TYPE_CHECKING:
    import numpy as np

    from xbackend.store.store import Store

    Array = np.ndarray[Any, Any]

MAX_SET = 1 << 24
"""Bytes of what the store says of a set of inputs."""

RANDOM = "random-"
PREFIXES = ("", RANDOM)
"""What the names of samples begin with."""


@dataclass(frozen=True)
class InputFile:
    """One input of the model: an .npy file with samples along axis 0."""

    path: Path
    count: int
    """How many samples it holds."""
    rows: int
    """How many rows along axis 0 make one sample."""
    drop_axis: bool
    """Whether axis 0 only counts samples and is not the model's own."""


@dataclass(frozen=True)
class InputSet:
    """Everything that the model is run on."""

    files: dict[str, InputFile]
    """By the input's name; the empty string for a model's only input."""
    names: tuple[str, ...]
    """One name for each sample."""
    digest: str
    """SHA-256 over names and bytes."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """How they were made or chosen, JSON values; nothing for arrays that were given."""
    labels: tuple[int, ...] = ()
    """The right class of each sample, if they were given."""

    def notes(self) -> dict[str, Any]:
        """Return what a record tells: how samples were made, and their right classes by name."""
        labels = dict(zip(self.names, self.labels, strict=False))
        return {**self.about, **({"labels": labels} if labels else {})}

    def samples(self, interface: Sequence[ValueInfo]) -> tuple[Sample, ...]:
        """Return the samples of a model with these inputs. Raises InputError for a missing one."""
        files = {value.name: self._file(value.name, interface) for value in interface}
        return tuple(
            Sample(name, {key: _slice(file, index) for key, file in files.items()})
            for index, name in enumerate(self.names)
        )

    def _file(self, name: str, interface: Sequence[ValueInfo]) -> InputFile:
        if name in self.files:
            return self.files[name]
        if len(self.files) == 1 and len(interface) == 1:
            return next(iter(self.files.values()))
        raise InputError(
            f"The input '{name}' is not given; given are: {', '.join(sorted(self.files))}."
        )

    def write_npz(self, path: Path, interface: Sequence[ValueInfo]) -> Path:
        """Write all samples as one .npz, an array for each input, samples along a new axis 0."""
        import numpy as np

        arrays = {}
        for value in interface:
            file = self._file(value.name, interface)
            array = np.load(file.path, mmap_mode="r", allow_pickle=False)
            rows = array.reshape(file.count, file.rows, *array.shape[1:])
            arrays[value.name] = array if file.drop_axis else rows
        made = path.with_name(f".{path.stem}-{os.urandom(4).hex()}.tmp.npz")
        np.savez(made, **arrays)
        made.replace(path)
        return path


def _slice(file: InputFile, index: int) -> Slice:
    start = index * file.rows
    return Slice(str(file.path), start, start + file.rows, file.drop_axis)


def keep_set(
    files: dict[str, InputFile],
    count: int,
    store: Store,
    about: Mapping[str, Any],
    labels: tuple[int, ...] = (),
    prefix: str = "",
) -> InputSet:
    """Return a set, and remember in the store which files make it."""
    names = tuple(f"{prefix}{index}" for index in range(count))
    found = InputSet(files, names, set_digest(files), about, labels)
    rows = {
        name: [file.path.stem, file.count, file.rows, file.drop_axis]
        for name, file in files.items()
    }
    document = {"files": rows, "prefix": prefix, "about": dict(about), "labels": labels}
    store.write_file(
        store.folder / "inputs" / f"{found.digest}.json", json.dumps(document).encode()
    )
    return found


def remembered_set(digest: str, store: Store) -> InputSet | None:
    """Return a set that the store says the files of, each of which has the bytes of its name."""
    folder = store.folder / "inputs"
    try:
        document = json.loads(store.read_file(folder / f"{digest}.json", MAX_SET))
        files = {}
        for name, (stem, count, rows, drop_axis) in document["files"].items():
            path = folder / f"{stem}.npy"
            if not is_digest(stem) or not holds_bytes(path, stem, store):
                return None
            files[str(name)] = InputFile(path.resolve(), int(count), int(rows), bool(drop_axis))
        prefix = str(document["prefix"]) if document["prefix"] in PREFIXES else ""
        names = tuple(f"{prefix}{n}" for n in range(min(f.count for f in files.values())))
        labels = tuple(int(label) for label in document["labels"])
        found = InputSet(files, names, set_digest(files), dict(document["about"]), labels)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, StoreError):
        return None
    return found if found.digest == digest else None


def keep_array(array: Array, rows: int, store: Store, drop_axis: bool = False) -> InputFile:
    """Write an array into the store, in the order of bytes that frameworks take, by its digest."""
    import io

    import numpy as np

    stream = io.BytesIO()
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    np.save(stream, np.ascontiguousarray(little), allow_pickle=False)
    data = stream.getvalue()
    digest = hashlib.sha256(data).hexdigest()
    path = store.folder / "inputs" / f"{digest}.npy"
    if not holds_bytes(path, digest, store):
        store.write_file(path, data)
    return InputFile(path.resolve(), array.shape[0] // rows, rows, drop_axis)


def holds_bytes(path: Path, digest: str, store: Store) -> bool:
    """Tell whether a kept file is there and has the bytes that its name promises."""
    try:
        return digest_of(path, store.folder) == digest
    except (OSError, StoreError):
        return False


def set_digest(files: dict[str, InputFile]) -> str:
    """Return the SHA-256 over the names, bytes and rows of a set's files."""
    text = "\n".join(f"{name} {file.path.stem} {file.rows}" for name, file in files.items())
    return hashlib.sha256(text.encode()).hexdigest()
