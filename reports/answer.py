"""The report in one line a cohort: the same bits, or how many classes and how far apart."""

from __future__ import annotations

from xbackend.comparison.comparison import Comparison
from xbackend.comparison.summary import summaries
from xbackend.facts.cohorts import facts_of
from xbackend.facts.outcome import Outcome, count_runs

from .wording import sentences
from .wording.formatting import heading


def render(comparison: Comparison) -> str:
    """Return the answer of each cohort, with its name where there are several."""
    found = summaries(comparison)
    counts = sentences.counts_sentence(count_runs(comparison))
    lines = [sentences.answer(facts_of(each)) for each in found]
    if len(found) > 1:
        lines = [f"{heading(each)}: {line}" for each, line in zip(found, lines, strict=True)]
    if not found:
        lines = [f"{sentences.NOTHING_COMPARED[Outcome.NO_RUN]} {counts}".rstrip()]
    return "\n".join(lines) + "\n"
