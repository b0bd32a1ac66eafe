"""The report for a terminal: who agrees with whom, at a glance, without colours."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Sequence

from tabulate import tabulate

from xbackend.comparison.comparison import Comparison
from xbackend.comparison.findings import Certificate, Isolation
from xbackend.comparison.summary import Summary, summaries
from xbackend.store.records import Run

from .export import export_sentences
from .sections.accuracy import accuracy_sentences, accuracy_tables, find_reference_comparison
from .sections.certificates import (
    certificate_heading,
    certificate_sentences,
    certificate_table,
    meaning_sentence,
)
from .sections.isolation import isolation_heading, isolation_sentences, isolation_table
from .sections.tables import (
    MOST_LAYERS,
    STAR,
    Table,
    emulation_notes,
    has_starred_layers,
    hidden_rows_note,
    layer_table,
    runs_table,
    shows_layers,
    unsuccessful_table,
)
from .wording.cohort_text import notes, verdict
from .wording.formatting import UNSUCCESSFUL, heading, shorten
from .wording.sentences import pair_sentence

NARROWEST = 40
"""Text is never wrapped to less. The table of layers needs 76 columns, and is cut for no less."""
PADDING = 2
"""What tabulate adds to a header that is longer than its column's cells."""
LEGEND = (
    "The numbers under the inputs are classes: runs with the same number gave the same bits. "
    "Bits are identical leading mantissa bits: of a run with class 1, of a layer between all runs."
)


def render(comparison: Comparison) -> str:
    """Lay out a comparison for the terminal's width: COLUMNS, or 80 if there is none."""
    width = terminal_width()
    parts = [_section(summary, comparison, width) for summary in summaries(comparison)]
    if comparison.unsuccessful:
        parts.append(_unsuccessful(comparison.unsuccessful, width))
    if comparison.samples:
        parts.append(wrap(LEGEND, width))
    parts += _pairs(comparison, width)
    parts += [_isolation(found, width) for found in comparison.isolations]
    parts += certificate_parts(comparison.certificates, width)
    return "\n\n".join(parts) + "\n"


def _section(summary: Summary, comparison: Comparison, width: int) -> str:
    parts = [underlined(heading(summary), width), wrap(verdict(summary, comparison), width)]
    parts.append(_agreement(summary, width))
    parts += [wrap(text, width) for text in hidden_rows_note(summary)]
    if shows_layers(summary):
        parts.append(_layers(summary, width))
    parts += [wrap(text, width) for text in emulation_notes(summary)]
    said = [*export_sentences(comparison, summary), *(f"Note: {note}" for note in notes(summary))]
    if said:
        parts.append("\n".join(wrap(text, width) for text in said))
    parts += _accuracy(summary, comparison, width)
    return "\n\n".join(parts)


def _accuracy(summary: Summary, comparison: Comparison, width: int) -> list[str]:
    found = find_reference_comparison(comparison, summary)
    if found is None:
        return []
    runs, layers = accuracy_tables(summary, found, MOST_LAYERS)
    return [
        render_table(runs, [None, max(12, width - other_columns_width(runs, 1))]),
        fitted(layers, width),
        "\n".join(wrap(text, width) for text in accuracy_sentences(summary, found)),
    ]


def _isolation(found: Isolation, width: int) -> str:
    table, hidden = isolation_table(found, MOST_LAYERS)
    parts = _titled(isolation_heading(found), table, width)
    more = f"… and {hidden} more that deviate: 'xbackend compare --format csv' lists all."
    parts += [wrap(more, width)] if hidden else []
    return "\n\n".join([*parts, *(wrap(text, width) for text in isolation_sentences(found))])


def _pairs(comparison: Comparison, width: int) -> list[str]:
    """Return a sentence for each pair of classes that was measured, the first of many."""
    lines = [wrap(pair_sentence(each), width) for each in comparison.pairs[:MOST_LAYERS]]
    more = len(comparison.pairs) - MOST_LAYERS
    if more > 0:
        lines.append(f"… and {more} more pairs: 'xbackend compare --metrics all --format json'.")
    return ["\n".join(lines)] if lines else []


def certificate_parts(certificates: Sequence[Certificate], width: int) -> list[str]:
    """Lay out each run's certificate, and what the numbers are."""
    parts = [_certificate(found, width) for found in certificates]
    return [*parts, wrap(meaning_sentence(certificates), width)] if certificates else []


def _certificate(found: Certificate, width: int) -> str:
    table, hidden = certificate_table(found, MOST_LAYERS)
    parts = _titled(certificate_heading(found), table, width)
    more = f"… and {hidden} more: 'xbackend compare --certify --format json' has all."
    parts += [wrap(more, width)] if hidden else []
    return "\n\n".join([*parts, *(wrap(text, width) for text in certificate_sentences(found))])


def _titled(title: str, table: Table, width: int) -> list[str]:
    """Return a title, and the table below it if that has rows."""
    head = wrap(title, width) + "\n" + "-" * min(len(title), width)
    return [head, fitted(table, width)] if table.rows else [head]


def _agreement(summary: Summary, width: int) -> str:
    table = runs_table(summary)
    if other_columns_width(table, 0) + NARROWEST // 2 > width:
        table = runs_table(summary, by_input=False)
    return render_table(table, [max(12, width - other_columns_width(table, 0))])


def _layers(summary: Summary, width: int) -> str:
    table, hidden = layer_table(summary)
    text = fitted(table, width)
    if hidden:
        more = f"… and {hidden} more that differ: 'xbackend compare --format csv' lists all."
        text += "\n" + wrap(more, width)
    return f"{text}\n{STAR}" if has_starred_layers(summary) else text


def terminal_width() -> int:
    """Return the columns to lay out for."""
    return max(NARROWEST, shutil.get_terminal_size((80, 24)).columns)


def underlined(title: str, width: int) -> str:
    """Return the title of a section, shortened to the width."""
    title = shorten(title, width)
    return f"{title}\n{'=' * len(title)}"


def fitted(table: Table, width: int) -> str:
    """Lay out a table whose second column is shortened to what the others leave it."""
    room = max(12, width - other_columns_width(table, 1))
    rows = tuple((row[0], shorten(row[1], room), *row[2:]) for row in table.rows)
    return render_table(Table(table.headers, rows, table.numeric))


def other_columns_width(table: Table, column: int) -> int:
    """Return the columns of the terminal that all but one column of the table takes."""
    widths = [
        max(len(cells[0]) + PADDING, *(len(cell) for cell in cells[1:]))
        for place, cells in enumerate(zip(table.headers, *table.rows, strict=True))
        if place != column
    ]
    return sum(widths) + 2 * len(widths)


def render_table(table: Table, widths: Sequence[int | None] = ()) -> str:
    """Lay out a table, its first columns wrapped to widths if these are given."""
    align = ["right" if numeric else "left" for numeric in table.numeric]
    limits = [*widths, *[None] * (len(table.headers) - len(widths))] if widths else None
    return tabulate(
        table.rows,
        table.headers,
        tablefmt="simple",
        colalign=align,
        disable_numparse=True,
        maxcolwidths=limits,
    )


def _unsuccessful(runs: Iterable[Run], width: int) -> str:
    table = unsuccessful_table(list(runs))
    lines = [
        wrap(f"{status}: {name} at stage {stage} ({symptom}): {message}", width)
        for name, status, stage, symptom, message in table.rows
    ]
    return "\n".join([f"{UNSUCCESSFUL}:", *lines])


def wrap(text: str, width: int) -> str:
    """Break a text into lines, all but the first one indented."""
    return textwrap.fill(text, width, subsequent_indent="  ", break_on_hyphens=False)
