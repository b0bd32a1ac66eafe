"""The report of activations and pooling, as the paper's SUP-8 and SUP-9: before and after each."""

from __future__ import annotations

from collections.abc import Sequence

from xbackend.comparison.activations import (
    ActivationComparison,
    ActivationSummary,
    ActivationTotal,
    activation_totals,
    activations,
    summarise_activations,
)
from xbackend.comparison.comparison import Comparison
from xbackend.store.cohort import Cohort

from .layers import STAR, trust_marks
from .sections.tables import Table
from .terminal import fitted, render_table, terminal_width, underlined, wrap
from .wording.formatting import (
    DAGGER,
    RECORDING,
    format_number,
    format_percent,
    pluralize,
    printable,
)

ARROW = "→"
LEGEND = (
    "Shares of elements whose bits deviate are means over the samples, bits are the least on any. "
    "Totals are layers, on average over the samples: how many leave more of the mantissa to all "
    "runs than they were given, as much, or less."
)
SIGNS = {
    STAR: RECORDING,
    DAGGER: "comes from emulated operators: perhaps the bits of no real processor",
}
DRAWN = "To draw it: --output figure.svg, .png or .pdf."


def render(comparison: Comparison) -> str:
    """Lay out a row for each activation and pooling layer, and totals for each operator."""
    width = terminal_width()
    parts = [_section(passages, width) for passages in by_section(activations(comparison))]
    if not parts:
        return "No run recorded an activation or a pooling layer, see xbackend run --taps.\n"
    return "\n\n".join([*parts, f"{wrap(LEGEND, width)}\n{DRAWN}"]) + "\n"


def by_section(passages: Sequence[ActivationComparison]) -> list[list[ActivationComparison]]:
    """Put passages of one cohort together."""
    found: dict[str, list[ActivationComparison]] = {}
    for passage in passages:
        found.setdefault(passage.tap.cohort.key, []).append(passage)
    return list(found.values())


def _section(passages: Sequence[ActivationComparison], width: int) -> str:
    changes = summarise_activations(passages)
    table = _layers(changes)
    cells = "".join(cell for row in table.rows for cell in row[2:])
    notes = [f"{sign} {meaning}" for sign, meaning in SIGNS.items() if sign in cells]
    left_out = len(dict.fromkeys(name for each in changes for name in each.left_out))
    if left_out:
        runs = pluralize(left_out, "run")
        notes.append(f"Left out where they did not record what a layer reads: {runs}.")
    parts = [underlined(title_of(passages), width), fitted(table, width)]
    parts += ["\n".join(wrap(note, width) for note in notes)] if notes else []
    return "\n\n".join([*parts, render_table(_totals(activation_totals(passages)))])


def title_of(passages: Sequence[ActivationComparison]) -> str:
    """Return what a cohort is about: `cifar10-small, float32, 3 inputs, 4 runs`."""
    cohort: Cohort = passages[0].tap.cohort
    group = cohort.group
    keys = [f"{key}={group[key]}" for key in group if key not in ("model_digest", "precision")]
    inputs = len({passage.tap.input for passage in passages})
    counts = [pluralize(inputs, "input"), pluralize(len(cohort.runs), "run")]
    return printable(", ".join([cohort.model, str(group["precision"]), *keys, *counts]))


def _layers(changes: Sequence[ActivationSummary]) -> Table:
    headers = ("layer", "tap", "operator", "deviating", "", "bits", "", "precision")
    numeric = (True, False, False, True, False, True, False, False)
    return Table(headers, tuple(map(_row, changes)), numeric)


def _row(change: ActivationSummary) -> tuple[str, ...]:
    tap, before, after = change.tap, change.before, change.after
    return (
        format_number(tap.layer),
        printable(tap.tap),
        f"{printable(tap.operator)}{trust_marks(change)}",
        format_percent(None if before is None else before.deviating_fraction),
        f"{ARROW} {format_percent(None if after is None else after.deviating_fraction)}",
        format_number(None if before is None else before.remaining_precision),
        f"{ARROW} {format_number(None if after is None else after.remaining_precision)}",
        change_text(change),
    )


def change_text(change: ActivationSummary) -> str:
    """Return what a layer does to the remaining precision: a word, or on how many samples what."""
    counts = {
        "increases": change.increases, "keeps": change.keeps,
        "decreases": change.decreases, "not known": change.unknown,
    }  # fmt: skip
    known = {word: times for word, times in counts.items() if times}
    if len(known) == 1:
        return next(iter(known))
    return ", ".join(f"{word} on {times}" for word, times in known.items())


def _totals(totals: Sequence[ActivationTotal]) -> Table:
    headers = (
        "layers by operator", "layers", "increase", "keep", "of them same bits", "decrease",
        "not known",
    )  # fmt: skip
    rows = tuple(
        (
            printable(total.operator),
            format_number(total.layers),
            *map(_mean, (total.increases, total.keeps, total.same_bits)),
            *map(_mean, (total.decreases, total.unknown)),
        )
        for total in totals
    )
    return Table(headers, rows, (False, *(True for _ in headers[1:])))


def _mean(value: float) -> str:
    return format_number(round(value, 2))
