"""Zip archives of strangers, judged by their list of contents before anything is unpacked."""

from __future__ import annotations

import re
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from xbackend.worker.sandbox import default_memory

LIST_BYTES = 16 << 20
"""Bytes of the list of contents at most: it is held in memory, and bears 200,000 names."""
MEMBERS = 100_000
"""How many members an archive may have."""
RATIO = 200
"""How many times larger than its archive the content may be."""
RATIO_FROM = 64 << 20
"""Bytes of content below which the ratio does not matter."""
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Ways of compression that numbers are saved with; others unpack a million times what they are."""

ODD_NAME = re.compile(r"^[/\\]|^[A-Za-z]:|(^|[/\\])\.\.([/\\]|$)|[\x00-\x1f\x7f]")
"""Names that lead out of the folder, or hold what a terminal would obey."""

END, END_64, LOCATOR_64 = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
ZIP_BEGINS = b"PK\x03\x04"


def is_archive(path: Path) -> bool:
    """Tell whether a file begins as a zip archive does. Raises OSError."""
    with path.open("rb") as stream:
        return stream.read(4) == ZIP_BEGINS


def archive_fault(path: Path, nested: Sequence[str] = ()) -> str:
    """Return what is wrong with an archive, as the end of a sentence; empty if nothing is.

    Content that is an archive itself is only let through under the names in `nested`. Raises
    OSError, zipfile.BadZipFile.
    """
    try:
        return _archive_fault(path, nested)
    except (OSError, zipfile.BadZipFile):
        raise
    except Exception as error:  # names that are no UTF-8, encryption, zlib's and LZMA's own errors
        lines = str(error).splitlines() or [type(error).__name__]
        raise zipfile.BadZipFile(lines[0].rstrip(".")) from error


def _archive_fault(path: Path, nested: Sequence[str]) -> str:
    with path.open("rb") as stream:
        listed = list_bytes(stream)
        if listed > LIST_BYTES:
            return f"has a list of contents of {listed} bytes, more than {LIST_BYTES}"
        with zipfile.ZipFile(stream) as archive:
            members = archive.infolist()
            size = path.stat().st_size
            return _list_fault(members, size) or _content_fault(archive, members, nested)


def refuse_archive_fault(path: Path) -> None:
    """Raise ValueError for an archive of numbers that is not to be unpacked; others pass.

    Raises OSError and zipfile.BadZipFile, too.
    """
    fault = archive_fault(path) if is_archive(path) else ""
    if fault:
        raise ValueError(f"it {fault}")


def _list_fault(members: Sequence[zipfile.ZipInfo], size: int) -> str:
    """Return what is wrong with the list of contents alone."""
    if len(members) > MEMBERS:
        return f"holds {len(members)} files, more than {MEMBERS}"
    names = [member.orig_filename for member in members]
    odd = next((name for name in names if ODD_NAME.search(name)), None)
    if odd is not None:
        return f"holds a file that would be put elsewhere: {odd[:80]!r}"
    if len(set(names)) < len(names):
        return "holds two files of one name"
    if any(member.compress_size > size for member in members):  # which `zipfile` would allocate
        return f"holds a file that says it is longer than the whole, which has {size} bytes"
    fault = size_fault(sum(member.file_size for member in members), size)
    method = next((m.compress_type for m in members if m.compress_type not in METHODS), None)
    if not fault and method is not None:
        return f"is compressed by method {method}, which numbers are not saved with"
    return fault


def size_fault(unpacked: int, size: int) -> str:
    """Return what is wrong with how much a file of `size` bytes says that it unpacks to."""
    if unpacked > RATIO_FROM and unpacked > RATIO * size:
        return f"unpacks to {unpacked} bytes, more than {RATIO} times its {size}"
    free = default_memory()
    if unpacked > max(free, size):
        return f"unpacks to {unpacked} bytes, and {free} of memory are free"
    return ""


def _content_fault(
    archive: zipfile.ZipFile, members: Sequence[zipfile.ZipInfo], nested: Sequence[str]
) -> str:
    """Return which content is an archive itself, whose own list nobody has read."""
    for member in members:
        if not member.filename.endswith((*nested, "/")):
            with archive.open(member) as stream:
                if stream.read(len(ZIP_BEGINS)) == ZIP_BEGINS:
                    return f"holds another archive: '{member.filename[:80]}'"
    return ""


def list_bytes(stream: BinaryIO) -> int:
    """Return how long an archive says that its list of contents is; 0 where it does not say.

    `zipfile` reads the list as a whole, whatever the number of members that it is said to have.
    """
    end = stream.seek(0, 2)
    stream.seek(max(0, end - (1 << 16) - 42))
    tail = stream.read()
    place = tail.rfind(END)
    if place < 0 or len(tail) - place < 22:
        return 0
    (size,) = struct.unpack_from("<L", tail, place + 12)
    before = tail[max(0, place - 20) : place]
    if len(before) == 20 and before.startswith(LOCATOR_64):
        stream.seek(min(struct.unpack_from("<Q", before, 8)[0], end))
        record = stream.read(56)
        if len(record) == 56 and record.startswith(END_64):
            return int(struct.unpack_from("<Q", record, 40)[0])
    return int(size)
