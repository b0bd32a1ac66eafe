"""Write a .keras file a second time, so that the same weights give the same bytes."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The first instant that a zip file knows."""
SAVED = "1980-01-01@00:00:00"


def canonicalise(path: Path) -> None:
    """Take out of a .keras file when it was saved and where its objects lay in memory."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in sorted(archive.namelist())}
    members["metadata.json"] = _edited(members["metadata.json"], date_saved=SAVED)
    members["config.json"] = json.dumps(renumbered(json.loads(members["config.json"]), {})).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name, EPOCH), data)


def _edited(data: bytes, **changes: Any) -> bytes:
    return json.dumps({**json.loads(data), **changes}).encode()


def renumbered(value: Any, seen: dict[int, int]) -> Any:
    """Replace memory addresses of shared objects by 1, 2, 3 … in order of appearance.

    >>> renumbered([{"shared_object_id": 9050}, {"shared_object_id": 9050}], {})
    [{'shared_object_id': 1}, {'shared_object_id': 1}]
    """
    if isinstance(value, list):
        return [renumbered(item, seen) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: seen.setdefault(item, len(seen) + 1)
        if key == "shared_object_id"
        else renumbered(item, seen)
        for key, item in value.items()
    }
