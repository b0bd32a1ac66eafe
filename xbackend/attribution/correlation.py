"""Which properties of the platforms go with the classes: the paper's Table 1, from any store."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from xbackend.numerics.metrics import equivalence_classes
from xbackend.platforms.emulation_doubt import has_unsafe_output, proven_classes, unsafe_operators
from xbackend.store.records import Run

Record = dict[str, Any]


@dataclass(frozen=True)
class Cluster:
    """Properties that occur together on every platform, so that no data can tell them apart."""

    names: tuple[str, ...]
    """Flags such as `fma`, and values such as `L1d=32 KiB`, `vendor=AMD`, `threads=2`."""
    present: tuple[int, ...]
    """Classes, from 1, with a run that has the properties."""
    absent: tuple[int, ...]
    """Classes with a run that lacks them."""
    ami: float
    """Adjusted mutual information of having them and the class: 1 where either tells the other,
    about 0 where they have nothing to do with one another (Vinh et al., JMLR 11, 2010)."""

    @property
    def splits(self) -> bool:
        """Whether no class has runs with and runs without the properties."""
        return not set(self.present) & set(self.absent)

    def to_dict(self) -> Record:
        """Return JSON values."""
        return {**vars(self), "names": list(self.names), "splits": self.splits}


@dataclass(frozen=True)
class FlagTable:
    """The classes of one backend on one model, and what goes with them."""

    group: Record
    """Model and its digest, precision, backend, version, settings other than threads, and what the
    converters were told."""
    runs: tuple[Run, ...]
    classes: tuple[tuple[str, ...], ...]
    """Run ids by class of all outputs of all samples, in order of first appearance."""
    clusters: tuple[Cluster, ...]
    """Those that split the classes first, then by adjusted mutual information."""
    emulated: tuple[str, ...] = ()
    """Operators that an emulator computes unlike real processors and outputs come from. If there
    are any, only what is proved without them sets two classes apart."""

    def to_dict(self) -> Record:
        """Return JSON values."""
        return {
            "group": self.group,
            "eqcs": [list(ids) for ids in self.classes],
            "eqc_count": len(self.classes),
            "platforms": {run.id: run.row["platform"] for run in self.runs},
            "clusters": [cluster.to_dict() for cluster in self.clusters],
            "judged_by": "tensors that do not rest on emulation" if self.emulated else "outputs",
            "emulation_operators": list(self.emulated),
        }


def flag_tables(runs: Iterable[Run]) -> list[FlagTable]:
    """Return a table for each backend on each model, from records alone."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        if run.ok:
            key = json.dumps([_group(run), run.inputs_digest], sort_keys=True)
            groups.setdefault(key, []).append(run)
    return [_table(found) for found in groups.values()]


def _group(run: Run) -> Record:
    settings = {key: value for key, value in run.row["settings"].items() if key != "threads"}
    keys = ("model", "model_digest", "precision", "backend", "backend_version")
    return {**{key: run.row[key] for key in keys}, "settings": settings, **run.conversion}


def _table(runs: Sequence[Run]) -> FlagTable:
    shared = set.intersection(*({str(row["input"]) for row in run.results} for run in runs))
    emulated = unsafe_operators([run for run in runs if has_unsafe_output(run)])
    if emulated:
        found: Sequence[Sequence[int]] = proven_classes(runs, sorted(shared))
    else:
        found = equivalence_classes([_outputs(run, shared) for run in runs])
    number = {place: index for index, places in enumerate(found, 1) for place in places}
    labels = [number[place] for place in range(len(runs))]
    return FlagTable(
        group=_group(runs[0]),
        runs=tuple(runs),
        classes=tuple(tuple(runs[place].id for place in places) for places in found),
        clusters=rank_properties(platform_properties(runs), labels),
        emulated=emulated,
    )


def _outputs(run: Run, shared: Container[str]) -> tuple[str, ...]:
    """Return the digests of a run's outputs for the samples that all runs have."""
    results = [result for result in run.results if str(result["input"]) in shared]
    return tuple(tensor["digest"] for result in results for tensor in result["outputs"])


def platform_properties(runs: Sequence[Run]) -> list[frozenset[str]]:
    """Return what each run's platform has: flags, and values of what is not a flag.

    A value that any platform does not tell is left out, as having it would say who told it.
    """
    values = [_values(run) for run in runs]
    told = set.intersection(*(set(each) for each in values))
    return [
        frozenset({f"{key}={each[key]}" for key in told} | set(run.row["hardware"]["flags"]))
        for run, each in zip(runs, values, strict=True)
    ]


def _values(run: Run) -> Record:
    hardware = run.row["hardware"]
    caches = hardware.get("caches") or {}
    values = {
        "vendor": hardware["vendor"],
        "microarchitecture": hardware["microarchitecture"],
        **{level: f"{size >> 10} KiB" for level, size in caches.items()},
        "cores": hardware["cores"],
        "threads": run.row["settings"].get("threads"),
    }
    return {key: value for key, value in values.items() if value is not None}


def rank_properties(having: Sequence[frozenset[str]], labels: Sequence[int]) -> tuple[Cluster, ...]:
    """Cluster the properties that always occur together and rank them by how they go with classes.

    `having[i]` are the properties of platform i, `labels[i]` its class. Properties that all or
    none have say nothing and are left out.

    >>> rank_properties([frozenset({"fma", "avx2"}), frozenset({"sse2"})], [1, 2])[0].names
    ('avx2', 'fma')
    """
    columns: dict[tuple[bool, ...], list[str]] = {}
    for name in sorted(frozenset().union(*having)):
        column = tuple(name in has for has in having)
        if not all(column):
            columns.setdefault(column, []).append(name)
    found = [_cluster(names, column, labels) for column, names in columns.items()]
    return tuple(sorted(found, key=lambda each: (not each.splits, -each.ami, each.names)))


def _cluster(names: Sequence[str], column: Sequence[bool], labels: Sequence[int]) -> Cluster:
    pairs = list(zip(column, labels, strict=True))
    return Cluster(
        names=tuple(names),
        present=tuple(sorted({label for has, label in pairs if has})),
        absent=tuple(sorted({label for has, label in pairs if not has})),
        ami=adjusted_mutual_information([int(has) for has in column], list(labels)),
    )


def adjusted_mutual_information(first: Sequence[int], second: Sequence[int]) -> float:
    """Return how much two labellings of the same things tell of each other, corrected for chance.

    Normalised by the arithmetic mean of the entropies, as scikit-learn does.

    >>> adjusted_mutual_information([0, 0, 1, 1], [5, 5, 7, 7])
    1.0
    """
    rows, columns = Counter(first), Counter(second)
    joint = Counter(zip(first, second, strict=True))
    if len(joint) == len(rows) == len(columns):
        return 1.0
    total = len(first)
    mutual = _mutual(joint, rows, columns, total)
    expected = _expected(list(rows.values()), list(columns.values()), total)
    bound = (_entropy(rows.values(), total) + _entropy(columns.values(), total)) / 2
    scale = bound - expected
    return round((mutual - expected) / scale, 12) if abs(scale) > 1e-12 else 0.0


def _entropy(counts: Iterable[int], total: int) -> float:
    return -math.fsum(count / total * math.log(count / total) for count in counts)


def _mutual(
    joint: Counter[tuple[int, int]], rows: Counter[int], columns: Counter[int], total: int
) -> float:
    return math.fsum(
        count / total * math.log(total * count / (rows[row] * columns[column]))
        for (row, column), count in joint.items()
    )


def _expected(rows: Sequence[int], columns: Sequence[int], total: int) -> float:
    """Return the mutual information to expect of random labellings with the same counts.

    Vinh, Epps and Bailey (2010), equation 24a: a sum over the hypergeometric distribution.
    """
    terms = []
    for row in rows:
        for column in columns:
            for both in range(max(1, row + column - total), min(row, column) + 1):
                share = both / total * math.log(total * both / (row * column))
                terms.append(share * math.exp(_log_chance(both, row, column, total)))
    return math.fsum(terms)


def _log_chance(both: int, row: int, column: int, total: int) -> float:
    return (
        _log_choose(row, both)
        + _log_choose(total - row, column - both)
        - _log_choose(total, column)
    )


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
