"""Errors that a user can mend: one sentence with what failed, its value and the cure."""

from __future__ import annotations

import re

TYPE_CHECKING = False  # as `typing` has it, which takes longer to import than all of this
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ALIKE = 0.6
"""How alike two words must be for one to be meant by the other, see `difflib`."""
ALMOST = 0.9
"""How alike the words are that are nearly as near as the nearest, and named beside it."""
MOST_ALIKE = 3


def did_you_mean(
    word: str, known: Iterable[str], others: Mapping[str, str] | None = None, quote: str = "'"
) -> str:
    """Return a question that names the nearest known words, to follow a sentence; else nothing.

    `others` are words of other people for known ones.

    >>> did_you_mean("optimisation", ["optimization", "provider"])
    " Did you mean 'optimization'?"
    >>> did_you_mean("pytorch", ["tf", "torch"]), did_you_mean("moon", ["native"])
    (" Did you mean 'torch'?", '')
    """
    found = [f"{quote}{each}{quote}" for each in nearest_words(word, known, others)]
    return f" Did you mean {' or '.join(found)}?" if found else ""


def nearest_words(
    word: str, known: Iterable[str], others: Mapping[str, str] | None = None
) -> list[str]:
    """Return the known words that are nearest to one that is not known: none, one or a few."""
    from difflib import SequenceMatcher

    listed = {each.lower(): each for each in known}
    low = word.lower()
    if low in listed:
        return [listed[low]]
    if others and low in others and others[low].lower() in listed:
        return [listed[others[low].lower()]]
    shares = {each: SequenceMatcher(None, low, each).ratio() for each in listed}
    best = max(shares.values(), default=0.0)
    if best < ALIKE:
        return []
    near = sorted(
        (each for each in shares if shares[each] >= ALMOST * best), key=lambda each: -shares[each]
    )
    return [listed[each] for each in near[:MOST_ALIKE]]


CONTROL = r"\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069"
"""What moves a cursor, ends a line, or turns the direction of text, as a set of a pattern."""
MOVING = re.compile(f"[{CONTROL}]")
LONGEST, LAST = 3000, 600
"""Characters of a sentence that are shown, and how many of them are its end."""


def readable(text: str) -> str:
    r"""Return a text with an escape for what would move a cursor or turn its direction.

    >>> readable("a\x1b[2J")
    'a\\x1b[2J'
    """
    return MOVING.sub(lambda found: repr(found[0])[1:-1], text)


class XbackendError(Exception):
    """A failure that is told in one sentence, without a traceback. Exit status 3."""

    exit_status = 3

    def __str__(self) -> str:
        """Return one line that no terminal obeys, whatever stands in it of a file's own names."""
        text = readable(super().__str__())
        if len(text) <= LONGEST:
            return text
        return f"{text[: LONGEST - LAST]} […] {text[-LAST:]}"


class UsageError(XbackendError):
    """What the user asked for is wrong: an unknown word, a missing file. Exit status 2."""

    exit_status = 2


class ModelError(UsageError):
    """A model file is not sound, or holds what cannot be run."""


class UnsupportedOperators(ModelError):
    """A model has operators, or forms of them, that who is to compute it lacks."""


class InputError(UsageError):
    """An input does not fit the model."""


class StoreError(XbackendError):
    """The store cannot be read or written, or holds bytes that do not match their digest."""


class MissingObjectError(StoreError):
    """The store does not have the bytes of a tensor: it was pruned, or they are lost."""


class ConversionError(XbackendError):
    """A converter failed."""


class PluginError(XbackendError):
    """A backend's adapter cannot be found."""
