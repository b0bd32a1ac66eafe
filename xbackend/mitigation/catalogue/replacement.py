"""Another backend instead of the framework: what every mitigation of that kind has in common."""

from __future__ import annotations

from xbackend.plugins.mitigation import BackendChange, Mitigation

FRAMEWORKS = ("tf", "torch", "ort", "tflite")
"""Backends that another one can stand in for."""


def instead(name: str, what: str, rank: int, change: BackendChange) -> Mitigation:
    """Return the mitigation that runs the change's backend in place of each framework."""
    return Mitigation(
        name=name,
        what=f"{what} instead of the framework",
        changes=dict.fromkeys(FRAMEWORKS, change),
        family="instead",
        rank=rank,
    )
