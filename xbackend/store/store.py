"""Runs, objects and artifacts on disk; any number of processes may write at once.

objects/ab/cdef…        raw little-endian bytes, named by their SHA-256
runs/<id>.json          one record for each run
artifacts/<digest>/…    converted models
inputs/<digest>.npy     sample inputs that were given or made
keys/<key>              which run has this digest of all that decides its bits
studies/<digest>/…      models that studies made
logs/<id>.txt           what the worker's framework printed
durations.json          how long runs took last time
index.sqlite            what comparisons need of all records; made anew from them whenever needed
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xbackend.errors import MissingObjectError, StoreError, UsageError
from xbackend.store import files
from xbackend.worker.objects import object_path, sync_file, write_atomic

if TYPE_CHECKING:
    from xbackend.worker.tensor import Tensor

Record = dict[str, Any]

FOLDERS = ("objects", "runs", "artifacts", "inputs", "logs")
MAX_RECORD = 1 << 28
"""Bytes of a record: a hundred times what the largest that are known have."""
MAX_SMALL = 1 << 20
"""Bytes of a file that holds a word, or durations."""
SYNCED_AT_ONCE = 16
RUN_ID = re.compile(files.WORD)


@dataclass(frozen=True)
class Store:
    """A folder of runs."""

    folder: Path

    def create(self) -> None:
        """Make the folder if it is not there. Raises StoreError where that is not allowed.

        Raises UsageError where the path leads to a file, or through one.
        """
        try:
            new = not all((self.folder / name).is_dir() for name in FOLDERS)
            for name in FOLDERS:
                (self.folder / name).mkdir(parents=True, exist_ok=True)
                files.check_within(self.folder / name, self.folder)
            if new:
                sync_file(str(self.folder))
                sync_file(str(self.folder.parent))
        except NotADirectoryError as error:
            raise UsageError(
                f"There cannot be a store at {self.folder}, as that is a file or lies beneath one. "
                "Name a folder with --store."
            ) from error
        except OSError as error:
            raise StoreError(cannot("write to", self.folder, error)) from error

    def write_run(self, record: Record) -> None:
        """Keep a run's record, whole or not at all, once its tensors are on the disk.

        When this returns, a power cut takes neither.
        """
        from xbackend.store.schema.record import tensors

        told: set[str] = {row.get("digest", "") for row in tensors(record.get("results", []))}
        self._sync_objects([digest for digest in told if files.is_digest(digest)])
        text = json.dumps(record, separators=(",", ":"))
        self.write_file(self.folder / "runs" / f"{record['id']}.json", text.encode())

    def _sync_objects(self, digests: Iterable[str]) -> None:
        """Have objects written to the disk, and their names; those that are not there are not."""
        paths = [object_path(str(self.folder), each) for each in sorted(digests)]
        folders = {os.path.dirname(path) for path in paths}
        if not paths:
            return
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(SYNCED_AT_ONCE) as pool:  # a disk writes many as fast as one
            for _ in pool.map(_sync, paths):
                pass
            for _ in pool.map(_sync, [*sorted(folders), str(self.folder / "objects")]):
                pass

    def write_file(self, path: Path, data: bytes) -> None:
        """Write a file of the store, whole or not at all. Raises StoreError."""
        try:
            files.check_within(path.parent, self.folder)
            write_atomic(str(path), data, sync=True)
        except OSError as error:
            raise StoreError(cannot("write", path, error)) from error

    def write_key(self, key: str, run: str) -> None:
        """Keep which run has a key, see `xbackend.execution.run_key`."""
        self.write_file(self.folder / "keys" / key, run.encode())

    def find_by_key(self, key: str) -> Record | None:
        """Return the record of the run with a key, None where there is none that is sound."""
        from xbackend.store.schema.record import check_record

        try:
            run = self.read_file(self.folder / "keys" / key, MAX_SMALL).decode("ascii")
            if not RUN_ID.fullmatch(run):
                return None
            record = self.read_run(self.folder / "runs" / f"{run}.json")
            check_record(record)
        except (OSError, ValueError, StoreError):
            return None
        return record

    def read_file(self, path: Path, most: int | None = None) -> bytes:
        """Return the bytes of a plain file of the store. Raises OSError or StoreError."""
        return files.read_plain(path, self.folder, most)

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
        """Return a record of today's schema. Raises StoreError where there is none in a file."""
        from xbackend.store.schema.migration import upgraded

        try:
            record: Any = json.loads(self.read_file(path, MAX_RECORD))
        except OSError as error:
            raise StoreError(cannot("read", path, error)) from error
        except RecursionError as error:
            raise StoreError(f"{path} is not a sound record of a run: nested too deep.") from error
        except ValueError as error:
            raise StoreError(f"{path} is not a sound record of a run: {error}.") from error
        return upgraded(record, path)

    def object_path(self, digest: str) -> Path:
        """Return the file that holds the bytes of a digest. Raises StoreError for what is none."""
        if not files.is_digest(digest):
            raise StoreError(f"'{str(digest)[:80]}' is no SHA-256, so no object has that name.")
        return Path(object_path(str(self.folder), digest))

    def read_object(self, digest: str, size: int | None = None) -> bytes:
        """Return an object's bytes. Raises StoreError if they are gone or do not match."""
        path = self.verify_object(digest, size)
        try:
            return self.read_file(path)
        except OSError as error:
            raise StoreError(cannot("read", path, error)) from error

    def verify_object(self, digest: str, size: int | None = None) -> Path:
        """Return an object's file after reading it once, in blocks, against its digest.

        `size` is how many bytes it must have, where that is known. Raises MissingObjectError where
        there is none, StoreError where it does not match.
        """
        path = self.object_path(digest)
        try:
            if size is not None and path.lstat().st_size != size:
                raise StoreError(_damaged(path))
            found = files.digest_of(path, self.folder)
        except FileNotFoundError as error:
            raise MissingObjectError(
                f"{path} is not there: it was pruned, or is lost. Repeat its run with --fresh."
            ) from error
        except OSError as error:
            raise StoreError(cannot("read", path, error)) from error
        if found != digest:
            raise StoreError(_damaged(path))
        return path

    def read_tensor(self, row: Record) -> Tensor:
        """Return a tensor by its record: dtype, shape, digest."""
        from xbackend.store.schema.record import byte_count
        from xbackend.worker.tensor import from_bytes

        data = self.read_object(row["digest"], byte_count(row))
        return from_bytes(row["dtype"], tuple(row["shape"]), data)


def open_store(folder: str | None) -> Store:
    """Return the store at a folder, `$XBACKEND_STORE` or `./.xbackend`; it need not exist."""
    return Store(Path(folder or os.environ.get("XBACKEND_STORE") or ".xbackend"))


def store_option(store: Store) -> str:
    """Return the option that names a store, with a space before it; empty for the usual one."""
    if store.folder.absolute() == open_store(None).folder.absolute():
        return ""
    return f" --store {shlex.quote(str(store.folder))}"


def _sync(path: str) -> None:
    try:
        sync_file(path)
    except FileNotFoundError:  # of a run that has failed not all objects need be there
        return
    except OSError as error:
        raise StoreError(cannot("write", Path(path), error)) from error


def cannot(verb: str, path: Path, error: OSError) -> str:
    """Return the sentence for a file of a store that the system does not let one use."""
    return (
        f"Cannot {verb} {path}: {error.strerror or error}. "
        "Free space or permissions there, or name another store with --store."
    )


def _damaged(path: Path) -> str:
    return f"{path} does not hold the bytes that its name promises: delete it and run again."
