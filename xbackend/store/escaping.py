"""Escapes for text that comes from files: what a terminal or a spreadsheet would act on."""

from __future__ import annotations

import re

CONTROL = r"\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069"
"""What moves a cursor, ends a line, or turns the direction of text, as a set of a pattern."""
MOVING = re.compile(f"[{CONTROL}]")
FORMULA = ("=", "+", "-", "@")
"""With what a cell begins that a spreadsheet computes."""
NUMBERS = re.compile(r"[-+]?(?:[0-9.]+(?:[eE][-+]?[0-9]+)?|inf|nan)(?:\|[-+0-9.eEinfa]*)*|-")


def readable(text: str) -> str:
    r"""Return a text with an escape for what would move a cursor or turn its direction.

    >>> readable("a\x1b[2J")
    'a\\x1b[2J'
    """
    return MOVING.sub(lambda found: repr(found[0])[1:-1], text)


def quoted(text: str) -> str:
    """Return a text in quotes, cut, with escapes for all that a terminal may not show."""
    cut = text if len(text) <= 60 else f"{text[:60]}…"
    return f"'{readable(cut).encode('utf-8', 'backslashreplace').decode()}'"


def spreadsheet_cell(value: object) -> object:
    """Return what is written into a cell: a text that would be computed begins with a quote.

    Numbers stay as they are, those of several classes too, which `|` parts.

    >>> [spreadsheet_cell(each) for each in ("=1+1", "-0.5|2", -3, "conv", "@x")]
    ["'=1+1", '-0.5|2', -3, 'conv', "'@x"]
    """
    if not isinstance(value, str):
        return value
    shown = readable(value)
    risky = shown.startswith(FORMULA) and NUMBERS.fullmatch(shown) is None
    return f"'{shown}" if risky else shown
