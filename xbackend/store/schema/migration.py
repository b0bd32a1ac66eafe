"""Records of older schema versions, brought up to today's one step after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from xbackend.errors import StoreError
from xbackend.store.escaping import quoted
from xbackend.store.schema.record import SCHEMA_VERSION

Record = dict[str, Any]

OLDEST = 1
"""The first version that a release of xbackend wrote."""
STEPS: Mapping[int, Callable[[Record], Record]] = {}
"""A version to what makes a record of it one of the next; a file itself is never rewritten."""


def upgraded(record: Any, path: Path) -> Record:
    """Return a record in today's schema version. Raises StoreError for one that cannot be."""
    version = record.get("schema_version") if isinstance(record, dict) else None
    if type(version) is not int or not OLDEST <= version <= SCHEMA_VERSION:
        newer = type(version) is int and version > SCHEMA_VERSION
        cure = "install a newer xbackend" if newer else "delete it and run again"
        raise StoreError(
            f"{path} has schema version {quoted(str(version))}; this xbackend reads "
            f"{SCHEMA_VERSION}: {cure}."
        )
    for each in range(version, SCHEMA_VERSION):
        record = {**STEPS[each](record), "schema_version": each + 1}
    return dict(record)
