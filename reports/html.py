"""The report for a browser: one page that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from xbackend.comparison.comparison import Comparison
from xbackend.comparison.findings import Isolation
from xbackend.comparison.summary import Summary, summaries

from .accuracy import accuracy_sentences, accuracy_tables, find_reference_comparison
from .export import export_sentences
from .formatting import heading, notes, verdict
from .isolation import isolation_heading, isolation_sentences, isolation_table
from .tables import (
    Table,
    emulation_notes,
    has_starred_layers,
    layer_table,
    run_group_table,
    shows_layers,
    unsuccessful_table,
)

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem;
       color: #1c1c1c; background: #fff; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.15rem; margin-top: 2.5rem; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; text-align: left; border-bottom: 1px solid #ddd;
         overflow-wrap: anywhere; }
th { border-bottom: 2px solid #888; } .number { text-align: right; }
.verdict { font-weight: 600; } .note { color: #8a4b00; }
@media (prefers-color-scheme: dark) {
  body { color: #e6e6e6; background: #161616; } th, td { border-color: #444; }
  .note { color: #e0a050; }
}
"""
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>xbackend: comparison</title>
<style>{style}</style>
</head>
<body>
<h1>Which runs gave the same bits</h1>
{body}
</body>
</html>
"""


def render(comparison: Comparison) -> str:
    """Lay out a comparison as one HTML page, with every name escaped."""
    parts = [part for summary in summaries(comparison) for part in _section(summary, comparison)]
    if comparison.unsuccessful:
        parts += [
            "<h2>Runs that gave nothing to compare</h2>",
            _render_table(unsuccessful_table(comparison.unsuccessful)),
        ]
    parts += [part for found in comparison.isolations for part in _isolation(found)]
    return PAGE.format(style=STYLE, body="\n".join(parts))


def _section(summary: Summary, comparison: Comparison) -> Iterable[str]:
    yield f"<h2>{escape(heading(summary))}</h2>"
    yield f'<p class="verdict">{escape(verdict(summary))}</p>'
    yield _render_table(run_group_table(summary))
    if shows_layers(summary):
        table, _ = layer_table(summary, most=None)
        yield _render_table(table)
        if has_starred_layers(summary):
            yield '<p class="note">* with layers of runs whose bits the recording changed</p>'
    for text in emulation_notes(summary):
        yield f'<p class="note">{escape(text)}</p>'
    for text in export_sentences(comparison, summary):
        yield f"<p>{escape(text)}</p>"
    for note in notes(summary):
        yield f'<p class="note">{escape(note)}</p>'
    if judged := find_reference_comparison(comparison, summary):
        yield from map(_render_table, accuracy_tables(summary, judged, None))
        yield from (f"<p>{escape(text)}</p>" for text in accuracy_sentences(summary, judged))


def _isolation(found: Isolation) -> Iterable[str]:
    yield f"<h2>{escape(isolation_heading(found))}</h2>"
    yield _render_table(isolation_table(found, None)[0])
    yield from (f"<p>{escape(text)}</p>" for text in isolation_sentences(found))


def _render_table(table: Table) -> str:
    head = _row("th", table.headers, table.numeric)
    body = "\n".join(_row("td", row, table.numeric) for row in table.rows)
    return f"<table>\n<thead>{head}</thead>\n<tbody>\n{body}\n</tbody>\n</table>"


def _row(tag: str, cells: Iterable[str], numeric: Iterable[bool]) -> str:
    written = (
        f'<{tag} class="number">{escape(cell)}</{tag}>'
        if right
        else f"<{tag}>{escape(cell)}</{tag}>"
        for cell, right in zip(cells, numeric, strict=True)
    )
    return f"<tr>{''.join(written)}</tr>"
