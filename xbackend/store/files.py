"""Opening a store's files for what they are: plain, within the store, of the bytes they promise."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import stat
from pathlib import Path
from typing import BinaryIO

from xbackend.errors import StoreError

WORD = r"[0-9A-Za-z_][0-9A-Za-z_.:@+,\-]*"
"""What may be a part of a file's name: no slash, no dot at its beginning."""
DIGEST = re.compile(r"[0-9a-f]{64}")
BLOCK = 1 << 20
"""Bytes that are read at a time while a digest is taken."""
SPARSE_FROM = 1 << 30
"""A file of so many bytes must have at least a thousandth of them on the disk."""
ANNEX = "annex"
"""A store within a store, which shares its objects by the link `../objects`."""

KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)

Stamp = tuple[str, int, int, int, int]
_digests: dict[Stamp, str] = {}
"""What was read in this process: a file is not read twice while nothing about it changes."""


def read_digests(folder: Path) -> frozenset[str]:
    """Return the digests that were taken in this process of files within a folder."""
    within = f"{folder.absolute()}{os.sep}"
    return frozenset(found for stamp, found in _digests.items() if stamp[0].startswith(within))


def is_digest(text: object) -> bool:
    """Tell whether a text is a SHA-256 in hexadecimal, which may be a part of a path.

    >>> is_digest("../../dev/zero"), is_digest("0" * 64)
    (False, True)
    """
    return isinstance(text, str) and DIGEST.fullmatch(text) is not None


def open_plain(path: Path, root: Path | None = None, most: int | None = None) -> BinaryIO:
    """Open a plain file, which no link leads out of `root`.

    Raises StoreError, which names the file, for a pipe, a device, a link, a folder, a file of more
    than `most` bytes, or one that is almost all hole; OSError where it cannot be read.
    """
    _refuse(path, os.lstat(path), most)
    if root is not None:
        check_within(path.parent, root)
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    stream = os.fdopen(os.open(path, flags), "rb")
    try:
        _refuse(path, os.fstat(stream.fileno()), most)
    except BaseException:
        stream.close()
        raise
    return stream


def read_plain(path: Path, root: Path | None = None, most: int | None = None) -> bytes:
    """Return the bytes of a plain file, see `open_plain`."""
    with open_plain(path, root, most) as stream:
        return stream.read()


def digest_of(path: Path, root: Path | None = None, most: int | None = None) -> str:
    """Return the SHA-256 of a plain file, which is read once in a process while it is the same."""
    seen = os.lstat(path)
    stamp = (str(path.absolute()), seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino)
    if stamp not in _digests:
        found = hashlib.sha256()
        with open_plain(path, root, most) as stream:
            while block := stream.read(BLOCK):
                found.update(block)
        _digests[stamp] = found.hexdigest()
    return _digests[stamp]


def check_within(folder: Path, root: Path) -> None:
    """Raise StoreError where a link on the way leads out of the store."""
    if not _is_within(str(folder.absolute()), str(root.absolute())):
        raise StoreError(
            f"{folder} leads out of the store at {root}: put a folder in the place of the link."
        )


def _refuse(path: Path, seen: os.stat_result, most: int | None) -> None:
    if not stat.S_ISREG(seen.st_mode):
        kind = next((word for test, word in KINDS if test(seen.st_mode)), "no plain file")
        raise StoreError(f"{path} is {kind}, where a plain file belongs: remove it.")
    if most is not None and seen.st_size > most:
        raise StoreError(
            f"{path} has {seen.st_size} bytes where at most {most} belong: delete it and run again."
        )
    if seen.st_size > SPARSE_FROM and seen.st_blocks * 512 < seen.st_size // 1000:
        raise StoreError(f"{path} is nothing but a hole of {seen.st_size} bytes: remove it.")


@functools.lru_cache(maxsize=4096)
def _is_within(folder: str, root: str) -> bool:
    real, base = os.path.realpath(folder), os.path.realpath(root)
    if os.path.basename(root) == ANNEX and _shares_objects(root):
        base = os.path.dirname(base)
    return os.path.commonpath((real, base)) == base


def _shares_objects(root: str) -> bool:
    try:
        return os.readlink(os.path.join(root, "objects")) == os.path.join("..", "objects")
    except OSError:
        return False
