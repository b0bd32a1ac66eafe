"""The report of layers, as the paper's Figure 5: classes, what bears and joins them, bits."""

from __future__ import annotations

from collections.abc import Sequence

from xbackend.comparison.activations import ActivationSummary
from xbackend.comparison.comparison import Comparison
from xbackend.comparison.findings import Isolation
from xbackend.comparison.layers import TapSummary
from xbackend.comparison.summary import Summary, summaries
from xbackend.facts.changes import change_facts

from .sections.tables import Table, taps_table, with_recorded
from .terminal import fitted, render_table, terminal_width, underlined, wrap
from .wording.formatting import DAGGER, RECORDING, emulation_note, format_number, heading, printable
from .wording.sentences import change_sentences

SHORT = {"activation": "act", "pooling": "pool", None: ""}
PARTLY, STAR, UNKNOWN = "~", "*", "?"
LEGEND = (
    "born: classes that the layer's own arithmetic adds, as runs whose inputs have the same bits "
    "get other outputs; joined: classes of its inputs that get the same bits again. Counts are the "
    "most on any sample, bits the least that all runs share. act and pool mark activations and "
    "pooling."
)
SIGNS = {
    PARTLY: "of some of the runs only, or with layers before it that were not recorded",
    UNKNOWN: "not known, as edges of the graph or the tensors that it reads are not",
    STAR: RECORDING,
}
DRAWN = "To draw it: --output figure.svg, .png or .pdf."


def render_taps(taps: Sequence[TapSummary]) -> str:
    """Lay out a row for each of some tensors, differing or not."""
    return render_table(taps_table(taps))


def render(comparison: Comparison) -> str:
    """Lay out a row for each tensor of each cohort, for the terminal's width."""
    width = terminal_width()
    found = [summary for summary in summaries(comparison) if summary.taps]
    if not found:
        return "No run gave outputs, so there is no layer to show.\n"
    parts = [_section(summary, comparison.isolations, width) for summary in found]
    return "\n\n".join([*parts, f"{wrap(LEGEND, width)}\n{DRAWN}"]) + "\n"


def _section(summary: Summary, isolations: Sequence[Isolation], width: int) -> str:
    table = layers_table(summary)
    lines = [*_signs_told(summary, table), *change_sentences(change_facts(summary, isolations))]
    text = fitted(table, width)
    return "\n\n".join(
        [underlined(heading(summary), width), text, "\n".join(wrap(line, width) for line in lines)]
    )


def layers_table(summary: Summary) -> Table:
    """Return a row for every tensor that was recorded."""
    headers = ("layer", "tap", "operator", "", "classes", "born", "joined", "bits")
    numeric = (True, False, False, False, True, True, True, True)
    table = Table(headers, tuple(map(_row, summary.taps)), numeric)
    return with_recorded(table, summary.taps, summary)


def _row(tap: TapSummary) -> tuple[str, ...]:
    return (
        format_number(tap.layer),
        printable(tap.tap) + (" (output)" if tap.is_output else ""),
        printable(tap.operator or "–"),
        SHORT[tap.kind],
        f"{tap.eqc_count}{trust_marks(tap)}",
        born_text(tap),
        _count_text(tap, tap.origin.collapsed),
        format_number(tap.metrics.remaining_precision),
    )


def trust_marks(tap: TapSummary | ActivationSummary) -> str:
    """Return what is to be said of a tensor before it is trusted."""
    return (STAR if tap.taps_not_neutral else "") + (DAGGER if tap.emulation_unsafe else "")


def born_text(tap: TapSummary) -> str:
    """Return how many classes a layer bears, no number for none."""
    return _count_text(tap, tap.origin.born) + (DAGGER if tap.origin.born_by_emulation else "")


def _count_text(tap: TapSummary, counted: int | None) -> str:
    if counted is None:
        return UNKNOWN
    return (str(counted) if counted else "") + (PARTLY if is_partial(tap) else "")


def is_partial(tap: TapSummary) -> bool:
    """Tell whether what a layer bears and joins is known of a part of it, or of some runs, only."""
    origin = tap.origin
    return bool(origin.through or origin.unknown or origin.compared_within_subgraphs)


def _signs_told(summary: Summary, table: Table) -> list[str]:
    """Return what the signs in the table mean, those that there are."""
    cells = "".join(cell for row in table.rows for cell in row[4:-1])
    found = [f"{sign} {meaning}" for sign, meaning in SIGNS.items() if sign in cells]
    operators = list(summary.emulation_doubt.operators)
    return [*found, *([emulation_note(operators)] if DAGGER in cells and operators else [])]
