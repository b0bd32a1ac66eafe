"""The report for a pull request or a wiki: GitHub's Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from xbackend.comparison.comparison import Comparison

from .sections.page import Markup, parts
from .sections.tables import MOST_LAYERS, Table


def render(comparison: Comparison) -> str:
    """Lay out a comparison as Markdown, with every name escaped."""
    markup = Markup(
        heading=lambda text: f"## {escape(text)}",
        verdict=lambda text: f"**{escape(text)}**",
        text=escape,
        note=escape,
        notes=_listed,
        table=_render_table,
        most=MOST_LAYERS,
    )
    return "\n\n".join(parts(comparison, markup)) + "\n"


def _listed(notes: Sequence[str]) -> Iterable[str]:
    return ["\n".join(f"* {escape(note)}" for note in notes)]


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
