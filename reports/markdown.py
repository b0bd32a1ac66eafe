"""The report for a pull request or a wiki: GitHub's Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable

from xbackend.comparison.comparison import Comparison
from xbackend.comparison.findings import Isolation
from xbackend.comparison.summary import Summary, summaries

from .accuracy import accuracy_sentences, accuracy_tables, find_reference_comparison
from .export import export_sentences
from .formatting import heading, notes, verdict
from .isolation import isolation_heading, isolation_sentences, isolation_table
from .tables import (
    MOST_LAYERS,
    Table,
    emulation_notes,
    has_starred_layers,
    hidden_rows_note,
    layer_table,
    runs_table,
    shows_layers,
    unsuccessful_table,
)


def render(comparison: Comparison) -> str:
    """Lay out a comparison as Markdown, with every name escaped."""
    parts = [part for summary in summaries(comparison) for part in _section(summary, comparison)]
    if comparison.unsuccessful:
        parts += [
            "## Runs that gave nothing to compare",
            _render_table(unsuccessful_table(comparison.unsuccessful)),
        ]
    parts += [part for found in comparison.isolations for part in _isolation(found)]
    return "\n\n".join(parts) + "\n"


def _section(summary: Summary, comparison: Comparison) -> Iterable[str]:
    yield f"## {escape(heading(summary))}"
    yield f"**{escape(verdict(summary))}**"
    yield _render_table(runs_table(summary))
    yield from map(escape, hidden_rows_note(summary))
    if shows_layers(summary):
        table, hidden = layer_table(summary)
        yield _render_table(table)
        if hidden:
            yield f"… and {hidden} more that differ."
        if has_starred_layers(summary):
            yield "\\* with layers of runs whose bits the recording changed"
    yield from map(escape, emulation_notes(summary))
    if found := [*export_sentences(comparison, summary), *notes(summary)]:
        yield "\n".join(f"* {escape(note)}" for note in found)
    if judged := find_reference_comparison(comparison, summary):
        yield from map(_render_table, accuracy_tables(summary, judged, MOST_LAYERS))
        yield "\n\n".join(map(escape, accuracy_sentences(summary, judged)))


def _isolation(found: Isolation) -> Iterable[str]:
    yield f"## {escape(isolation_heading(found))}"
    table, hidden = isolation_table(found, MOST_LAYERS)
    yield _render_table(table)
    if hidden:
        yield f"… and {hidden} more that deviate."
    yield from map(escape, isolation_sentences(found))


def _render_table(table: Table) -> str:
    rule = ["---:" if numeric else "---" for numeric in table.numeric]
    rows = [map(escape, table.headers), rule, *(map(escape, row) for row in table.rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def escape(text: str) -> str:
    r"""Return text that Markdown shows as it is: no cell, emphasis, link or tag begins in it.

    >>> escape("a|b <i>*c*</i>")
    'a\\|b &lt;i&gt;\\*c\\*&lt;/i&gt;'
    """
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]|~])", r"\\\1", text)
