"""How long a run took last time: shown while it runs again, and of no other use."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from xbackend.errors import StoreError
from xbackend.store.store import MAX_SMALL, Store

Record = dict[str, Any]

TOO_MUCH = (OverflowError, RecursionError)
"""What a file raises whose numbers or lists are too much for Python."""
MAX_DURATIONS = 2000
"""How many kinds of runs are remembered, those that ran last."""


def duration_key(record: Record) -> str:
    """Return what runs that take about as long have in common."""
    threads, model = record["settings"]["threads"], record["model"]["digest"][:16]
    words = (model, record["backend"], record["precision"], record["platform"], threads)
    return " ".join(map(str, words))


def read_durations(store: Store) -> dict[str, float]:
    """Return seconds by kind; nothing where none are kept, or what is kept is not sound."""
    try:
        row: Any = json.loads(store.read_file(store.folder / "durations.json", MAX_SMALL))
        return {str(name): float(seconds) for name, seconds in row.items()}
    except (OSError, StoreError, ValueError, TypeError, AttributeError, *TOO_MUCH):
        return {}


def record_durations(store: Store, records: Iterable[Record]) -> None:
    """Remember how long sound runs took.

    Of two processes that write at once one is lost, which only costs the display.
    """
    found = {duration_key(row): float(row["seconds"]) for row in records if row["status"] == "ok"}
    if not found:
        return
    older = {name: took for name, took in read_durations(store).items() if name not in found}
    latest = dict([*older.items(), *found.items()][-MAX_DURATIONS:])
    try:
        store.write_file(store.folder / "durations.json", json.dumps(latest).encode())
    except StoreError:
        pass  # The runs themselves are kept; a store that is full has said so.
