"""The tables of a comparison in HTML: for a notebook, and for the page of `reports/web`."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from xbackend.comparison.comparison import Comparison

from .sections.page import Markup, parts
from .sections.tables import Table


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
