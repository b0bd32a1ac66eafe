"""Classes over platforms and numbers of threads: the paper's Figure 2, from any store."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from xbackend.errors import UsageError
from xbackend.numerics.metrics import equivalence_classes
from xbackend.store.records import Run

Record = dict[str, Any]

Bits = tuple[str, ...]
"""Digests of what a run gave for all samples."""


@dataclass(frozen=True)
class ThreadCell:
    """The runs of one platform with one number of threads."""

    threads: int
    classes: tuple[int, ...]
    """From 1; more than one where repeats gave other bits, none where nothing was computed."""
    runs: tuple[str, ...]
    """Ids, those that failed among them."""
    symptoms: tuple[str, ...]
    """How runs failed: `SIGILL`, `timeout`."""
    oversubscribed: bool
    """Whether there are more threads than cores."""
    unsafe: bool = False
    """Whether an emulator computed what is classed, perhaps unlike a real processor."""


@dataclass(frozen=True)
class ThreadRow:
    """The runs of one backend on one platform."""

    backend: str
    version: str | None
    platform: str
    device: str | None
    """The processor as the worker saw it; None where no worker got so far."""
    cores: int | None
    """How many cores the worker could use."""
    settings: Record
    """Those but threads that differ between the rows of the table."""
    cells: tuple[ThreadCell, ...]
    """One for each number of threads that was run, ascending."""

    def cell(self, threads: int) -> ThreadCell | None:
        """Return what was run with that number of threads, None if nothing was."""
        return next((cell for cell in self.cells if cell.threads == threads), None)

    @property
    def classes(self) -> set[int]:
        """The classes over all numbers of threads."""
        return {number for cell in self.cells for number in cell.classes}


@dataclass(frozen=True)
class ThreadTable:
    """All runs of one model in one precision on one set of inputs."""

    group: Record
    """`model`, `model_digest`, `precision`, `inputs_digest`, and `conversion` where converters were
    told something."""
    tap: str | None
    """The tensor that is classed; None for the outputs."""
    classes: tuple[tuple[str, ...], ...]
    """Run ids by class of all outputs of all samples, in order of first appearance."""
    threads: tuple[int, ...]
    """All numbers of threads, ascending."""
    rows: tuple[ThreadRow, ...]

    def to_dict(self) -> Record:
        """Return JSON values."""
        return {
            "group": self.group,
            "tap": self.tap,
            "threads": list(self.threads),
            "eqcs": [list(ids) for ids in self.classes],
            "eqc_count": len(self.classes),
            "rows": [
                {
                    **vars(row),
                    "cells": [
                        {key: _listed(value) for key, value in vars(cell).items()}
                        for cell in row.cells
                    ],
                }
                for row in self.rows
            ],
        }


def _listed(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def thread_tables(runs: Iterable[Run], tap: str | None = None) -> list[ThreadTable]:
    """Return a table for each model, precision and set of inputs, from records alone.

    Skipped runs are left out. Raises UsageError where no run has the tap.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        if run.ok or run.row["status"] == "failed":
            key = json.dumps([_group(run), run.inputs_digest], sort_keys=True)
            groups.setdefault(key, []).append(run)
    tables = [_table(found, tap) for found in groups.values()]
    if tap is not None and not any(table.classes for table in tables):
        raise UsageError(f"No run has the tap '{tap}'. Record it with: xbackend run --taps '{tap}'")
    return tables


def _group(run: Run) -> Record:
    keys = ("model", "model_digest", "precision")
    return {**{key: run.row[key] for key in keys}, **run.conversion}


def _table(runs: Sequence[Run], tap: str | None) -> ThreadTable:
    bits = {run.id: _bits(run, tap) for run in runs}
    known = [run.id for run in runs if bits[run.id] is not None]
    found = [
        tuple(known[p] for p in places)
        for places in equivalence_classes([bits[name] for name in known])
    ]
    number = {name: place for place, ids in enumerate(found, 1) for name in ids}
    places: dict[str, list[Run]] = {}
    for run in runs:
        places.setdefault(json.dumps(_place(run), sort_keys=True), []).append(run)
    varying = _varying(runs)
    return ThreadTable(
        group={**_group(runs[0]), "inputs_digest": runs[0].inputs_digest},
        tap=tap,
        classes=tuple(found),
        threads=tuple(sorted({_threads(run) for run in runs})),
        rows=tuple(_row(each, number, varying, tap) for each in places.values()),
    )


def _bits(run: Run, tap: str | None) -> Bits | None:
    """Return the digests that decide a run's class, None where it has none."""
    if not run.ok:
        return None
    if tap is None:
        return tuple(row["digest"] for result in run.results for row in result["outputs"])
    found = [_tapped(result, tap) for result in run.results]
    return None if None in found else tuple(str(digest) for digest in found)


def _tapped(result: Record, tap: str) -> str | None:
    rows = [*result["outputs"], *result["taps"]]
    return next((str(row["digest"]) for row in rows if row["name"] == tap), None)


def _threads(run: Run) -> int:
    return int(run.row["settings"].get("threads") or 1)


def _place(run: Run) -> list[Any]:
    """Return what tells a row from another."""
    hardware = run.row["hardware"]
    settings = {key: value for key, value in run.row["settings"].items() if key != "threads"}
    keys = (run.row["backend"], run.row["backend_version"], run.row["platform"])
    return [*keys, hardware.get("device"), hardware.get("cores"), settings]


def _varying(runs: Sequence[Run]) -> dict[str, set[str]]:
    """Return for each backend the settings in which its runs differ."""
    values: dict[tuple[str, str], set[str]] = {}
    for run in runs:
        for key, value in run.row["settings"].items():
            values.setdefault((run.row["backend"], key), set()).add(json.dumps(value))
    found: dict[str, set[str]] = {}
    for (backend, key), seen in values.items():
        if len(seen) > 1 and key != "threads":
            found.setdefault(backend, set()).add(key)
    return found


def _row(
    runs: Sequence[Run], number: dict[str, int], varying: dict[str, set[str]], tap: str | None
) -> ThreadRow:
    row, hardware = runs[0].row, runs[0].row["hardware"]
    shown = varying.get(row["backend"], set())
    by_threads: dict[int, list[Run]] = {}
    for run in runs:
        by_threads.setdefault(_threads(run), []).append(run)
    return ThreadRow(
        backend=row["backend"],
        version=row["backend_version"],
        platform=row["platform"],
        device=hardware.get("device"),
        cores=hardware.get("cores"),
        settings={key: value for key, value in row["settings"].items() if key in shown},
        cells=tuple(_cell(n, by_threads[n], number, tap) for n in sorted(by_threads)),
    )


def _cell(threads: int, runs: Sequence[Run], number: dict[str, int], tap: str | None) -> ThreadCell:
    failed = [run.row["error"] or {} for run in runs if not run.ok]
    cores = runs[0].row["hardware"].get("cores")
    return ThreadCell(
        threads=threads,
        classes=tuple(sorted({number[run.id] for run in runs if run.id in number})),
        runs=tuple(run.id for run in runs),
        symptoms=tuple(dict.fromkeys(str(error.get("symptom", "failed")) for error in failed)),
        oversubscribed=cores is not None and threads > cores,
        unsafe=any(_is_unsafe(run, tap) for run in runs),
    )


def _is_unsafe(run: Run, tap: str | None) -> bool:
    outputs = {row["name"] for result in run.results for row in result["outputs"]}
    return bool(run.emulation_unsafe & (outputs if tap is None else {tap}))
