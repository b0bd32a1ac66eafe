"""What workers and converters may do and take: from the environment, the same for all of them."""

from __future__ import annotations

import os
from dataclasses import dataclass

from xbackend.errors import UsageError

SANDBOX, MEMORY, SECONDS = (
    "XBACKEND_SANDBOX",
    "XBACKEND_MEMORY_LIMIT",
    "XBACKEND_CONVERSION_TIMEOUT",
)
WORDS = {"": True, "on": True, "1": True, "off": False, "0": False}


@dataclass(frozen=True)
class Limits:
    """Limits of one process that reads a model."""

    sandbox: bool = True
    """Whether it gives up writing elsewhere, the network, and more memory than is free."""
    memory: int = 0
    """Bytes that it may take then; 0 for nearly all that is free when it starts."""
    conversion_seconds: float = 3600.0
    """After so many seconds a conversion is stopped."""


def limits() -> Limits:
    """Return the limits in force. Raises UsageError for a variable that says none."""
    word = os.environ.get(SANDBOX, "")
    if word not in WORDS:
        raise UsageError(f"${SANDBOX} is '{word}'. Set it to on or off.")
    return Limits(
        WORDS[word],
        int(_number(MEMORY, "0") * (1 << 20)),
        _number(SECONDS, "3600"),
    )


def _number(name: str, default: str) -> float:
    text = os.environ.get(name) or default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not (0 < value < 1e12 or text == default):
        unit = "MiB" if name == MEMORY else "seconds"
        raise UsageError(f"${name} is '{text}'. Set it to a number of {unit}.")
    return value
