"""Machines in rows, models and samples in columns, classes in cells: the paper's SUP-1 and SUP-2.

Classes are numbered anew in each column, in the order of the rows: by vendor, then
microarchitecture, then cores. Only a machine's first run is numbered; where a repeat of it gave
other bits, the cell says so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from xbackend.comparison.comparison import Comparison, SampleComparison
from xbackend.platforms.emulation_doubt import doubtful_run_ids
from xbackend.store.records import Run

Record = dict[str, Any]

CHRONOLOGY = (
    "Nehalem", "Westmere", "Sandy Bridge", "Ivy Bridge", "Haswell", "Broadwell", "Skylake",
    "Kaby Lake", "Coffee Lake", "Cascade Lake", "Cooper Lake", "Ice Lake", "Tiger Lake",
    "Alder Lake", "Sapphire Rapids", "Emerald Rapids", "Granite Rapids",
    "Bulldozer", "Piledriver", "Steamroller", "Excavator",
    "Zen", "Zen 2", "Zen 3", "Zen 4", "Zen 5",
    "Kepler", "Maxwell", "Pascal", "Volta", "Turing", "Ampere", "Ada", "Hopper", "Blackwell",
    "Cortex-A53", "Cortex-A57", "Cortex-A72", "Cortex-A76", "Neoverse N1", "Neoverse V1",
    "Neoverse N2", "Neoverse V2",
)  # fmt: skip
"""Microarchitectures as they appeared, one maker after the other."""

Key = tuple[str, int, str, int]


def sort_key(hardware: Mapping[str, Any]) -> Key:
    """Return what machines are sorted by; what is not known comes last.

    >>> sort_key({"vendor": "AMD", "microarchitecture": "Zen 2", "cores": 4})
    ('amd', 23, 'Zen 2', 4)
    """
    name = str(hardware.get("microarchitecture") or "unknown")
    cores = hardware.get("cores")
    return (
        str(hardware.get("vendor") or "unknown").lower(),
        _age(name),
        name,
        cores if isinstance(cores, int) else 9999,
    )


def _age(name: str) -> int:
    """Return the place of a name, `Skylake without AVX-512` beside `Skylake`."""
    plain = name.partition(" without ")[0]
    return CHRONOLOGY.index(plain) + 1 if plain in CHRONOLOGY else 99


@dataclass(frozen=True)
class SampleColumn:
    """One sample of one model in one precision."""

    model: str
    precision: str
    keys: Record
    """Further keys that the comparison was asked to group by."""
    input: str
    sample: SampleComparison

    @property
    def cohort(self) -> str:
        """What the samples of one cohort share."""
        return self.sample.cohort.key


@dataclass(frozen=True)
class MachineCell:
    """What a machine gave for one sample."""

    number: int
    """The class of its first run, from 1 in the order of the rows."""
    deterministic: bool
    """Whether all of its runs gave the same bits."""
    new: bool
    """Whether the class is first seen in this row."""
    by_emulation: bool = False
    """Whether the class rests on emulated operators alone."""


@dataclass(frozen=True)
class CumulativeCurve:
    """How many classes have been seen from the first machine on: the paper's Figure 1."""

    columns: tuple[SampleColumn, ...]
    """Samples of one cohort whose counts are the same at every machine."""
    counts: tuple[int | None, ...]
    """One for each row; None for a machine that did not run the sample."""


@dataclass(frozen=True)
class MachineRow:
    """What one backend with one set of settings gave on one machine."""

    run: Run
    """The first of its runs."""
    cells: tuple[MachineCell | None, ...]
    """One for each column, None where it did not run."""


@dataclass(frozen=True)
class MachineTable:
    """All machines of a comparison."""

    columns: tuple[SampleColumn, ...]
    rows: tuple[MachineRow, ...]

    def class_count(self, column: int) -> int:
        """Count the classes of a column."""
        return sum(cell is not None and cell.new for cell in self.cells(column))

    def cells(self, column: int) -> tuple[MachineCell | None, ...]:
        """Return the cells of a column."""
        return tuple(row.cells[column] for row in self.rows)

    def curves(self) -> tuple[CumulativeCurve, ...]:
        """Return the cumulative number of classes for each cohort, more where samples differ."""
        found: dict[tuple[Any, ...], list[SampleColumn]] = {}
        for at, column in enumerate(self.columns):
            found.setdefault((column.cohort, self._counts(at)), []).append(column)
        return tuple(
            CumulativeCurve(tuple(columns), counts) for (_, counts), columns in found.items()
        )

    def _counts(self, column: int) -> tuple[int | None, ...]:
        seen = accumulate(cell is not None and cell.new for cell in self.cells(column))
        pairs = zip(seen, self.cells(column), strict=True)
        return tuple(None if cell is None else int(count) for count, cell in pairs)


def machine_table(comparison: Comparison) -> MachineTable:
    """Lay the runs of a comparison out by machines and samples."""
    columns = tuple(map(_column, comparison.samples))
    machines: dict[str, list[Run]] = {}
    for run in comparison.runs:
        if run.ok:
            machines.setdefault(_identity(run), []).append(run)
    groups = sorted(machines.values(), key=_rank)
    by_column = [_column_cells(column.sample, groups) for column in columns]
    cells = list(zip(*by_column, strict=True)) or [() for _ in groups]
    rows = tuple(
        MachineRow(_representative(runs), mine) for runs, mine in zip(groups, cells, strict=True)
    )
    return MachineTable(columns, rows)


def _column(sample: SampleComparison) -> SampleColumn:
    group = sample.cohort.group
    keys = {key: group[key] for key in group if key not in ("model_digest", "precision")}
    return SampleColumn(sample.cohort.model, str(group["precision"]), keys, sample.input, sample)


def _identity(run: Run) -> str:
    """Return what the runs of a row share."""
    hardware = run.row["hardware"]
    machine = [hardware.get(key) for key in ("vendor", "device", "cores")]
    keys = ("platform", "backend", "backend_version", "settings")
    return json.dumps([machine, *(run.row[key] for key in keys)], sort_keys=True)


def _rank(runs: Sequence[Run]) -> tuple[Any, ...]:
    first = runs[0].row
    return (*sort_key(first["hardware"]), str(first["platform"]), _identity(runs[0]))


def _representative(runs: Sequence[Run]) -> Run:
    """Return the run that tells most of the machine: some files lack the memory."""
    return next((run for run in runs if run.row["hardware"]["memory_bytes"]), runs[0])


def _column_cells(
    sample: SampleComparison, groups: Sequence[Sequence[Run]]
) -> list[MachineCell | None]:
    """Return the cells of a sample, its classes numbered in the order of the rows."""
    place = {name: at for at, ids in enumerate(sample.eqcs) for name in ids}
    doubtful = doubtful_run_ids(sample.eqcs, sample.emulation_doubt)
    numbers: dict[int, int] = {}
    cells: list[MachineCell | None] = []
    for runs in groups:
        mine = [run for run in runs if run.id in place]
        if not mine:
            cells.append(None)
            continue
        told = min(mine, key=lambda run: (run.row["repeat"], run.id)).id
        first, rests = place[told], told in doubtful
        new = first not in numbers
        number = numbers.setdefault(first, len(numbers) + 1)
        cells.append(MachineCell(number, len({place[run.id] for run in mine}) == 1, new, rests))
    return cells
