"""What a library's error says, in one line."""

from __future__ import annotations

LONGEST = 300
"""Characters; a line of a compiler may be a whole graph."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error that is not empty, its type if it has no text.

    >>> first_line(ValueError("\\n  no such layer\\nTraceback")), first_line(KeyError())
    ('no such layer', 'KeyError')
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:LONGEST] if lines else type(error).__name__


def clause(error: BaseException) -> str:
    """Return the first line of an error without the full stop, to go on after it."""
    return first_line(error).rstrip(".")
