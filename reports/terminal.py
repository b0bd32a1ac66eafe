"""The report for a terminal: who agrees with whom, at a glance, without colours."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Sequence

import tabulate as tabulate_module
from tabulate import tabulate

from xbackend.comparison.comparison import Comparison
from xbackend.comparison.findings import Certificate, Isolation
from xbackend.comparison.summary import Summary, summaries
from xbackend.facts.answer.distances import class_distances, first_labels
from xbackend.facts.answer.notable import Fold, NotableLayer, differing_layers, notable_layers
from xbackend.facts.answer.tolerance import tolerance
from xbackend.facts.certified import RoundingVerdict, cohort_certified
from xbackend.facts.changes import change_facts
from xbackend.facts.cohorts import facts_of
from xbackend.facts.next_commands import next_commands
from xbackend.store.records import Run

from .export import export_sentences
from .sections.accuracy import accuracy_sentences, accuracy_tables, find_reference_comparison
from .sections.certificates import (
    certificate_heading,
    certificate_sentences,
    certificate_table,
    meaning_sentence,
)
from .sections.glance import glance_table, notable_table
from .sections.isolation import isolation_heading, isolation_sentences, isolation_table
from .sections.tables import (
    MOST_LAYERS,
    STAR,
    Table,
    emulation_notes,
    has_starred_layers,
    has_too_many_rows,
    hidden_rows_note,
    runs_table,
    shows_layers,
    unsuccessful_table,
)
from .wording.cohort_text import notes, verdict
from .wording.formatting import UNSUCCESSFUL, heading, shorten
from .wording.headline import headline, tolerance_sentence, where_sentences
from .wording.names import short_names
from .wording.sentences import pair_sentence

NARROWEST = 40
"""Text is never wrapped to less. The table of layers needs 76 columns, and is cut for no less."""
PADDING = 0
"""What tabulate adds to a header that is longer than its column's cells."""
OUTPUT = " (output)"
"""Behind the name of an output, where there is room for it."""
MOST_NEXT = 3
"""So many commands are named, the most telling first; `explain` has all."""
CLASS_MEANS = "class: runs with the same number gave the same bits."
DISTANCES_MEAN = (
    "bits: identical leading mantissa bits, the least of any element; max |diff|: the largest "
    "distance of an element; relative: norm of the difference over the norm. Those of a run are "
    "from class 1, those of a layer between all runs."
)
TAP_MEANS = (
    "tap: the tensor that a layer gives, by its name in ONNX; deviating: share of its elements "
    "with other bits."
)


def render(comparison: Comparison, complete: bool = False) -> str:
    """Lay out a comparison for the terminal's width: COLUMNS, or 80 if there is none.

    All rows of runs and layers if `complete`, or those that matter.
    """
    width = terminal_width()
    found = summaries(comparison)
    parts = [_section(summary, comparison, width, complete) for summary in found]
    if comparison.unsuccessful:
        parts.append(_unsuccessful(comparison.unsuccessful, width))
    if comparison.samples:
        parts.append(wrap(_legend(found), width))
    parts += _pairs(comparison, width)
    parts += [_isolation(each, width) for each in comparison.isolations]
    parts += certificate_parts(comparison.certificates, width)
    return "\n\n".join(parts) + "\n"


def _legend(found: Sequence[Summary]) -> str:
    """Return what the numbers and words of the tables are, as far as they are there."""
    several = any(len(summary.eqcs) > 1 for summary in found)
    texts = [CLASS_MEANS, *([DISTANCES_MEAN] if several else [])]
    return " ".join([*texts, *([TAP_MEANS] if any(map(shows_layers, found)) else [])])


def _section(summary: Summary, comparison: Comparison, width: int, complete: bool) -> str:
    parts = [underlined(heading(summary), width), wrap(_answer(summary, comparison), width)]
    parts.append(_runs(summary, comparison, width, complete))
    parts += [] if complete else [wrap(text, width) for text in hidden_rows_note(summary)]
    parts += _where(summary, comparison, width)
    if shows_layers(summary):
        parts.append(_layers(summary, comparison, width, complete))
    parts += [wrap(text, width) for text in emulation_notes(summary)]
    said = [*export_sentences(comparison, summary), *(f"Note: {note}" for note in notes(summary))]
    if said:
        parts.append("\n".join(wrap(text, width) for text in said))
    parts += _accuracy(summary, comparison, width)
    parts += _next(summary, comparison, width)
    return "\n\n".join(parts)


def _answer(summary: Summary, comparison: Comparison) -> str:
    """Return the verdict in capitals, then in sentences, and a tolerance that holds."""
    certified = cohort_certified(comparison, summary.cohort)
    head = headline(facts_of(summary), certified, len(summary.emulation_doubt.classes))
    faulty = certified is not None and certified.verdict is RoundingVerdict.FAULT
    found = None if faulty else tolerance(summary, comparison.store)
    texts = [head, verdict(summary, comparison), "" if found is None else tolerance_sentence(found)]
    return " ".join(text for text in texts if text)


def _where(summary: Summary, comparison: Comparison, width: int) -> list[str]:
    changes = change_facts(summary, comparison.isolations)
    told = where_sentences(facts_of(summary), changes) if shows_layers(summary) else []
    return [hanging("WHERE", " ".join(told), width)] if told else []


def _next(summary: Summary, comparison: Comparison, width: int) -> list[str]:
    """Return the first of the commands that tell more, each on a line that can be copied."""
    found = next_commands(summary, facts_of(summary), comparison, {})[:MOST_NEXT]
    lines: list[str] = []
    for each in found:
        line = f"{each.purpose.value}: {each.command}"
        fits = len(line) + 7 <= width
        wrapped = command_lines(each.command, width - 9)
        lines += [line] if fits else [f"{each.purpose.value}:", *(f"  {one}" for one in wrapped)]
    head = "NEXT   "
    return (
        ["\n".join(f"{' ' * len(head) if n else head}{line}" for n, line in enumerate(lines))]
        if lines
        else []
    )


def _runs(summary: Summary, comparison: Comparison, width: int, complete: bool) -> str:
    if has_too_many_rows(summary) and not complete:
        table = runs_table(summary)
    else:
        store = comparison.store
        distances = class_distances(summary, store)
        table = glance_table(summary, distances, first_labels(summary, store), complete)
    if other_columns_width(table, 0) + NARROWEST // 2 > width:
        table = without_columns(table, ("labels", "relative"))
    return render_table(table, [max(12, width - other_columns_width(table, 0))])


def _layers(summary: Summary, comparison: Comparison, width: int, complete: bool) -> str:
    if complete:
        found: list[NotableLayer | Fold] = [
            NotableLayer(tap, ()) for tap in differing_layers(summary)
        ]
    else:
        found = notable_layers(summary, comparison.isolations, comparison.certificates)
    text = fitted(notable_table(summary, found, comparison.certificates), width)
    if any(isinstance(each, Fold) for each in found):
        text += "\n" + wrap("… layers that add less: 'xbackend compare --all' shows each.", width)
    return f"{text}\n{STAR}" if has_starred_layers(summary) else text


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
    plain = [row[1].removesuffix(OUTPUT) for row in table.rows]
    short = short_names(plain, room)
    names = [
        name + (OUTPUT if row[1].endswith(OUTPUT) and len(name) + len(OUTPUT) <= room else "")
        for name, row in zip(short, table.rows, strict=True)
    ]
    rows = tuple((row[0], name, *row[2:]) for row, name in zip(table.rows, names, strict=True))
    return render_table(Table(table.headers, rows, table.numeric))


def without_columns(table: Table, names: Sequence[str]) -> Table:
    """Return a table without the columns of some headers."""
    kept = [place for place, header in enumerate(table.headers) if header not in names]
    rows = tuple(tuple(row[place] for place in kept) for row in table.rows)
    headers = tuple(table.headers[place] for place in kept)
    return Table(headers, rows, tuple(table.numeric[place] for place in kept))


def command_lines(command: str, width: int) -> list[str]:
    """Break a command before its options, so that a shell takes the lines as one."""
    lines: list[str] = []
    for part in command.replace(" --", "\n--").split("\n"):
        if lines and len(lines[-1]) + 1 + len(part) <= width - 2:
            lines[-1] += f" {part}"
        else:
            lines.append(part if not lines else f"  {part}")
    return [f"{line} \\" for line in lines[:-1]] + lines[-1:]


def hanging(head: str, text: str, width: int) -> str:
    """Return a word, and a text beside it whose further lines are indented as far."""
    indent = " " * 7
    return textwrap.fill(
        text, width, initial_indent=f"{head:7}", subsequent_indent=indent, break_on_hyphens=False
    )


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
    before, tabulate_module.MIN_PADDING = tabulate_module.MIN_PADDING, PADDING
    try:
        return tabulate(
            table.rows,
            table.headers,
            tablefmt="simple",
            colalign=align,
            disable_numparse=True,
            maxcolwidths=limits,
        )
    finally:
        tabulate_module.MIN_PADDING = before


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
