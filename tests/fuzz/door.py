"""A door: one place where what others made comes in, and what may happen there."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .mutate import Mutator, change_bytes

HERE = Path(__file__).parent
MOST_CORPUS = 1 << 18
"""Bytes of a file that is worth mutating."""
ACTING = frozenset("\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""What ends a line in some programs, or turns the direction of text."""
LONGEST_SENTENCE = 4000


@dataclass(frozen=True)
class Door:
    """A parser with its corpus; `enter` is what is tested."""

    name: str
    what: str
    """What comes in, in words."""
    enter: Callable[[bytes, Path], str | None]
    """Takes in bytes, with a folder of its own; returns what came of it, in a word or None.

    Raises XbackendError for what is refused; anything else that it raises is a finding."""
    corpus: Callable[[], Sequence[bytes]]
    mutate: Mutator = change_bytes
    modules: tuple[str, ...] = ()
    """What must be installed."""
    prepare: Callable[[Path], None] = lambda folder: None
    """Makes once in the folder what each case finds there."""


class BadSentenceError(AssertionError):
    """A refusal that is not one sentence of one line."""


def judged(door: Door, data: bytes, folder: Path) -> str:
    """Enter a door and return how that ended: `value` or `refused`, and how in a word.

    Whatever else is raised is a finding.
    """
    from xbackend.errors import XbackendError

    try:
        told = door.enter(data, folder)
    except XbackendError as error:
        text = str(error)
        check_sentence(text)
        return f"refused: {kind_of(text)}"
    return f"value: {told or ''}"


def check_sentence(text: str) -> None:
    """Raise BadSentenceError for what is not one sentence that a terminal can show."""
    odd = [c for c in text if unicodedata.category(c) == "Cc" or c in ACTING]
    if odd:
        raise BadSentenceError(f"It holds {odd[0]!r}: {text[:200]!r}")
    if not 10 < len(text) < LONGEST_SENTENCE:
        raise BadSentenceError(f"It has {len(text)} characters: {text[:200]!r}")
    if "Traceback (most" in text:
        raise BadSentenceError(f"It is no sentence: {text[:200]!r}")


def kind_of(text: str) -> str:
    """Return a sentence without what differs from case to case: names, numbers, texts in quotes.

    >>> kind_of("/tmp/x has 12 axes, 'a' has none.")
    '… has 0 axes, … has none.'
    """
    bare = re.sub(r"'[^']*'|\"[^\"]*\"|/\S+", "…", text)
    return re.sub(r"[0-9a-fA-F]*\d[0-9a-fA-F]*", "0", bare)[:160]


def files(*patterns: str) -> Callable[[], Sequence[bytes]]:
    """Return what reads a corpus: files by patterns below the folder of the tests."""

    def read() -> Sequence[bytes]:
        paths = [path for pattern in patterns for path in sorted(HERE.parent.glob(pattern))]
        return [p.read_bytes() for p in paths if p.is_file() and p.stat().st_size <= MOST_CORPUS]

    return read


def texts(*lines: str) -> Callable[[], Sequence[bytes]]:
    """Return a corpus of short texts."""
    return lambda: [line.encode() for line in lines]
