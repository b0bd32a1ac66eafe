"""Lays out what a store holds, what was taken out of it, and what came into it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from xbackend.store.store import Store, store_option
from xbackend.store.upkeep.contents import ModelRuns, StoreContents
from xbackend.store.upkeep.merge import MergeResult
from xbackend.store.upkeep.prune import PrunePlan

from ..wording.formatting import pluralize, printable

KINDS = {
    "outputs": "outputs of runs",
    "inputs": "inputs of runs",
    "differing layers": "layers that runs have differently",
    "equal layers": "layers that all runs have alike",
    "unused tensors": "tensors of no run",
    "artifacts": "converted models",
    "unused artifacts": "converted models of no run",
    "samples": "given inputs",
    "records": "records",
    "logs": "what workers printed",
    "index": "the index",
    "reruns": "reruns of single layers",
    "other": "other files",
}
UNITS = ("bytes", "kB", "MB", "GB")


def bytes_text(count: float) -> str:
    """Return a number of bytes with a decimal unit.

    >>> bytes_text(999), bytes_text(2_345_678), bytes_text(45_000), bytes_text(1)
    ('999 bytes', '2.3 MB', '45 kB', '1 byte')
    """
    if count < 1000:
        return pluralize(int(count), "byte")
    power = 1 if count < 999_500 else 2 if count < 999_500_000 else 3
    value = count / 1000**power
    return f"{value:.1f} {UNITS[power]}" if value < 9.95 else f"{value:.0f} {UNITS[power]}"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    from tabulate import tabulate

    align = ["right" if head == "bytes" else "left" for head in heads]
    shown = [[printable(cell) for cell in row] for row in rows]
    text: str = tabulate(shown, heads, disable_numparse=True, colalign=align)
    return text


def render_contents(found: StoreContents) -> str:
    """Return the models and runs of a store, its bytes by kind, and what could go."""
    models = pluralize(len(found.models), "model")
    head = f"{found.folder}: {pluralize(found.runs, 'run')} of {models}, {bytes_text(found.size)}"
    parts = [head]
    if found.models:
        rows = [_model_row(each) for each in found.models]
        heads = ("model", "digest", "runs", "backends", "first made", "last made")
        parts.append(_table(heads, rows))
    sizes = [(KINDS[kind], bytes_text(size)) for kind, size in found.sizes.items() if size]
    if sizes:
        parts.append(_table(("what", "bytes"), sizes))
    parts += ["\n".join(map(printable, found.damaged))] if found.damaged else []
    return "\n\n".join([*parts, *_advice(found)])


def _model_row(each: ModelRuns) -> tuple[str, ...]:
    more = [f"{each.failed} failed"] if each.failed else []
    more += [f"{each.helpers} of commands' own"] if each.helpers else []
    runs = f"{each.runs} ({', '.join(more)})" if more else str(each.runs)
    words = ", ".join(each.backends)
    return each.model, each.digest[:8], runs, words, each.oldest[:10], each.newest[:10]


def _advice(found: StoreContents) -> list[str]:
    """Return which commands make the store smaller, and by how much where that is known."""
    option = store_option(Store(Path(found.folder)))
    unused = found.sizes["unused tensors"] + found.sizes["unused artifacts"]
    lines = []
    if unused:
        lines.append(f"xbackend store prune{option}: frees {bytes_text(unused)} that no run needs")
    equal = found.sizes["equal layers"]
    if equal:
        what = f"frees {bytes_text(equal + unused)}: {KINDS['equal layers']}, too"
        lines.append(f"xbackend store prune --keep differing{option}: {what}")
    return ["\n".join(lines)] if lines else []


def render_pruning(plan: PrunePlan, folder: Path, done: bool) -> str:
    """Return what went out of a store, or what would go."""
    if plan.empty:
        return f"Nothing goes: all that {folder} holds is wanted."
    rows = [
        (pluralize(len(plan.runs), "run"), "") if plan.runs else None,
        _files(plan.tensors, "tensor"),
        _files(plan.artifacts, "converted model"),
        (KINDS["reruns"], bytes_text(sum(plan.reruns.values()))) if plan.reruns else None,
        (pluralize(len(plan.small), "small file"), "") if plan.small else None,
    ]
    word = "taken out" if done else "would go"
    lines = [_table((word, "bytes"), [row for row in rows if row])]
    if plan.shortened:
        kept = "those that differ" if plan.keep == "differing" else "none"
        runs = pluralize(len(plan.shortened), "run")
        lines.append(
            f"Of the layers of {runs} the store {'keeps' if done else 'would keep'} {kept}; their "
            "digests stay, so classes are known as before. To certify, isolate or hold them "
            "against float64, repeat them with --fresh."
        )
    if not done:
        lines.append("Nothing was changed. Add --yes to do it.")
    return "\n\n".join(lines)


def _files(files: dict[Path, int], name: str) -> tuple[str, str] | None:
    return (pluralize(len(files), name), bytes_text(sum(files.values()))) if files else None


def render_merge(result: MergeResult, folder: Path) -> str:
    """Return how many runs came into a store, and what was refused."""
    lines = list(map(printable, result.refused))
    parts = [f"{pluralize(len(result.added), 'run')} added to {folder}"]
    count = len(result.present)
    parts += [f"{count} {'was' if count == 1 else 'were'} there already"] if count else []
    parts += [f"{len(result.refused)} refused"] if result.refused else []
    then = f"next: xbackend compare{store_option(Store(folder))}" if result.added else ""
    return "\n".join([*lines, "; ".join(filter(None, [", ".join(parts), then]))])


def render_export(size: int, path: Path) -> str:
    """Return where a bundle lies, and how to take it in."""
    return f"{path} written, {bytes_text(size)}; there: xbackend store import {path}"
