"""Escapes for text that comes from files: what a terminal or a spreadsheet would act on."""

from __future__ import annotations

import re

from xbackend.errors import CONTROL as CONTROL
from xbackend.errors import MOVING as MOVING
from xbackend.errors import readable as readable

FORMULA = ("=", "+", "-", "@")
"""With what a cell begins that a spreadsheet computes."""
NUMBERS = re.compile(r"[-+]?(?:[0-9.]+(?:[eE][-+]?[0-9]+)?|inf|nan)(?:\|[-+0-9.eEinfa]*)*|-")


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
