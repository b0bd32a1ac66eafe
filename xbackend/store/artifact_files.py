"""The files of an artifact against the digests in its manifest: what was changed is not used."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from xbackend.errors import StoreError
from xbackend.store.files import digest_of, is_digest, read_plain
from xbackend.store.store import Store
from xbackend.worker.artifact import MANIFEST
from xbackend.worker.objects import sync_file

MAX_MANIFEST = 1 << 28
"""Bytes of `artifact.json`."""

Rows = dict[str, dict[str, Any]]


def file_rows(folder: Path) -> Rows:
    """Return bytes and SHA-256 of each file of a folder but the manifest, by its path with slashes.

    Raises StoreError for what is no plain file, OSError where one cannot be read.
    """
    return {
        name: {"bytes": path.lstat().st_size, "sha256": digest_of(path, folder)}
        for name, path in _files(folder)
    }


def _files(folder: Path) -> list[tuple[str, Path]]:
    found = [
        (path.relative_to(folder).as_posix(), path)
        for path in folder.rglob("*")
        if path.is_symlink() or not path.is_dir()
    ]
    return sorted((name, path) for name, path in found if name != MANIFEST)


def file_fault(folder: Path) -> str:
    """Return the first thing in which an artifact's files are not those of its manifest, or "".

    Each file is read once in a process. An artifact that an older xbackend made has no digests.
    """
    try:
        rows = _manifest(folder).get("files")
        if not isinstance(rows, dict):
            return f"{folder / MANIFEST} does not tell the digests of its files"
        found = dict(_files(folder))
        for name in sorted(rows.keys() ^ found.keys()):
            return f"{folder / name} " + ("is gone" if name in rows else "does not belong there")
        for name, row in rows.items():
            told = (row.get("bytes"), row.get("sha256")) if isinstance(row, dict) else ()
            if told != (found[name].lstat().st_size, digest_of(found[name], folder)):
                return f"{found[name]} does not hold the bytes that its manifest promises"
    except (OSError, ValueError, KeyError, StoreError) as error:
        return str(error).rstrip(".")
    return ""


def _manifest(folder: Path) -> dict[str, Any]:
    """Return `artifact.json` of a folder. Raises OSError, StoreError or ValueError."""
    try:
        found: Any = json.loads(read_plain(folder / MANIFEST, folder.parent, MAX_MANIFEST))
    except RecursionError as error:
        raise ValueError(f"{folder / MANIFEST} is nested too deep") from error
    if not isinstance(found, dict):
        raise ValueError(f"{folder / MANIFEST} is no JSON object")
    return found


def artifact_folder(store: Store, digest: object) -> Path:
    """Return the folder of an artifact that a record names, its files checked.

    Raises StoreError where the digest is none, or a file does not hold what it must.
    """
    if not is_digest(digest):
        raise StoreError(f"'{str(digest)[:80]}' is no SHA-256, so no artifact has that name.")
    folder = store.folder / "artifacts" / str(digest)
    fault = file_fault(folder)
    if fault:
        raise StoreError(f"{fault}: run the model again.")
    return folder


def sync_artifact(folder: Path) -> None:
    """Have all files of a folder written to the disk, and their names. Raises OSError."""
    for place, _, names in os.walk(folder):
        for name in (*names, "."):
            sync_file(os.path.join(place, name))


def discard(folder: Path) -> None:
    """Take an artifact's folder out of the way, whole, whatever it is; links are not followed."""
    aside = folder.with_name(f".{folder.name}-{os.urandom(4).hex()}.tmp")
    os.rename(folder, aside)
    if aside.is_symlink() or not aside.is_dir():
        with contextlib.suppress(OSError):
            aside.unlink()
    import shutil

    shutil.rmtree(aside, ignore_errors=True)
