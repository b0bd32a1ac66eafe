"""Runs, objects and artifacts on disk; any number of processes may write at once.

objects/ab/cdef…        raw little-endian bytes, named by their SHA-256
runs/<id>.json          one record for each run
artifacts/<digest>/…    converted models
inputs/<digest>.npy     sample inputs that were given or made
workers/<digest>.pyz    the program that ran on the platform
keys/<key>              which run has this digest of all that decides its bits
studies/<digest>/…      models that studies made
logs/<id>.txt           what the worker's framework printed
durations.json          how long runs took last time
index.sqlite            what comparisons need of all records; made anew from them whenever needed
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xbackend.errors import StoreError, UsageError
from xbackend.worker.objects import object_path, write_atomic

if TYPE_CHECKING:
    from xbackend.worker.tensor import Tensor

Record = dict[str, Any]

BLOCK = 1 << 20
"""Bytes that are read at a time while a digest is checked."""


@dataclass(frozen=True)
class Store:
    """A folder of runs."""

    folder: Path

    def create(self) -> None:
        """Make the folder if it is not there. Raises StoreError where that is not allowed."""
        try:
            for name in ("objects", "runs", "artifacts", "inputs", "workers", "logs"):
                (self.folder / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(_cannot("write to", self.folder, error)) from error

    def write_run(self, record: Record) -> None:
        """Keep a run's record, whole or not at all."""
        text = json.dumps(record, separators=(",", ":"))
        self.write_file(self.folder / "runs" / f"{record['id']}.json", text.encode())

    def write_file(self, path: Path, data: bytes) -> None:
        """Write a file of the store, whole or not at all. Raises StoreError."""
        try:
            write_atomic(str(path), data)
        except OSError as error:
            raise StoreError(_cannot("write", path, error)) from error

    def write_key(self, key: str, run: str) -> None:
        """Keep which run has a key, see `xbackend.execution.run_key`."""
        self.write_file(self.folder / "keys" / key, run.encode())

    def find_by_key(self, key: str) -> Record | None:
        """Return the record of the run with a key, None where there is none that is sound."""
        try:
            run = (self.folder / "keys" / key).read_text(encoding="ascii")
            return self.read_run(self.folder / "runs" / f"{run}.json")
        except (OSError, ValueError, StoreError):
            return None

    def runs(self) -> Iterator[Record]:
        """Yield all records in the order of their ids, which is that in which they were planned.

        Raises UsageError where there is no store, StoreError for a record that is not sound.
        """
        for path in self.run_files():
            yield self.read_run(path)

    def run_files(self) -> list[Path]:
        """Return the files of all records, sorted. Raises UsageError where there is no store."""
        folder = self.folder / "runs"
        if not folder.is_dir():
            raise UsageError(
                f"There is no store at {self.folder}. Make one with 'xbackend run', or name "
                "another with --store."
            )
        return sorted(folder.glob("*.json"))

    def read_run(self, path: Path) -> Record:
        """Return a record. Raises StoreError where it is not sound."""
        try:
            record: Any = json.loads(path.read_bytes())
        except OSError as error:
            raise StoreError(_cannot("read", path, error)) from error
        except ValueError as error:
            raise StoreError(f"{path} is not a sound record of a run: {error}.") from error
        version = record.get("schema_version") if isinstance(record, dict) else None
        if version != 1:
            raise StoreError(f"{path} has schema version {version}; this xbackend reads 1.")
        return dict(record)

    def object_path(self, digest: str) -> Path:
        """Return the file that holds the bytes of a digest."""
        return Path(object_path(str(self.folder), digest))

    def read_object(self, digest: str) -> bytes:
        """Return an object's bytes. Raises StoreError if they are gone or do not match."""
        path = self.object_path(digest)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise StoreError(_cannot("read", path, error)) from error
        if hashlib.sha256(data).hexdigest() != digest:
            raise StoreError(_damaged(path))
        return data

    def verify_object(self, digest: str) -> Path:
        """Return an object's file after reading it once, in blocks, against its digest."""
        path = self.object_path(digest)
        found = hashlib.sha256()
        try:
            with path.open("rb") as stream:
                while block := stream.read(BLOCK):
                    found.update(block)
        except OSError as error:
            raise StoreError(_cannot("read", path, error)) from error
        if found.hexdigest() != digest:
            raise StoreError(_damaged(path))
        return path

    def read_tensor(self, row: Record) -> Tensor:
        """Return a tensor by its record: dtype, shape, digest."""
        from xbackend.worker.tensor import from_bytes

        return from_bytes(row["dtype"], tuple(row["shape"]), self.read_object(row["digest"]))


def open_store(folder: str | None) -> Store:
    """Return the store at a folder, `$XBACKEND_STORE` or `./.xbackend`; it need not exist."""
    return Store(Path(folder or os.environ.get("XBACKEND_STORE") or ".xbackend"))


def _cannot(verb: str, path: Path, error: OSError) -> str:
    return (
        f"Cannot {verb} {path}: {error.strerror or error}. "
        "Free space or permissions there, or name another store with --store."
    )


def _damaged(path: Path) -> str:
    return f"{path} does not hold the bytes that its name promises: delete it and run again."
