"""All studies by name; a study's module is imported once it is asked for."""

from __future__ import annotations

from importlib import import_module

from xbackend.errors import UsageError, did_you_mean
from xbackend.studies.study import Study

NAMES = (
    "multiplications",
    "distributions",
    "cores",
    "layers",
    "activations",
    "races",
    "xla",
    "placement",
)
"""In the order of the listing; each is a module whose `STUDY` says what it is."""


def find(name: str) -> Study:
    """Return a study. Raises UsageError for an unknown name."""
    if name not in NAMES:
        raise UsageError(
            f"There is no study '{name}'. Studies: {', '.join(NAMES)}.{did_you_mean(name, NAMES)}"
        )
    found: Study = import_module(f"xbackend.studies.paper.{name}").STUDY
    return found


def studies() -> list[Study]:
    """Return all studies."""
    return [find(name) for name in NAMES]
