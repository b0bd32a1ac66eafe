"""An index of a store's records, so that thousands of them are read at once: `index.sqlite`.

The records `runs/<id>.json` are the truth. The index holds what a comparison needs of each, its
digests as raw bytes, under the time and size of the file that it was taken from. Whoever compares
brings it up to date; it is thrown away and made anew if it is damaged or of another version, and
done without where it cannot be written. Deleting it costs nothing but the time to read all records.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xbackend.errors import StoreError
from xbackend.store.index_file import COLUMNS, VERSION, Entry, checksum, open_index, text_name
from xbackend.store.packed_results import PackedResults, ResultsTemplate, pack_results
from xbackend.store.records import Run, read_run

if TYPE_CHECKING:
    import sqlite3

    from xbackend.store.store import Store

FILE = "index.sqlite"
YOUNG = 2_000_000_000
"""Nanoseconds: a file that changed so lately may change again without its time telling."""


def read_runs(store: Store, damaged: list[StoreError] | None = None) -> list[Run]:
    """Return all runs of a store in the order of their ids, as `Store.runs` has the records.

    What is wrong with records that are not sound is added to `damaged`, and they are left out;
    without such a list the first is raised. Raises UsageError where there is no store.
    """
    files = store.run_files()
    runs: list[Run] = []
    with open_index(store.folder / FILE) as held:
        reader = RunReader(held.runs, held.texts)
        for file in files:
            try:
                runs.append(reader.run(store, file))
            except StoreError as error:
                if damaged is None:
                    raise
                damaged.append(error)
        if held.database is not None:
            _update(held.database, reader, {file.name for file in files})
    return runs


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
        run = read_run(store.read_run(file), file)
        entry = self._pack(file.name, stamp, run)
        if changed < self.latest:
            self.fresh.append(entry)
        return self._unpack(entry)

    def _pack(self, name: str, stamp: str, run: Run) -> Entry:
        packed = pack_results(run.results)
        layers = self._name(json.dumps(run.layers, separators=(",", ":")))
        template = self._name(packed.template.text)
        row, extras = (json.dumps(v, separators=(",", ":")) for v in (run.row, packed.extras))
        entry = (name, stamp, row, extras, layers, template, packed.digests)
        return (*entry, checksum(entry))

    def _name(self, text: str) -> bytes:
        name = text_name(text)
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
    except (sqlite3.Error, ValueError):
        if database.in_transaction:
            database.execute("ROLLBACK")
