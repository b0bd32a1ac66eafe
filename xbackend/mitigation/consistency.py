"""How runs of one model stand to one another: classes, shared bits, flipped labels.

Two runs are compared by their outputs; where an emulator may have spoilt those of either, by the
tensors that both recorded safely, outputs or not. What cannot be proved to differ counts as one
class, so that no class is an emulator's.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xbackend.comparison.measurement import Measurer
from xbackend.platforms.emulation_doubt import has_unsafe_output, unsafe_operators
from xbackend.store.records import Run

Record = dict[str, Any]
Key = tuple[str, str, str]
"""`output` or `tap`, the sample's name, the tensor's name or, of outputs, its place."""
Tensors = Mapping[Key, Record]


@dataclass(frozen=True)
class Consistency:
    """How some runs stand to one another on the samples that all of them have."""

    runs: int
    classes: int
    bits: int | None
    """Mantissa bits that all classes share, the least over samples; None for one class."""
    flips: int
    """Runs of which any label is not that of the first run."""
    without: tuple[str, ...] = ()
    """Operators whose emulation is not faithful, and which therefore do not count."""


def measure_consistency(runs: Sequence[Run], measurer: Measurer) -> Consistency:
    """Compare runs that gave outputs, one or more."""
    samples = _shared_samples(runs)
    tables = [_safe(run, samples) for run in runs]
    found = _classes(tables)
    pairs = _pairs([tables[members[0]] for members in found])
    bits = [shared for one, other in pairs for shared in _shared_bits(one, other, measurer)]
    return Consistency(
        runs=len(runs),
        classes=len(found),
        bits=min(bits, default=None),
        flips=_count_flips([_outputs(run, samples) for run in runs], measurer),
        without=unsafe_operators([run for run in runs if has_unsafe_output(run)]),
    )


def _pairs(firsts: Sequence[Tensors]) -> Iterable[tuple[Tensors, Tensors]]:
    """Return the pairs of classes to measure: everyone with the first is enough for a minimum.

    Shared bits are an ultrametric; but only where all are judged by the same tensors.
    """
    if all(_judged_by(firsts[0], other) == _judged_by(firsts[0], firsts[0]) for other in firsts):
        return ((firsts[0], other) for other in firsts[1:])
    return itertools.combinations(firsts, 2)


def _shared_samples(runs: Sequence[Run]) -> frozenset[str]:
    """Return the names of the samples that all runs have."""
    names = [frozenset(str(result["input"]) for result in run.results) for run in runs]
    return frozenset.intersection(*names)


def _outputs(run: Run, samples: frozenset[str]) -> dict[Key, Record]:
    """Return outputs by place: those of another backend may have other names."""
    return {
        ("output", str(result["input"]), str(place)): row
        for result in run.results
        if str(result["input"]) in samples
        for place, row in enumerate(result["outputs"])
    }


def _safe(run: Run, samples: frozenset[str]) -> Tensors:
    """Return what a run can be judged by."""
    outputs = _outputs(run, samples)
    kept = {
        key: row for key, row in outputs.items() if str(row["name"]) not in run.emulation_unsafe
    }
    names = {str(row["name"]) for row in outputs.values()}
    taps = {
        ("tap", str(result["input"]), str(row["name"])): row
        for result in run.results
        if str(result["input"]) in samples and result.get("taps_neutral") is not False
        for row in result["taps"]
        if str(row["name"]) not in run.emulation_unsafe | names
    }
    return {**kept, **taps}


def _judged_by(one: Tensors, other: Tensors) -> list[Key]:
    """Return the keys by which two runs are compared: those of outputs, if both have any."""
    shared = [key for key in one if key in other]
    return [key for key in shared if key[0] == "output"] or shared


def _differ(one: Tensors, other: Tensors) -> bool:
    return any(one[key]["digest"] != other[key]["digest"] for key in _judged_by(one, other))


def _classes(tables: Sequence[Tensors]) -> list[list[int]]:
    """Return places by class: a run joins the first of no member of which it is seen to differ."""
    found: list[list[int]] = []
    for place, table in enumerate(tables):
        for members in found:
            if not any(_differ(tables[member], table) for member in members):
                members.append(place)
                break
        else:
            found.append([place])
    return found


def _shared_bits(one: Tensors, other: Tensors, measurer: Measurer) -> list[int]:
    """Return the bits that two runs share in each tensor that differs."""
    pairs = [(one[key], other[key]) for key in _judged_by(one, other)]
    kept = (
        measurer.measure_tap(pair).metrics.remaining_precision
        for pair in pairs
        if pair[0]["digest"] != pair[1]["digest"]
    )
    return [bits for bits in kept if bits is not None]


def _count_flips(tables: Sequence[Tensors], measurer: Measurer) -> int:
    """Count the runs of which a label of any output is not the first run's."""
    flipped: set[int] = set()
    for key in tables[0]:
        column = {place: table[key] for place, table in enumerate(tables) if key in table}
        distinct = {row["digest"]: row for row in column.values()}
        turned = dict(
            zip(distinct, measurer.measure_outputs(list(distinct.values())).flips, strict=True)
        )
        flipped |= {place for place, row in column.items() if turned[row["digest"]]}
    return len(flipped)
