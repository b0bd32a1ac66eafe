"""What `xbackend flags` does: which properties go with the classes, and which make them."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable, Container, Sequence
from typing import Any

from xbackend.ablation import Outcome, Removed, Verdict, ablate, switchable
from xbackend.errors import UsageError, XbackendError
from xbackend.execution import Means, carry_out
from xbackend.flags import FlagTable, flag_tables
from xbackend.plan import Order
from xbackend.platforms import parse_platform
from xbackend.platforms.emulated import probe
from xbackend.platforms.platform import find_command
from xbackend.reliance import in_words, is_unsafe, operators_of, parting
from xbackend.selection import Query, read_run, select

Record = dict[str, Any]


def correlate(options: argparse.Namespace, means: Means) -> int:
    """Print which properties of the platforms in the store go with the classes."""
    runs = select(means.store, Query(options.model, tuple(options.where or ())))
    tables = flag_tables(runs)
    if options.json:
        print(json.dumps({"schema_version": 1, "tables": [t.document() for t in tables]}))
        return 0
    for table in tables:
        print(_table_text(table))
    return 0


def _table_text(table: FlagTable) -> str:
    """Return a table of the paper's kind: a row for each cluster, a column for each class."""
    from tabulate import tabulate

    group = table.group
    title = f"{group['model']}, {group['precision']}, {group['backend']} {group['backend_version']}"
    lines = [f"{title}: {len(table.runs)} runs in {len(table.classes)} classes", ""]
    if table.emulated:
        lines[1:] = [_judged(table.emulated), ""]
    where = {run.id: _place(run.row) for run in table.runs}
    for number, ids in enumerate(table.classes, 1):
        names = list(dict.fromkeys(where[name] for name in ids))
        lines.append(f"  class {number}: {', '.join(names)}")
    numbers = range(1, len(table.classes) + 1)
    rows = [
        [
            _shorten(cluster.names),
            *(_mark(number, cluster.present, cluster.absent) for number in numbers),
            "yes" if cluster.splits else "",
            f"{cluster.ami:.2f}",
        ]
        for cluster in table.clusters
    ]
    if len(table.classes) == 1 or not rows:
        return "\n".join([*lines, "", "There is nothing for a property to tell apart.", ""])
    headers = ["always together", *map(str, numbers), "splits", "AMI"]
    return "\n".join([*lines, "", tabulate(rows, headers, disable_numparse=True), ""])


def _judged(operators: Sequence[str]) -> str:
    return (
        f"Judged by the layers that do not rest on emulated {in_words(operators)}, as the outputs "
        "do, whose bits are perhaps those of no real processor."
    )


def _place(row: Record) -> str:
    threads = row["settings"].get("threads", 1)
    return str(row["platform"]) if threads == 1 else f"{row['platform']} {threads} threads"


def _mark(number: int, present: Sequence[int], absent: Sequence[int]) -> str:
    """Return whether the runs of a class have a property: `x` all, `~` some, nothing none."""
    if number in present:
        return "~" if number in absent else "x"
    return ""


def _shorten(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def ablation(options: argparse.Namespace, order: Order, means: Means) -> int:
    """Switch flags of an emulated processor off and print which of them change the bits."""
    start = order.platforms[0]
    cpu = _processor(start)
    emulator = find_command("qemu-x86_64", start, "qemu-user")
    had = switchable(probe(emulator, cpu)["flags"])
    verdicts = {}
    for backend in order.backends or _backends():
        one = dataclasses.replace(order, backends=(backend,))
        verdicts[backend] = ablate(had, _attempts(one, start, means))
        if not options.json:
            print(_verdict_text(backend, start, verdicts[backend]), flush=True)
    if options.json:
        document = {name: verdict.document() for name, verdict in verdicts.items()}
        print(json.dumps({"schema_version": 1, "from": start, "backends": document}))
    return 0


def _backends() -> list[str]:
    from xbackend.registry import available_backends, backend

    return [word for word in available_backends() if backend(word).default_precision != "int8"]


def _processor(start: str) -> str:
    """Return the processor of a platform such as `qemu:Haswell`. Raises UsageError for others."""
    kind, _, cpu = start.partition(":")
    if kind != "qemu" or not cpu or "+python" in cpu:
        raise UsageError(
            f"Flags cannot be switched off on '{start}'. Start from an emulated processor, such "
            "as --from qemu:Haswell."
        )
    return cpu


def _attempts(
    order: Order, start: str, means: Means
) -> Callable[[Sequence[Removed]], list[Outcome]]:
    """Return what runs a backend without flags, compared with a run on the whole processor."""
    (whole,) = carry_out(dataclasses.replace(order, platforms=(start,)), means)
    if whole["status"] != "ok":
        raise XbackendError(f"On '{start}' itself the run failed: {whole['error']['message']}")

    def attempt(sets: Sequence[Removed]) -> list[Outcome]:
        specs = [start + "".join(f",-{flag}" for flag in sorted(removed)) for removed in sets]
        refused = {spec: why for spec in specs if (why := _refusal(spec))}
        legal = tuple(spec for spec in specs if spec not in refused)
        records = carry_out(dataclasses.replace(order, platforms=legal), means) if legal else []
        by_spec = {record["platform"]: record for record in records}
        return [
            Outcome("illegal", reason=refused[spec])
            if spec in refused
            else outcome(whole, by_spec[spec])
            for spec in specs
        ]

    return attempt


def _refusal(spec: str) -> str:
    """Return why an emulator does not take a processor; empty if it does."""
    try:
        parse_platform(spec)
    except UsageError as error:
        return str(error)
    return ""


def outcome(whole: Record, changed: Record) -> Outcome:
    """Return how a run differs from that on the whole processor.

    Where outputs come from emulated operators that are not faithful, only other tensors count.
    """
    if changed["status"] != "ok":
        return Outcome("illegal", reason=str(changed["error"]["message"]))
    runs = read_run(whole), read_run(changed)
    if any(map(is_unsafe, runs)):
        return _outcome(whole, parting(*runs), operators_of(runs))
    if _digests(whole, "outputs") == _digests(changed, "outputs"):
        return Outcome("same")
    return Outcome("changed", first_layer=_first_layer(whole, changed))


def _outcome(whole: Record, tap: str | None, emulated: tuple[str, ...]) -> Outcome:
    """Return a change at a tensor, none without one."""
    if tap is None:
        return Outcome("same", emulated=emulated)
    return Outcome("changed", first_layer=_place_of(whole, {tap}), emulated=emulated)


def _digests(record: Record, kind: str) -> list[tuple[str, str]]:
    return [(row["name"], row["digest"]) for result in record["results"] for row in result[kind]]


def _first_layer(whole: Record, changed: Record) -> Record | None:
    """Return the first tensor in graph order that has other bits in any sample."""
    pairs = zip(whole["results"], changed["results"], strict=True)
    differing = set()
    for one, other in pairs:
        here = {row["name"]: row["digest"] for row in [*one["taps"], *one["outputs"]]}
        there = {row["name"]: row["digest"] for row in [*other["taps"], *other["outputs"]]}
        differing |= {name for name in here.keys() & there.keys() if here[name] != there[name]}
    return _place_of(whole, differing)


def _place_of(whole: Record, taps: Container[str]) -> Record | None:
    """Return the first of some tensors in graph order: `tap`, `layer`, `operator`."""
    keys = ("tap", "layer", "operator")
    layers = ({key: row[key] for key in keys} for row in whole["layers"] if row["tap"] in taps)
    return next(layers, None)


def _verdict_text(backend: str, start: str, verdict: Verdict) -> str:
    """Return a table of what was switched off, and a sentence that names the causes."""
    from tabulate import tabulate

    rows = [
        [" ".join(trial.removed), trial.outcome.status, _detail(trial.outcome)]
        for trial in verdict.trials
    ]
    table = tabulate(rows, [f"{backend} on {start} without", "bits", "first at, or why not"])
    judged = f"{_judged(verdict.emulated)}\n" if verdict.emulated else ""
    return f"{judged}{table}\n\n{_sentence(backend, start, verdict)}\n"


def _detail(outcome: Outcome) -> str:
    if outcome.first_layer is not None:
        layer = outcome.first_layer
        return f"layer {layer['layer']} ({layer['operator']}, {layer['tap']})"
    return outcome.reason[:60]


def _sentence(backend: str, start: str, verdict: Verdict) -> str:
    if not verdict.causes:
        return f"{backend}: no flag of {start} that can be switched off changes a bit."
    sets = [" with ".join(cause.removed) for cause in verdict.causes]
    if len(sets) == 1:
        return f"{backend}: the bits of {start} rest on {sets[0]}."
    return f"{backend}: the bits of {start} change without any one of: {'; '.join(sets)}."
