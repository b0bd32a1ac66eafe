"""The report for a browser: one page that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from xbackend.comparison.comparison import Comparison

from .sections.page import Markup, parts
from .sections.tables import Table

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
    return PAGE.format(style=STYLE, body=_body(comparison))


def render_fragment(comparison: Comparison) -> str:
    """Lay out the same tables for a notebook, which brings a page and a style of its own."""
    return f'<div class="xbackend">\n{_body(comparison)}\n</div>'


def render_preformatted(text: str) -> str:
    """Lay out a text for a terminal as it is, for a notebook."""
    return f"<pre>{escape(text)}</pre>"


def _body(comparison: Comparison) -> str:
    markup = Markup(
        heading=lambda text: f"<h2>{escape(text)}</h2>",
        verdict=lambda text: f'<p class="verdict">{escape(text)}</p>',
        text=lambda text: f"<p>{escape(text)}</p>",
        note=_note,
        notes=lambda notes: map(_note, notes),
        table=_render_table,
        most=None,
    )
    return "\n".join(parts(comparison, markup))


def _note(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>'


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
