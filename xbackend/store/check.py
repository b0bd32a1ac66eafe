"""Reads all of a store against its names: objects, records, artifacts, inputs, and what lies about.

Nothing is changed, followed or started.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from xbackend.errors import StoreError
from xbackend.store.artifact_files import file_fault
from xbackend.store.files import ANNEX, digest_of, is_digest
from xbackend.store.index import FILE
from xbackend.store.records import read_run
from xbackend.store.schema.record import byte_count, tensors
from xbackend.store.store import MAX_SMALL, RUN_ID, Store

COUNTED = ("objects", "runs", "artifacts", "inputs")


@dataclass
class StoreCheck:
    """What was read, and what is wrong."""

    faults: list[str] = field(default_factory=list)
    """Sentences, each of which names a file."""
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTED, 0))
    """How many of each were read."""


def check_store(store: Store) -> StoreCheck:
    """Read everything of a store against its names. Raises UsageError where there is no store."""
    found = StoreCheck()
    store.run_files()
    found.faults += _strange_files(store.folder)
    sizes = _check_objects(store, found)
    _check_runs(store, sizes, found)
    _check_artifacts(store, found)
    _check_inputs(store, found)
    _check_keys(store, found)
    annex = store.folder / ANNEX
    if (annex / "runs").is_dir() and not annex.is_symlink():
        _add_annex(Store(annex), sizes, found)
    return found


def _add_annex(annex: Store, sizes: dict[str, int], found: StoreCheck) -> None:
    """Check the store within the store, whose objects are those of the whole."""
    _check_runs(annex, sizes, found)
    _check_artifacts(annex, found)
    _check_inputs(annex, found)


def _strange_files(folder: Path) -> Iterator[str]:
    """Yield a sentence for each entry that is neither a plain file nor a folder."""
    for place, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = Path(place, name)
            mode = path.lstat().st_mode
            shared = path == folder / ANNEX / "objects" and stat.S_ISLNK(mode)
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or shared):
                yield f"{path} is no plain file: remove it."
    if os.path.lexists(folder / "workers"):
        yield f"{folder / 'workers'} is of an older xbackend and no longer used: remove it."
    if (folder / FILE).is_dir():
        yield f"{folder / FILE} is a folder, where the index belongs: remove it."


def _plain(folder: Path, pattern: str) -> list[Path]:
    """Return the plain files of a folder, sorted; others are told by `_strange_files`."""
    found = [path for path in folder.glob(pattern) if stat.S_ISREG(path.lstat().st_mode)]
    return sorted(path for path in found if not path.name.endswith(".tmp"))


def _check_objects(store: Store, found: StoreCheck) -> dict[str, int]:
    """Return the sizes of the sound objects by digest."""
    sizes = {}
    for path in _plain(store.folder / "objects", "*/*"):
        digest = f"{path.parent.name}{path.name}"
        if _holds(path, digest, store, found):
            sizes[digest] = path.lstat().st_size
        found.counts["objects"] += 1
    return sizes


def _holds(path: Path, digest: str, store: Store, found: StoreCheck) -> bool:
    try:
        sound = is_digest(digest) and digest_of(path, store.folder) == digest
    except (OSError, StoreError) as error:
        found.faults.append(f"{path}: {error}")
        return False
    if not sound:
        found.faults.append(
            f"{path} does not hold the bytes that its name promises: delete it and run again."
        )
    return sound


def _check_runs(store: Store, sizes: dict[str, int], found: StoreCheck) -> None:
    for path in store.run_files():
        found.counts["runs"] += 1
        try:
            run = read_run(store.read_run(path), path)
        except StoreError as error:
            found.faults.append(str(error))
            continue
        wanted = {row["digest"]: byte_count(row) for row in tensors(list(run.results))}
        lost = [digest for digest, size in wanted.items() if sizes.get(digest) != size]
        if run.kept != "all":
            pruned = {row["digest"] for result in run.results for row in result["taps"]}
            lost = [digest for digest in lost if digest not in pruned or digest in sizes]
        if lost:
            found.faults.append(
                f"{path} tells of {len(lost)} tensors whose objects are gone or damaged, such as "
                f"{lost[0][:12]}: run it again."
            )


def _check_artifacts(store: Store, found: StoreCheck) -> None:
    folder = store.folder / "artifacts"
    for path in sorted(folder.glob("*")) if folder.is_dir() else ():
        if path.name in ("made",) or path.name.endswith(".tmp"):
            continue
        found.counts["artifacts"] += 1
        fault = file_fault(path) if is_digest(path.name) else f"{path} is no artifact"
        if fault:
            found.faults.append(f"{fault}: remove {path}, and it is made again.")


def _check_inputs(store: Store, found: StoreCheck) -> None:
    for path in _plain(store.folder / "inputs", "*.npy"):
        if is_digest(path.stem):
            _holds(path, path.stem, store, found)
            found.counts["inputs"] += 1


def _check_keys(store: Store, found: StoreCheck) -> None:
    for folder, check in (("keys", RUN_ID.fullmatch), ("artifacts/made", is_digest)):
        for path in _plain(store.folder / folder, "*"):
            try:
                sound = check(store.read_file(path, MAX_SMALL).decode("ascii"))
            except (OSError, ValueError, StoreError):
                sound = False
            if not sound:
                found.faults.append(f"{path} does not hold a name: remove it.")
