"""Puts the runs of one store into another: records last, each with all that it refers to.

The other store may be a stranger's: every file is read against its name before it is taken, and
what is not sound is left there, with a sentence.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from xbackend.errors import StoreError, UsageError
from xbackend.store.artifact_files import file_fault
from xbackend.store.files import digest_of, is_digest, open_plain, read_plain
from xbackend.store.records import KEEP, Record, Run, read_run
from xbackend.store.schema.record import byte_count, tensors
from xbackend.store.store import MAX_RECORD, MAX_SMALL, RUN_ID, Store, cannot

MAX_LOG = 1 << 26
"""Bytes of what a worker printed; more is not taken along."""


@dataclass
class MergeResult:
    """What was taken into a store."""

    added: list[str] = field(default_factory=list)
    """Ids of runs that are new here, or of which more tensors are."""
    present: list[str] = field(default_factory=list)
    """Ids of runs that were here already, with as many of their tensors."""
    refused: list[str] = field(default_factory=list)
    """A sentence for each run that was left out."""


def merge(
    store: Store,
    other: Store,
    ids: Container[str] | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> MergeResult:
    """Take the runs of another store, or those with some ids, into a store.

    Raises UsageError where there is no other store or both are one, StoreError where files cannot
    be written. What was taken before an error is whole.
    """
    paths = other.run_files()
    if store.folder.exists() and os.path.samefile(store.folder, other.folder):
        raise UsageError(f"{other.folder} is the store itself. Name another one.")
    store.create()
    result = MergeResult()
    for number, path in enumerate(paths, 1):
        if ids is not None and path.stem not in ids:
            continue
        progress(f"[{number}/{len(paths)}] {path.stem}")
        try:
            _take_run(store, other, path, result)
        except StoreError as error:
            result.refused.append(str(error))
    taken = {*result.added, *result.present}
    _take_inputs(store, other)
    _take_keys(store, other, taken)
    return result


def _take_run(store: Store, other: Store, path: Path, result: MergeResult) -> None:
    """Take one run with its tensors, artifact and log. Raises StoreError for what is not sound."""
    record = other.read_run(path)
    run = read_run(record, path)
    data = other.read_file(path, MAX_RECORD)
    here = store.folder / "runs" / path.name
    if here.exists():
        known = store.read_run(here)
        if _told(known) != _told(record):
            raise StoreError(
                f"{path} is not the run that {store.folder} has under the same id: it was left out."
            )
        if KEEP.index(run.kept) >= KEEP.index(known.get("kept", "all")):
            result.present.append(run.id)
            return
    _take_tensors(store, other, run)
    _take_artifact(store, other, str((run.row.get("artifact") or {}).get("digest") or ""))
    _take_log(store, other, run.id)
    store.write_file(here, data)
    result.added.append(run.id)


def _told(record: Record) -> Record:
    """Return a record without what each store says of it for itself."""
    return {key: value for key, value in record.items() if key not in ("kept", "purpose")}


def _take_tensors(store: Store, other: Store, run: Run) -> None:
    """Copy the objects of a run that are not here, each read against its digest.

    Those that its record says are not kept may be absent.
    """
    for row in tensors(list(run.results)):
        digest, target = str(row["digest"]), store.object_path(str(row["digest"]))
        if target.exists():
            continue
        source = other.object_path(digest)
        if run.kept != "all" and not source.exists():
            continue
        other.verify_object(digest, byte_count(row))
        _copy(source, target, other.folder)


def _take_artifact(store: Store, other: Store, digest: str) -> None:
    """Copy an artifact that is sound; one that is not, or is gone, is made again when needed."""
    source, target = (each.folder / "artifacts" / digest for each in (other, store))
    if not is_digest(digest) or target.exists() or not source.is_dir() or file_fault(source):
        return
    aside = target.with_name(f".{digest}-{secrets.token_hex(4)}.tmp")
    try:
        shutil.copytree(source, aside, symlinks=True)
        if not file_fault(aside):
            os.rename(aside, target)
    except OSError as error:
        if not target.exists():
            raise StoreError(cannot("write", target, error)) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _take_log(store: Store, other: Store, name: str) -> None:
    source, target = (each.folder / "logs" / f"{name}.txt" for each in (other, store))
    try:
        data = read_plain(source, other.folder, MAX_LOG)
    except (OSError, StoreError):
        return  # what a worker printed is no part of a run's result
    store.write_file(target, data)


def _take_inputs(store: Store, other: Store) -> None:
    """Copy sample inputs whose name is the digest of their bytes."""
    for path in sorted((other.folder / "inputs").glob("*.npy")):
        target = store.folder / "inputs" / path.name
        try:
            sound = digest_of(path, other.folder) == path.stem
        except (OSError, StoreError):
            continue
        if is_digest(path.stem) and sound and not target.exists():
            _copy(path, target, other.folder)


def _take_keys(store: Store, other: Store, taken: Container[str]) -> None:
    """Copy which run has which key, so that they are not repeated on the machine they are of."""
    for path in keys_of(other, taken):
        target = store.folder / "keys" / path.name
        if not target.exists():
            store.write_file(target, other.read_file(path, MAX_SMALL))


def keys_of(store: Store, runs: Container[str]) -> Iterator[Path]:
    """Yield the files that name some runs by their keys."""
    for path in sorted((store.folder / "keys").glob("*")):
        try:
            run = store.read_file(path, MAX_SMALL).decode("ascii")
        except (OSError, ValueError, StoreError):
            continue
        if is_digest(path.name) and RUN_ID.fullmatch(run) and run in runs:
            yield path


def _copy(source: Path, target: Path, root: Path) -> None:
    """Copy a plain file in blocks, whole or not at all. Raises StoreError."""
    temporary = target.with_name(f"{target.name}.{secrets.token_hex(6)}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with open_plain(source, root) as stream, temporary.open("xb") as copy:
            shutil.copyfileobj(stream, copy, 1 << 20)
        os.replace(temporary, target)
    except OSError as error:
        raise StoreError(cannot("write", target, error)) from error
    finally:
        temporary.unlink(missing_ok=True)
