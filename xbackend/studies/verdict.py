"""Whether a finding of the paper holds here: for each backend a word and a reason, one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

HOLDS = "holds"
FAILS = "does not hold"
INCONCLUSIVE = "cannot be told"
VERDICT_ORDER = (HOLDS, FAILS, INCONCLUSIVE)


@dataclass(frozen=True)
class Verdict:
    """Whether a finding holds for one backend."""

    subject: str
    """The backend's word."""
    word: str
    """`holds`, `does not hold` or `cannot be told`."""
    reason: str
    """A few words in brackets."""


def sentence(claim: str, source: str, verdicts: Sequence[Verdict]) -> str:
    """Return the one sentence that a study ends with.

    >>> found = [Verdict("ort", HOLDS, "2 of 2"), Verdict("tf", INCONCLUSIVE, "one run")]
    >>> sentence("bits differ", "Figure 9", found)
    'That bits differ (Figure 9) holds here for ort (2 of 2) and cannot be told for tf (one run).'
    """
    groups = [(word, [each for each in verdicts if each.word == word]) for word in VERDICT_ORDER]
    parts = [_part(word, members) for word, members in groups if members]
    if not parts:
        parts = [f"{INCONCLUSIVE}: no backend was run"]
    first, *rest = parts
    first = first.replace(" for ", " here for ", 1)
    return f"That {claim} ({source}) {_joined([first, *rest])}."


def _part(word: str, members: Sequence[Verdict]) -> str:
    return f"{word} for {_joined([f'{each.subject} ({each.reason})' for each in members])}"


def _joined(parts: Sequence[str]) -> str:
    *rest, last = parts
    return f"{', '.join(rest)} and {last}" if rest else last
