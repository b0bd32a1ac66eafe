"""An index of a store's records, so that thousands of them are read at once: `index.sqlite`.

The records `runs/<id>.json` are the truth. The index holds what a comparison needs of each, its
digests as raw bytes, under the time and size of the file that it was taken from. Whoever compares
brings it up to date; it is thrown away and made anew if it is damaged or of another version, and
done without where it cannot be written. Deleting it costs nothing but the time to read all records.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xbackend.store.packed_results import PackedResults, ResultsTemplate, pack_results
from xbackend.store.records import Run, read_run

if TYPE_CHECKING:
    import sqlite3

    from xbackend.store.store import Store

FILE = "index.sqlite"
VERSION = "1"
"""To be raised whenever a record is read in another way than before."""
YOUNG = 2_000_000_000
"""Nanoseconds: a file that changed so lately may change again without its time telling."""
PATIENCE = 10.0
"""Seconds to wait for another process that writes."""
SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS texts (name BLOB PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS runs (
  file TEXT PRIMARY KEY, stamp TEXT NOT NULL, row TEXT NOT NULL, extras TEXT NOT NULL,
  layers BLOB NOT NULL, template BLOB NOT NULL, digests BLOB NOT NULL, checksum INTEGER NOT NULL);
"""
COLUMNS = "file, stamp, row, extras, layers, template, digests, checksum"

Entry = tuple[str, str, str, str, bytes, bytes, bytes, int]
"""A row of `runs`."""


class DamagedError(Exception):
    """The index does not hold what was written into it."""


def read_runs(store: Store) -> list[Run]:
    """Return all runs of a store in the order of their ids, as `Store.runs` has the records.

    Raises UsageError where there is no store, StoreError for a record that is not sound.
    """
    files = store.run_files()
    path = store.folder / FILE
    with _open(path) as held:
        reader = RunReader(held.runs, held.texts)
        runs = [reader.run(store, file) for file in files]
        if held.database is not None:
            _update(held.database, reader, {file.name for file in files})
    return runs


@dataclass(frozen=True)
class IndexContents:
    """What an index holds; nothing where there is none."""

    runs: dict[str, Entry]
    texts: dict[bytes, str]
    database: sqlite3.Connection | None


class RunReader:
    """Gives runs out of an index, or out of their records where these are newer."""

    def __init__(self, held: dict[str, Entry], texts: dict[bytes, str]) -> None:
        self.held = held
        self.texts = texts
        self.layers: dict[bytes, tuple[dict[str, Any], ...]] = {}
        self.templates: dict[bytes, ResultsTemplate] = {}
        self.fresh: list[Entry] = []
        self.latest = time.time_ns() - YOUNG

    def run(self, store: Store, file: Path) -> Run:
        """Return the run of a record."""
        stamp, changed = _stamp(file)
        entry = self.held.get(file.name)
        if entry is not None and entry[1] == stamp:
            return self._unpack(entry)
        run = read_run(store.read_run(file))
        try:
            entry = self._pack(file.name, stamp, run)
        except ValueError:
            return run  # what it calls a digest is none: whoever looks for the tensor will say so
        if changed < self.latest:
            self.fresh.append(entry)
        return self._unpack(entry)

    def _pack(self, name: str, stamp: str, run: Run) -> Entry:
        packed = pack_results(run.results)
        layers = self._name(json.dumps(run.layers, separators=(",", ":")))
        template = self._name(packed.template.text)
        row, extras = (json.dumps(v, separators=(",", ":")) for v in (run.row, packed.extras))
        entry = (name, stamp, row, extras, layers, template, packed.digests)
        return (*entry, _checksum(entry))

    def _name(self, text: str) -> bytes:
        name = _name(text)
        self.texts.setdefault(name, text)
        return name

    def _unpack(self, entry: Entry) -> Run:
        _, _, row, extras, layers, template, digests, _ = entry
        if layers not in self.layers:
            self.layers[layers] = tuple(json.loads(self.texts[layers]))
        if template not in self.templates:
            self.templates[template] = ResultsTemplate(self.texts[template])
        packed = PackedResults(self.templates[template], digests, tuple(json.loads(extras)))
        return Run(json.loads(row), self.layers[layers], packed)


def _stamp(file: Path) -> tuple[str, int]:
    """Return what changes whenever a file does, and when it changed last."""
    try:
        seen = os.stat(file)
    except OSError:
        return "", 0  # reading it will say what is wrong
    stamp = f"{seen.st_mtime_ns} {seen.st_ctime_ns} {seen.st_size} {seen.st_ino}"
    return stamp, max(seen.st_mtime_ns, seen.st_ctime_ns)


def _name(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _checksum(entry: Iterable[str | bytes]) -> int:
    found = 0
    for value in entry:
        found = zlib.crc32(value.encode() if isinstance(value, str) else value, found)
    return found


@contextmanager
def _open(path: Path) -> Iterator[IndexContents]:
    """Open an index, or none where that is not possible; it is made anew if it is damaged."""
    try:
        import sqlite3
    except ImportError:  # a Python without it
        yield IndexContents({}, {}, None)
        return
    held = None
    for _ in range(2):
        try:
            held = _load(sqlite3.connect(path, timeout=PATIENCE, isolation_level=None))
            break
        except (sqlite3.DatabaseError, DamagedError) as error:
            if isinstance(error, sqlite3.OperationalError) and "no such" not in str(error):
                break  # no right to write, or a lock that is not given back
            _remove(path)
    if held is None or held.database is None:
        yield IndexContents({}, {}, None)
        return
    with closing(held.database):
        yield held


def _load(database: sqlite3.Connection) -> IndexContents:
    """Read all that an index holds. Raises DamagedError where its checksums do not hold."""
    try:
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


def _check(entries: Iterable[Entry], texts: dict[bytes, str]) -> None:
    sound = all(_name(text) == name for name, text in texts.items())
    for entry in entries:
        sound = sound and _checksum(entry[:-1]) == entry[-1]
        sound = sound and entry[4] in texts and entry[5] in texts
    if not sound:
        raise DamagedError("The index does not hold what was written into it.")


def _remove(path: Path) -> None:
    for name in (path, path.with_name(f"{FILE}-journal")):
        try:
            name.unlink(missing_ok=True)
        except OSError:
            pass  # then it is done without


def _update(database: sqlite3.Connection, reader: RunReader, names: set[str]) -> None:
    """Write what was new, and drop records that are gone; leave it where that is not possible."""
    import sqlite3

    gone = [(name,) for name in reader.held if name not in names]
    if not (gone or reader.fresh):
        return
    used = {text for entry in reader.fresh for text in entry[4:6]}
    try:
        database.execute("BEGIN IMMEDIATE")
        database.execute("INSERT OR REPLACE INTO meta VALUES ('version', ?)", (VERSION,))
        database.executemany(
            "INSERT OR REPLACE INTO texts VALUES (?, ?)", [(n, reader.texts[n]) for n in used]
        )
        database.executemany(
            f"INSERT OR REPLACE INTO runs ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", reader.fresh
        )
        database.executemany("DELETE FROM runs WHERE file = ?", gone)
        database.execute(
            "DELETE FROM texts WHERE name NOT IN (SELECT layers FROM runs UNION "
            "SELECT template FROM runs)"
        )
        database.execute("COMMIT")
    except sqlite3.DatabaseError:
        if database.in_transaction:
            database.execute("ROLLBACK")
