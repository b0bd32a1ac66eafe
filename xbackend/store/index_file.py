"""The file of a store's index, which is opened only if it is a plain one of this user's own.

Whatever else lies in its place, be it damaged, a stranger's or of another version, is removed.
No journal is kept beside it: what a write that was cut short leaves behind is made anew.
"""

from __future__ import annotations

import functools
import hashlib
import os
import stat
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

VERSION = "3"
"""To be raised whenever a record is read in another way than before."""
PATIENCE = 10.0
"""Seconds to wait for another process that writes."""
READ_LIMIT = 60.0
"""Seconds that one statement may take: ten thousand runs are read in one or two."""
MAX_BYTES = 1 << 32
STEPS = 100_000
"""Instructions of SQLite's machine between two looks at the clock."""
SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS texts (name BLOB PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS runs (
  file TEXT PRIMARY KEY, stamp TEXT NOT NULL, row TEXT NOT NULL, extras TEXT NOT NULL,
  layers BLOB NOT NULL, template BLOB NOT NULL, digests BLOB NOT NULL, checksum INTEGER NOT NULL);
"""
COLUMNS = "file, stamp, row, extras, layers, template, digests, checksum"
DEFENSIVE = (
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
    "PRAGMA mmap_size = 0",
    "PRAGMA journal_mode = MEMORY",
    "PRAGMA synchronous = OFF",
)
"""What SQLite advises for files of unknown origin (sqlite.org/security.html), and no journal."""

Entry = tuple[str, str, str, str, bytes, bytes, bytes, int]
"""A row of `runs`."""
ENTRY_TYPES = (str, str, str, str, bytes, bytes, bytes, int)


class DamagedError(Exception):
    """The index does not hold what was written into it, or is none of this user's."""


@dataclass(frozen=True)
class IndexContents:
    """What an index holds; nothing where there is none."""

    runs: dict[str, Entry]
    texts: dict[bytes, str]
    database: sqlite3.Connection | None


@contextmanager
def open_index(path: Path) -> Iterator[IndexContents]:
    """Open an index, or none where that is not possible; it is made anew if it is damaged."""
    try:
        import sqlite3
    except ImportError:  # a Python without it
        yield IndexContents({}, {}, None)
        return
    held = None
    for _ in range(2):
        try:
            _check_file(path)
            held = _load(sqlite3.connect(path, timeout=PATIENCE, isolation_level=None))
            break
        except OSError:
            break
        except Exception as error:  # of a stranger's file SQLite's messages may be no text even
            if _is_elsewheres(error):
                break  # no right to write, or a lock that is not given back
            _remove(path)
    if held is None or held.database is None:
        yield IndexContents({}, {}, None)
        return
    with closing(held.database):
        yield held


def _is_elsewheres(error: Exception) -> bool:
    """Tell whether it is not the file that is at fault."""
    words = ("locked", "readonly", "read-only", "unable to open", "disk", "full")
    return type(error).__name__ == "OperationalError" and any(w in str(error) for w in words)


def _companions(path: Path) -> list[Path]:
    return [path.with_name(f"{path.name}{end}") for end in ("-journal", "-wal", "-shm")]


def _check_file(path: Path) -> None:
    """Raise DamagedError for what is no plain file of this user's own, standing alone."""
    if any(os.path.lexists(each) for each in _companions(path)):
        raise DamagedError("There is a journal, which this program never writes.")
    with suppress(FileNotFoundError):
        seen = os.lstat(path)
        own = stat.S_ISREG(seen.st_mode) and seen.st_uid == os.geteuid() and seen.st_nlink == 1
        if not own or seen.st_size > MAX_BYTES:
            raise DamagedError("It is no plain file of this user's own.")


def _load(database: sqlite3.Connection) -> IndexContents:
    """Read all that an index holds. Raises DamagedError where its checksums do not hold."""
    try:
        _defend(database)
        _check_schema(database)
        database.executescript(SCHEMA)
        version = database.execute("SELECT value FROM meta WHERE key = 'version'").fetchone()
        if version is not None and version[0] != VERSION:
            raise DamagedError("The index is of another version.")
        texts = dict(database.execute("SELECT name, text FROM texts"))
        runs = {row[0]: row for row in database.execute(f"SELECT {COLUMNS} FROM runs")}
        _check(runs.values(), texts)
    except BaseException:
        database.close()
        raise
    return IndexContents(runs, texts, database)


def _defend(database: sqlite3.Connection) -> None:
    until = time.monotonic() + READ_LIMIT
    database.set_progress_handler(lambda: int(time.monotonic() > until), STEPS)
    for statement in DEFENSIVE:
        database.execute(statement).fetchall()


def _check_schema(database: sqlite3.Connection) -> None:
    """Raise DamagedError for a table, view, trigger or index that this program does not make."""
    found = set(database.execute("SELECT type, name, sql FROM sqlite_master"))
    if found and found != _expected_schema():
        raise DamagedError("The index holds other tables than its own.")


@functools.cache
def _expected_schema() -> frozenset[tuple[str, str, str | None]]:
    import sqlite3

    with closing(sqlite3.connect(":memory:")) as database:
        database.executescript(SCHEMA)
        return frozenset(database.execute("SELECT type, name, sql FROM sqlite_master"))


def text_name(text: str) -> bytes:
    """Return the name of a text that runs share: its SHA-256."""
    return hashlib.sha256(text.encode()).digest()


def checksum(entry: Iterable[str | bytes]) -> int:
    """Return the checksum of a row without its own."""
    found = 0
    for value in entry:
        found = zlib.crc32(value.encode() if isinstance(value, str) else value, found)
    return found


def _check(entries: Iterable[Entry], texts: dict[bytes, str]) -> None:
    sound = all(
        type(name) is bytes and type(text) is str and text_name(text) == name
        for name, text in texts.items()
    )
    for entry in entries:
        sound = sound and tuple(map(type, entry)) == ENTRY_TYPES
        sound = sound and checksum(entry[:-1]) == entry[-1]
        sound = sound and entry[4] in texts and entry[5] in texts
    if not sound:
        raise DamagedError("The index does not hold what was written into it.")


def _remove(path: Path) -> None:
    for name in (path, *_companions(path)):
        with suppress(OSError):  # then it is done without
            name.unlink(missing_ok=True)
