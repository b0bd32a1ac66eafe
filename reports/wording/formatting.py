"""How reports put names, numbers and verdicts into words: one place for all formats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from xbackend.platforms.emulation_doubt import join_names

if TYPE_CHECKING:
    from xbackend.comparison.comparison import TapComparison
    from xbackend.comparison.layers import TapSummary
    from xbackend.comparison.summary import RunGroup, Summary
    from xbackend.store.records import Run

DAGGER = "†"
"""After the number of a class, or of classes of a layer, that emulation may have made."""

RECORDING = "with layers of runs whose bits the recording changed"
"""What a star beside a layer means."""

UNSUCCESSFUL = "Runs that gave nothing to compare"


def printable(text: object) -> str:
    r"""Return text with what would move a cursor or change a colour written out.

    Names come from models, which may hold anything.

    >>> printable("a\x1b[31mb\n")
    'a\\x1b[31mb\\n'
    """
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in str(text))


def shorten(text: str, width: int) -> str:
    """Take out the middle of a text that is too long, as names differ at both ends.

    >>> shorten("block1/conv2/kernel", 11)
    'block…ernel'
    """
    if len(text) <= width:
        return text
    head = (width - 1) // 2
    return f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"


def heading(summary: Summary) -> str:
    """Return what a cohort is about: model, precision, further keys, inputs, runs.

    `cifar10-small, float32, 3 inputs, 4 runs`.
    """
    group = summary.cohort.group
    precision = f"{group['precision']}{_other_format(summary)}"
    keys = [f"{key}={group[key]}" for key in group if key not in ("model_digest", "precision")]
    parts = [summary.cohort.model, precision, *keys]
    parts += [pluralize(len(summary.inputs), "input"), pluralize(summary.run_count, "run")]
    told = f" ({summary.told_apart})" if summary.told_apart else ""
    return printable(f"{', '.join(parts)}{told}")


def _other_format(summary: Summary) -> str:
    """Return the format of outputs where float32, which leaves a model as it is, is another."""
    if summary.cohort.group["precision"] != "float32":
        return ""
    dtypes = {output.dtype for sample in summary.samples for output in sample.outputs}
    others = sorted(each for each in dtypes if "float" in each and each != "float32")
    return f" (outputs in {join_names(others)})" if others else ""


def emulation_note(operators: Sequence[str]) -> str:
    """Return what a dagger means."""
    found = printable(join_names(operators))
    return f"{DAGGER} comes from emulated {found}: perhaps the bits of no real processor"


def pluralize(number: int, noun: str) -> str:
    """Return a number with its noun.

    >>> pluralize(1, "run"), pluralize(2, "class")
    ('1 run', '2 classes')
    """
    plural = "es" if noun.endswith("s") else "s"
    return f"{number} {noun}{plural if number != 1 else ''}"


def name_row(row: RunGroup, platform: bool = True) -> str:
    """Return what a row of runs is called: `torch 2.13.0, native, threads=2 ×3`."""
    where = [row.platform] if platform else []
    name = ", ".join([f"{row.backend} {row.version}", *where, *row.distinguishing])
    return printable(f"{name} ×{len(row.ids)}" if len(row.ids) > 1 else name)


def name_run(run: Run) -> str:
    """Return what a run that stopped is called."""
    row = run.row
    threads = row["settings"].get("threads", 1)
    name = f"{row['backend']} {row['precision']}, {row['platform']}"
    return printable(name if threads == 1 else f"{name}, threads={threads}")


def format_number(value: float | None) -> str:
    """Return a number in at most nine characters, a dash for none.

    >>> (
    ...     format_number(92),
    ...     format_number(4294967295),
    ...     format_number(8.344650268554688e-07),
    ...     format_number(None),
    ... )
    ('92', '4.29e+09', '8.34e-07', '–')
    """
    if value is None:
        return "–"
    whole = value == int(value) and abs(value) < 1_000_000
    return str(int(value)) if whole else f"{value:.3g}"


def format_percent(share: float | None) -> str:
    """Return a share of the elements; never 0 or 100 for what is not.

    >>> (
    ...     format_percent(0.5),
    ...     format_percent(0.00001),
    ...     format_percent(0.99999),
    ...     format_percent(1.0),
    ...     format_percent(None),
    ... )
    ('50.0 %', '<0.1 %', '>99.9 %', '100 %', '–')
    """
    if share is None:
        return "–"
    if share in (0, 1):
        return f"{int(share * 100)} %"
    if share < 0.001:
        return "<0.1 %"
    return ">99.9 %" if share > 0.999 else f"{100 * share:.1f} %"


def name_tap(tap: TapComparison | TapSummary) -> str:
    """Return where a tensor is in the graph: `layer 3 (Conv, tap 'conv1')`."""
    name = printable(tap.tap)
    if tap.layer is None:
        return f"tap '{name}'"
    return f"layer {tap.layer} ({printable(tap.operator)}, tap '{name}')"


def failure_cells(run: Run) -> Sequence[str]:
    """Return why a run gave nothing: stage, symptom, message."""
    error = run.row["error"] or {}
    return [printable(error.get(key, "?")) for key in ("stage", "symptom", "message")]
