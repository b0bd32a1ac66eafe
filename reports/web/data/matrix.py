"""Who agrees with whom: machines in rows, backends in columns, classes in cells."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xbackend.comparison.comparison import Comparison
from xbackend.comparison.machines import sort_key
from xbackend.comparison.summary import Summary
from xbackend.platforms.emulation_doubt import doubtful_run_ids
from xbackend.store.cohort import number_format
from xbackend.store.records import Run

from ...machines import name_device
from ...wording.formatting import DAGGER, printable

Record = dict[str, Any]
STOPPED = "✕"
"""In a cell of runs that failed."""
SKIPPED = "○"
"""In one of runs that were skipped."""
THREADS = "threads"
"""A setting that people choose, so that it is always told."""


@dataclass(frozen=True)
class Machine:
    """A row: where something ran."""

    platform: str
    vendor: str
    architecture: str
    cores: int | None
    device: str
    flags: tuple[str, ...]
    """What the processor is known to have."""


@dataclass(frozen=True)
class Column:
    """One backend of one cohort, with the settings that tell it from its neighbours."""

    cohort: int | None
    """Place of the cohort; None where none of its runs gave anything."""
    model: str
    precision: str
    """With what the converters were told."""
    backend: str
    version: str
    settings: str
    """Those that differ within the cohort: `graph=onnx`, empty for none."""
    threads: str


@dataclass(frozen=True)
class Cell:
    """What one backend gave on one machine."""

    runs: tuple[str, ...]
    """Ids."""
    classes: tuple[int, ...]
    """Numbers of the cohort's classes; several where repeats gave other bits."""
    first: bool
    """Whether it holds the first run of its class."""
    by_emulation: bool
    """Whether the class rests on emulated operators alone."""
    symptoms: tuple[str, ...]
    """How runs failed or why they were skipped."""
    skipped: bool
    """Whether that is all that they were."""

    @property
    def text(self) -> str:
        """What is shown: classes, with a dagger; a cross for what failed."""
        marks = DAGGER if self.by_emulation else ""
        numbers = "/".join(map(str, self.classes))
        stopped = (SKIPPED if self.skipped else STOPPED) if self.symptoms else ""
        return f"{numbers}{marks}{stopped}"

    @property
    def meaning(self) -> str:
        """The same in words, for who cannot see it."""
        said = []
        if self.classes:
            said.append(f"class {' and '.join(map(str, self.classes))}")
        if len(self.classes) > 1:
            said.append("not deterministic")
        if self.first:
            said.append("first of its class")
        if self.by_emulation:
            said.append("rests on emulation alone")
        if self.symptoms:
            what = "skipped" if self.skipped else "failed"
            said.append(f"{what}: {', '.join(map(printable, self.symptoms))}")
        return ", ".join(said)


@dataclass(frozen=True)
class Matrix:
    """All of it."""

    machines: tuple[Machine, ...]
    columns: tuple[Column, ...]
    cells: tuple[tuple[Cell | None, ...], ...]
    """A row for each machine; None where nothing was run."""

    def to_dict(self) -> Record:
        """Return what the page's script filters by."""
        flags = sorted({flag for machine in self.machines for flag in machine.flags})
        place = {flag: at for at, flag in enumerate(flags)}
        return {
            "flags": flags,
            "machines": [
                {
                    **{k: v for k, v in vars(machine).items() if k != "flags"},
                    "flags": [place[flag] for flag in machine.flags],
                }
                for machine in self.machines
            ],
            "columns": [vars(column) for column in self.columns],
            "cells": [
                [None if cell is None else [*cell.classes] for cell in row] for row in self.cells
            ],
        }


def matrix_of(comparison: Comparison, found: Sequence[Summary]) -> Matrix:
    """Lay the runs of a comparison out, those that failed and were skipped among them."""
    cohort_of = {run.id: at for at, each in enumerate(found) for run in each.cohort.runs}
    column_of = _columns(comparison.runs, cohort_of, found)
    columns = sorted(set(column_of.values()), key=_column_rank)
    rows: dict[str, list[Run]] = {}
    for run in comparison.runs:
        rows.setdefault(_machine_key(run), []).append(run)
    groups = sorted(rows.values(), key=_rank)
    tell = _Cells(found)
    return Matrix(
        machines=tuple(_machine(runs[0]) for runs in groups),
        columns=tuple(columns),
        cells=tuple(
            tuple(tell.cell([r for r in runs if column_of[r.id] == column]) for column in columns)
            for runs in groups
        ),
    )


def _machine_key(run: Run) -> str:
    hardware = run.row["hardware"]
    seen = [hardware.get(key) for key in ("vendor", "device", "cores")]
    return json.dumps([run.row["platform"], *seen])


def _rank(runs: Sequence[Run]) -> tuple[Any, ...]:
    row = runs[0].row
    return (*sort_key(row["hardware"]), str(row["platform"]), _machine_key(runs[0]))


def _machine(run: Run) -> Machine:
    hardware = run.row["hardware"]
    return Machine(
        platform=printable(run.row["platform"]),
        vendor=printable(hardware.get("vendor") or "–"),
        architecture=printable(hardware.get("microarchitecture") or "–"),
        cores=hardware.get("cores"),
        device=printable(name_device(hardware.get("device")) or "–"),
        flags=tuple(sorted(printable(flag) for flag in hardware.get("flags") or ())),
    )


def _columns(
    runs: Sequence[Run], cohort_of: Mapping[str, int], found: Sequence[Summary]
) -> dict[str, Column]:
    """Return the column of each run; a failed one stands with the cohort it would have been in."""
    homes: dict[str, int] = {}
    for at, each in enumerate(found):
        for run in each.cohort.runs:
            homes.setdefault(_subject(run), at)
    place = {run.id: cohort_of.get(run.id, homes.get(_subject(run))) for run in runs}
    versions: dict[tuple[int | None, str], str] = {}
    for run in runs:
        if run.row["backend_version"]:
            key = (place[run.id], str(run.row["backend"]))
            versions.setdefault(key, str(run.row["backend_version"]))
    varying = _varying(runs, place)
    return {run.id: _column(run, place[run.id], varying, versions, found) for run in runs}


def _subject(run: Run) -> str:
    """Return what runs of one cohort share, as far as one that failed can tell."""
    told = [run.row["model_digest"], run.row["precision"], run.row.get("conversion")]
    return json.dumps([*told, run.row.get("inputs_digest")])


def _varying(
    runs: Sequence[Run], place: Mapping[str, int | None]
) -> dict[tuple[int | None, str], list[str]]:
    """Return the settings in which the runs of a backend differ within a cohort."""
    values: dict[tuple[int | None, str], dict[str, set[str]]] = {}
    for run in runs:
        of = values.setdefault((place[run.id], str(run.row["backend"])), {})
        for key, value in run.row["settings"].items():
            of.setdefault(key, set()).add(_text(value))
    return {
        where: _telling(
            [key for key, seen in of.items() if len(seen) > 1],
            [run for run in runs if (place[run.id], str(run.row["backend"])) == where],
        )
        for where, of in values.items()
    }


def _telling(keys: Sequence[str], runs: Sequence[Run]) -> list[str]:
    """Return those of some settings without which runs of one machine would share a cell.

    A setting that a machine decides, such as an instruction set, needs no column of its own.
    """
    kept = list(keys)
    for key in keys:
        rest = [each for each in kept if each != key]
        if key != THREADS and _count(runs, rest) == _count(runs, kept):
            kept = rest
    return kept


def _count(runs: Iterable[Run], keys: Sequence[str]) -> int:
    """Count the cells that runs fill if they are told apart by some settings."""
    return len(
        {
            (_machine_key(run), *(_text(run.row["settings"].get(key)) for key in keys))
            for run in runs
        }
    )


def _column(
    run: Run,
    cohort: int | None,
    varying: Mapping[tuple[int | None, str], Sequence[str]],
    versions: Mapping[tuple[int | None, str], str],
    found: Sequence[Summary],
) -> Column:
    backend, settings = str(run.row["backend"]), run.row["settings"]
    shown = [key for key in varying[cohort, backend] if key in settings]
    version = run.row["backend_version"] or versions.get((cohort, backend))
    group = found[cohort].cohort.group if cohort is not None else {**run.row, **run.conversion}
    return Column(
        cohort=cohort,
        model=printable(run.row["model"]),
        precision=printable(number_format({**group, "precision": str(group["precision"])})),
        backend=printable(backend),
        version=printable(version or "?"),
        settings=printable(", ".join(f"{key}={_text(settings[key])}" for key in shown)),
        threads=printable(settings.get("threads", 1)),
    )


def _column_rank(column: Column) -> tuple[Any, ...]:
    known = column.cohort is None
    return (known, column.cohort or 0, column.backend, column.version, column.settings)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


class _Cells:
    """Tells what the runs of a cell gave."""

    def __init__(self, found: Sequence[Summary]) -> None:
        self.number = {
            name: place for each in found for place, ids in enumerate(each.eqcs, 1) for name in ids
        }
        self.first = {ids[0] for each in found for ids in each.eqcs}
        self.doubtful = {
            name for each in found for name in doubtful_run_ids(each.eqcs, each.emulation_doubt)
        }

    def cell(self, runs: Sequence[Run]) -> Cell | None:
        """Return the cell of some runs; None of none."""
        if not runs:
            return None
        ids = tuple(run.id for run in runs)
        stopped = [run for run in runs if not run.ok]
        symptoms = [str((run.row["error"] or {}).get("symptom", "?")) for run in stopped]
        numbers = {self.number[name] for name in ids if name in self.number}
        return Cell(
            runs=ids,
            classes=tuple(sorted(numbers)),
            first=bool(self.first & set(ids)),
            by_emulation=bool(self.doubtful & set(ids)),
            symptoms=tuple(dict.fromkeys(symptoms)),
            skipped=all(run.row["status"] == "skipped" for run in stopped),
        )
