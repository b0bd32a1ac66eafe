"""The report in words: what is known, how sure it is, and what to type next."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from xbackend.comparison.comparison import Comparison
from xbackend.comparison.findings import ReferenceComparisonRow
from xbackend.comparison.summary import Summary
from xbackend.facts.explanation import CohortExplanation, Explanation, Grade, Isolated, explain
from xbackend.facts.next_commands import NextCommand
from xbackend.facts.outcome import Outcome
from xbackend.facts.switched import switch_groups
from xbackend.store.records import Run

from .wording import sentences
from .wording.cohort_text import agreement_sentences, emulation_sentences, notes
from .wording.formatting import heading, name_row, name_run, pluralize, printable
from .wording.rounding import section_sentences
from .wording.switches import switch_sentences

NARROWEST = 40
UNTRIED = (
    "No two runs differ in one setting or platform only, so nothing shows what removes the "
    "difference."
)


@dataclass(frozen=True)
class Statement:
    """What is known, in words."""

    text: str
    grade: Grade
    """How sure it is."""
    sides: tuple[str, ...] = ()
    """What follows it, with bars between: who stands on which side."""
    of_switch: bool = False
    """Whether it is one of those on two runs that differ in one thing."""

    def __str__(self) -> str:
        """Return it as one text, with its grade in brackets."""
        sides = f" {' | '.join(self.sides)}." if self.sides else ""
        return f"{self.text}{sides} [{self.grade.value}]"


def render(comparison: Comparison) -> str:
    """Lay out what is known of each cohort, a sentence a line, its grade in brackets."""
    return render_explanation(explain(comparison))


def render_explanation(found: Explanation) -> str:
    """Lay out the same of what has been explained already."""
    width = max(NARROWEST, shutil.get_terminal_size((80, 24)).columns)
    return "\n".join(_lines(found, width)) + "\n"


def _lines(found: Explanation, width: int) -> Iterator[str]:
    if not found.cohorts:
        yield sentences.NOTHING_COMPARED[Outcome.NO_RUN]
    for each in found.cohorts:
        title = heading(each.summary)
        yield from (title, "=" * min(len(title), width))
        for text in cohort_statements(each):
            yield textwrap.fill(text, width, subsequent_indent="  ", break_on_hyphens=False)
        for command in each.next:
            yield from _next(command)
        yield ""
    stopped = sentences.counts_sentence(found.counts)
    if stopped:
        yield f"{stopped} See 'xbackend compare'."


def cohort_statements(found: CohortExplanation) -> list[str]:
    """Return all that is known of a cohort, each statement with its grade in brackets."""
    said = list(map(str, graded_statements(found)))
    return [*said, *(f"Note: {note}" for note in notes(found.summary))]


def graded_statements(found: CohortExplanation) -> list[Statement]:
    """Return all that is known of a cohort, but for the notes."""
    said = [Statement(sentences.verdict(found.facts), found.verdict_grade)]
    apart = agreement_sentences(found.summary, found.agreement)
    said += [Statement(text, Grade.RECORDED) for text in apart]
    differs = found.facts.outcome is Outcome.DIFFERENT_BITS
    if differs or found.certified is not None:
        said.append(Statement(_rounding(found), found.rounding))
    if differs:
        said += _parts(found)
    said += [Statement(text, Grade.EMULATED) for text in emulation_sentences(found.summary)]
    for each in found.isolated:
        said += [Statement(text, each.grade) for text in _isolated(found.summary, each)]
    said += _switches(found)
    return [*said, *_accuracy(found)]


def _rounding(found: CohortExplanation) -> str:
    if found.certified is not None:
        return " ".join(section_sentences(found.certified))
    return "Whether rounding alone makes the difference is not known."


def _parts(found: CohortExplanation) -> list[Statement]:
    """Return between whom the first difference is."""
    first = found.facts.first
    if first is None:
        return []
    sides = tuple(_names(found.summary, ids) for ids in first.classes)
    where = f"At {sentences.name_place(first.place)}, input '{printable(first.place.input)}', the "
    grade = Grade.NOT_JUDGED if first.taps_changed_bits else Grade.RECORDED
    return [Statement(f"{where}runs part so:", grade, sides)]


def _names(summary: Summary, ids: Sequence[str]) -> str:
    rows = [name_row(row) for row in summary.rows if set(row.ids) & set(ids)]
    more = f" and {len(rows) - 3} more" if len(rows) > 3 else ""
    return f"{'; '.join(rows[:3])}{more}"


def _isolated(summary: Summary, found: Isolated) -> Iterator[str]:
    runs = {run.id: run for run in summary.cohort.runs}
    names = [_run_name(runs.get(each), each) for each in (found.run, found.reference)]
    head, *rest = sentences.isolation_verdict(found.facts, found.cure)
    yield f"{names[0]} against {names[1]}: {head}"
    yield from rest


def _run_name(run: Run | None, name: str) -> str:
    return printable(name) if run is None else name_run(run)


def _switches(found: CohortExplanation) -> list[Statement]:
    """Return what changes bits when it alone is switched, and what does not."""
    if not found.switches and found.facts.outcome is Outcome.DIFFERENT_BITS:
        return [Statement(UNTRIED, Grade.NOT_JUDGED)]
    return [
        Statement(text, Grade.SWITCHED if group.is_single else Grade.GOES_WITH, of_switch=True)
        for group in switch_groups(found.switches)
        for text in switch_sentences(group)
    ]


def _accuracy(found: CohortExplanation) -> list[Statement]:
    if not found.accuracy:
        return []
    names = {name: row for row in found.summary.rows for name in row.ids}

    def name(row: ReferenceComparisonRow) -> str:
        return name_row(names[row.ids[0]])

    said = [
        sentences.nearest_sentence(found.accuracy, name),
        *sentences.loss_sentences(found.accuracy, name),
    ]
    return [Statement(text, Grade.RECORDED) for text in said]


def _next(found: NextCommand) -> Iterator[str]:
    took = "" if found.seconds is None else f" (about {duration_text(found.seconds)})"
    yield f"Next, {found.purpose.value}{took}:"
    yield f"  {found.command}"


def duration_text(seconds: float) -> str:
    """Return a time in words.

    >>> duration_text(0.4), duration_text(90), duration_text(7200)
    ('1 second', '2 minutes', '2 hours')
    """
    if seconds < 60:
        return pluralize(max(1, round(seconds)), "second")
    if seconds < 3600:
        return pluralize(round(seconds / 60), "minute")
    return pluralize(round(seconds / 3600), "hour")
