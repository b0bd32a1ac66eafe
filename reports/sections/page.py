"""What a page says and in which order, whatever marks it up: HTML or Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from xbackend.comparison.comparison import Comparison
from xbackend.comparison.findings import Certificate, Isolation
from xbackend.comparison.summary import Summary, summaries

from ..export import export_sentences
from ..wording.cohort_text import notes, verdict
from ..wording.formatting import UNSUCCESSFUL, heading
from .accuracy import accuracy_sentences, accuracy_tables, find_reference_comparison
from .certificates import (
    certificate_heading,
    certificate_sentences,
    certificate_table,
    meaning_sentence,
)
from .isolation import isolation_heading, isolation_sentences, isolation_table
from .tables import (
    STAR,
    Table,
    emulation_notes,
    has_starred_layers,
    hidden_rows_note,
    layer_table,
    run_group_table,
    runs_table,
    shows_layers,
    unsuccessful_table,
)


@dataclass(frozen=True)
class Markup:
    """How a format writes each part of a page; every function escapes what it is given."""

    heading: Callable[[str], str]
    verdict: Callable[[str], str]
    text: Callable[[str], str]
    """A paragraph."""
    note: Callable[[str], str]
    """What must be known before a table is trusted."""
    notes: Callable[[Sequence[str]], Iterable[str]]
    """Several of them, of which there is one at least."""
    table: Callable[[Table], str]
    most: int | None
    """With more rows of a table than these, the middle is left out; None shows them all."""


def parts(comparison: Comparison, markup: Markup) -> Iterable[str]:
    """Yield the parts of a page, in their order."""
    for summary in summaries(comparison):
        yield from _section(summary, comparison, markup)
    if comparison.unsuccessful:
        yield markup.heading(UNSUCCESSFUL)
        yield markup.table(unsuccessful_table(comparison.unsuccessful))
    for found in comparison.isolations:
        yield from _isolation(found, markup)
    for certificate in comparison.certificates:
        yield from _certificate(certificate, markup)
    if comparison.certificates:
        yield markup.text(meaning_sentence(comparison.certificates))


def _section(summary: Summary, comparison: Comparison, markup: Markup) -> Iterable[str]:
    yield markup.heading(heading(summary))
    yield markup.verdict(verdict(summary, comparison))
    yield from _runs(summary, markup)
    if shows_layers(summary):
        table, hidden = layer_table(summary, markup.most)
        yield markup.table(table)
        if hidden:
            yield markup.text(f"… and {hidden} more that differ.")
        if has_starred_layers(summary):
            yield markup.note(STAR)
    yield from map(markup.note, emulation_notes(summary))
    if found := [*export_sentences(comparison, summary), *notes(summary)]:
        yield from markup.notes(found)
    if judged := find_reference_comparison(comparison, summary):
        yield from map(markup.table, accuracy_tables(summary, judged, markup.most))
        yield from map(markup.text, accuracy_sentences(summary, judged))


def _runs(summary: Summary, markup: Markup) -> Iterable[str]:
    if markup.most is None:
        yield markup.table(run_group_table(summary))
        return
    yield markup.table(runs_table(summary))
    yield from map(markup.text, hidden_rows_note(summary))


def _isolation(found: Isolation, markup: Markup) -> Iterable[str]:
    yield markup.heading(isolation_heading(found))
    table, hidden = isolation_table(found, markup.most)
    yield markup.table(table)
    if hidden:
        yield markup.text(f"… and {hidden} more that deviate.")
    yield from map(markup.text, isolation_sentences(found))


def _certificate(found: Certificate, markup: Markup) -> Iterable[str]:
    yield markup.heading(certificate_heading(found))
    table, hidden = certificate_table(found, markup.most)
    if table.rows:
        yield markup.table(table)
    if hidden:
        yield markup.text(f"… and {hidden} more.")
    yield from map(markup.text, certificate_sentences(found))
