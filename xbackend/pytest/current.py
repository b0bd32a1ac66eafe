"""The test that runs, as the plug-in knows it; nothing outside pytest."""

from __future__ import annotations

TYPE_CHECKING = False  # as `typing` has it, which takes longer to import than all of this
if TYPE_CHECKING:
    from typing import Any

item: Any = None
"""A `pytest.Item`, None outside a test."""
MARKER = "xbackend"
UPDATE = "--xbackend-update"


def marked() -> dict[str, Any]:
    """Return the keywords of the test's markers, the nearest first."""
    if item is None:
        return {}
    found: dict[str, Any] = {}
    for marker in item.iter_markers(MARKER):
        found = {**marker.kwargs, **found}
    return found


def updates() -> bool:
    """Tell whether baselines are to be written."""
    return item is not None and bool(item.config.getoption(UPDATE, default=False))


def folder() -> Any:
    """Return the folder of the test's file, None outside a test."""
    return None if item is None else item.path.parent


def cache() -> str | None:
    """Return pytest's own folder for what a plug-in keeps, None where there is none."""
    kept = None if item is None else getattr(item.config, "cache", None)
    return None if kept is None else str(kept.mkdir("xbackend"))
