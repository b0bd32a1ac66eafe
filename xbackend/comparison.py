"""What a comparison holds: classes, distances and the first divergence, computed from runs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from xbackend.differ import Metrics, classes
from xbackend.errors import UsageError
from xbackend.measurement import Measurer
from xbackend.reliance import Reliance, rely
from xbackend.selection import Query, Run, select, value_of
from xbackend.store import Store

if TYPE_CHECKING:
    from xbackend.judgement import SectionAccuracy

Record = dict[str, Any]
Classes = tuple[tuple[str, ...], ...]
"""Ids of runs whose bits are the same, ordered by first appearance."""

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Section:
    """The runs that can be compared at all: one model, one precision, one set of inputs."""

    group: Record
    """`model_digest`, `precision` and the keys that were asked for, with their values."""
    model: str
    inputs_digest: str
    runs: tuple[Run, ...]
    """Those that gave outputs, in the store's order."""


@dataclass(frozen=True)
class TapComparison:
    """One tensor of one sample, over all runs of a section."""

    section: Section
    input: str
    """The sample's name."""
    tap: str
    """The ONNX value's name."""
    layer: int | None
    """Position of the node that computes it; None where the graph is not known."""
    operator: str | None
    dtype: str
    """That of the first run, as is the shape."""
    shape: tuple[int, ...]
    eqcs: Classes
    metrics: Metrics
    """Between all classes."""
    remaining_to_first: tuple[int | None, ...]
    """For each class, the mantissa bits that it shares with class 1; outputs only, else empty."""
    flips: tuple[bool, ...]
    """For each class, whether a label is not that of class 1; outputs only, else empty."""
    is_output: bool
    """Whether it comes from the untapped inference."""
    missing: tuple[str, ...]
    """Ids of the section's runs that computed the sample but have no such tensor."""
    taps_not_neutral: tuple[str, ...]
    """Ids of runs whose taps changed the bits of their outputs, so perhaps this tensor's too."""
    emulation_unsafe: tuple[str, ...]
    """Ids of runs that computed it from what an emulator computes unlike a real processor."""

    @property
    def eqc_count(self) -> int:
        """The number of classes."""
        return len(self.eqcs)

    def document(self) -> Record:
        """Return the keys of the contract, and more."""
        return {
            "group": self.section.group,
            "model": self.section.model,
            "inputs_digest": self.section.inputs_digest,
            "input": self.input,
            "tap": self.tap,
            "layer": self.layer,
            "operator": self.operator,
            "dtype": self.dtype,
            "shape": list(self.shape),
            "eqcs": [list(ids) for ids in self.eqcs],
            "eqc_count": self.eqc_count,
            **vars(self.metrics),
            "is_output": self.is_output,
            "remaining_to_first": list(self.remaining_to_first),
            "runs_total": sum(map(len, self.eqcs)) + len(self.missing),
            "missing": list(self.missing),
            "taps_not_neutral": list(self.taps_not_neutral),
            "emulation_unsafe": list(self.emulation_unsafe),
        }


@dataclass(frozen=True)
class SampleComparison:
    """One sample over all runs of a section."""

    section: Section
    input: str
    taps: tuple[TapComparison, ...]
    """In graph order, outputs among them."""
    eqcs: Classes
    """Of the outputs, all of them together."""
    label_flips: int
    """Runs of which a label is not the first run's."""
    taps_not_neutral: tuple[str, ...]
    """Ids of runs whose taps changed the bits of their outputs."""
    reliance: Reliance
    """What of the classes rests on emulated operators alone."""

    @property
    def outputs(self) -> tuple[TapComparison, ...]:
        """The rows of the model's outputs."""
        return tuple(tap for tap in self.taps if tap.is_output)

    @property
    def first_divergence(self) -> TapComparison | None:
        """The first tensor in graph order that falls into several classes."""
        return next((tap for tap in self.taps if tap.eqc_count > 1), None)

    @property
    def last_safe(self) -> TapComparison | None:
        """The last tensor in graph order that all runs with unsafe outputs have and can trust."""
        needed = set(self.reliance.unsafe)
        trusted = (tap for tap in reversed(self.taps) if needed and not tap.emulation_unsafe)
        return next((tap for tap in trusted if needed.issubset(chain(*tap.eqcs))), None)

    def document(self) -> Record:
        """Return the entry of `divergence`."""
        first, safe = self.first_divergence, self.last_safe
        return {
            "group": self.section.group,
            "model": self.section.model,
            "inputs_digest": self.section.inputs_digest,
            "input": self.input,
            "first_tap": None if first is None else first.tap,
            "layer": None if first is None else first.layer,
            "operator": None if first is None else first.operator,
            "eqc_count_output": len(self.eqcs),
            "label_flips": self.label_flips,
            "taps_not_neutral": list(self.taps_not_neutral),
            "emulation_unsafe": list(self.reliance.unsafe),
            "emulation_operators": list(self.reliance.operators),
            "eqcs_by_emulation": [list(self.eqcs[n - 1]) for n in self.reliance.classes],
            "last_safe_tap": None if safe is None else safe.tap,
            "last_safe_layer": None if safe is None else safe.layer,
            "eqcs_last_safe": None if safe is None else [list(ids) for ids in safe.eqcs],
        }


@dataclass(frozen=True)
class Comparison:
    """Everything that reports lay out."""

    runs: tuple[Run, ...]
    """Every run that was selected, failed and skipped ones among them."""
    samples: tuple[SampleComparison, ...]
    """Section by section, sample by sample."""
    store: Store
    """Where the tensors are, for what is only computed if it is shown."""
    accuracy: tuple[SectionAccuracy, ...] = ()
    """The sections that were held against a float64 reference, if that was asked for."""

    @property
    def sections(self) -> dict[str, tuple[SampleComparison, ...]]:
        """The samples of each section, under a key that only tells sections apart."""
        found: dict[str, list[SampleComparison]] = {}
        for sample in self.samples:
            found.setdefault(_section_key(sample.section), []).append(sample)
        return {key: tuple(samples) for key, samples in found.items()}

    @property
    def stopped(self) -> tuple[Run, ...]:
        """Runs that gave nothing to compare: failed and skipped ones."""
        return tuple(run for run in self.runs if not run.ok)

    def document(self) -> Record:
        """Return the object that `xbackend compare --format json` prints."""
        return {
            "schema_version": SCHEMA_VERSION,
            "runs": [run.row for run in self.runs],
            "comparisons": [tap.document() for each in self.samples for tap in each.taps],
            "divergence": [sample.document() for sample in self.samples],
            **({"accuracy": [each.document() for each in self.accuracy]} if self.accuracy else {}),
        }


def compare(
    store: Store,
    model: str | None = None,
    where: Sequence[str] = (),
    group_by: Sequence[str] = (),
) -> Comparison:
    """Compare the runs of a store; for the arguments see `xbackend.selection.Query`.

    Raises UsageError for an empty store or an unknown key, StoreError for a damaged one.
    """
    runs = select(store, Query(model, tuple(where), tuple(group_by)))
    measurer = Measurer(store)
    samples = [
        _compare_sample(section, name, measurer)
        for section in _sections(runs, group_by)
        for name in _sample_names(section.runs)
    ]
    return Comparison(tuple(runs), tuple(samples), store)


def missed(
    comparison: Comparison, fail_under: int | None = None, max_eqcs: int | None = None
) -> list[str]:
    """Return a sentence for each output that misses a threshold, empty if none does.

    Outputs with the same bits in all runs never miss. Several classes without a common mantissa
    bit, integers among them, count as 0 bits. If no run gave an output at all, that is a miss too.
    """
    if fail_under is None and max_eqcs is None:
        return []
    if (fail_under is not None and fail_under < 0) or (max_eqcs is not None and max_eqcs < 1):
        raise UsageError("'--fail-under' takes bits from 0 on, '--max-eqcs' classes from 1 on.")
    outputs = [tap for sample in comparison.samples for tap in sample.outputs if tap.eqc_count > 1]
    sentences = [
        f"{_name_output(tap)}: {tap.metrics.remaining_precision or 0} mantissa bits agree, "
        f"fewer than {fail_under}."
        for tap in outputs
        if fail_under is not None and (tap.metrics.remaining_precision or 0) < fail_under
    ]
    sentences += [
        f"{_name_output(tap)}: {tap.eqc_count} classes, more than {max_eqcs}."
        for tap in outputs
        if max_eqcs is not None and tap.eqc_count > max_eqcs
    ]
    return sentences if comparison.samples else ["No run gave an output, so no threshold is met."]


def _name_output(tap: TapComparison) -> str:
    precision = tap.section.group["precision"]
    return f"Output '{tap.tap}' of {tap.section.model} ({precision}) on input '{tap.input}'"


def _sections(runs: Iterable[Run], group_by: Sequence[str]) -> list[Section]:
    """Put the runs that gave outputs into sections, ordered by their first run."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        if run.ok:
            key = json.dumps([_group(run, group_by), run.inputs_digest], sort_keys=True)
            found.setdefault(key, []).append(run)
    return [
        Section(_group(of[0], group_by), of[0].row["model"], of[0].inputs_digest, tuple(of))
        for of in found.values()
    ]


def _group(run: Run, group_by: Sequence[str]) -> Record:
    keys = dict.fromkeys(["model_digest", "precision", *group_by])
    return {key: value_of(run, key) for key in keys}


def _section_key(section: Section) -> str:
    return json.dumps([section.group, section.inputs_digest], sort_keys=True)


def _sample_names(runs: Sequence[Run]) -> list[str]:
    return list(dict.fromkeys(str(result["input"]) for run in runs for result in run.results))


@dataclass(frozen=True)
class _Found:
    """What one run has of one sample."""

    run: Run
    outputs: Mapping[str, Record]
    taps: Mapping[str, Record]
    """Without those that are outputs: these come from the untapped inference."""
    neutral: bool | None


def _find(run: Run, sample: str) -> _Found | None:
    for result in run.results:
        if str(result["input"]) == sample:
            outputs = {row["name"]: row for row in result["outputs"]}
            taps = {row["name"]: row for row in result["taps"] if row["name"] not in outputs}
            neutral = result.get("taps_neutral", run.row["taps_neutral"])
            return _Found(run, outputs, taps, neutral)
    return None


def _compare_sample(section: Section, sample: str, measurer: Measurer) -> SampleComparison:
    found = [each for run in section.runs if (each := _find(run, sample)) is not None]
    outputs = {name for each in found for name in each.outputs}
    places = _places(found)
    names = dict.fromkeys(name for each in found for name in [*each.taps, *each.outputs])
    ordered = sorted(names, key=lambda name: places[name][0])
    rows = tuple(
        _compare_tap(section, sample, name, name in outputs, places[name][1], found, measurer)
        for name in ordered
    )
    eqcs = _output_classes(found)
    return SampleComparison(
        section=section,
        input=sample,
        taps=rows,
        eqcs=eqcs,
        label_flips=_count_flips(rows),
        taps_not_neutral=tuple(each.run.id for each in found if each.neutral is False),
        reliance=rely(eqcs, [each.run for each in found], [sample]),
    )


def _places(found: Sequence[_Found]) -> dict[str, tuple[tuple[int, int], Record]]:
    """Return where each tensor stands in the graph: layer, then the order in which runs list it.

    Tensors that no graph knows stand after all others, outputs last.
    """
    layers: dict[str, Record] = {}
    for each in found:
        for row in each.run.layers:
            layers.setdefault(row["tap"], row)
    names = dict.fromkeys(layers)
    names.update(dict.fromkeys(name for each in found for name in each.taps))
    names.update(dict.fromkeys(name for each in found for name in each.outputs))
    beyond = 1 + max((row["layer"] for row in layers.values()), default=-1)
    return {
        name: ((layers[name]["layer"] if name in layers else beyond, place), layers.get(name, {}))
        for place, name in enumerate(names)
    }


def _compare_tap(
    section: Section,
    sample: str,
    name: str,
    is_output: bool,
    place: Record,
    found: Sequence[_Found],
    measurer: Measurer,
) -> TapComparison:
    having = [(each, row) for each in found if (row := _row(each, name)) is not None]
    eqcs = classes(row["digest"] for _, row in having)
    first = having[0][1]
    representatives = [having[positions[0]][1] for positions in eqcs]
    measured = measurer.outputs(representatives) if is_output else measurer.tap(representatives)
    not_neutral = [each.run.id for each, _ in having if each.neutral is False and not is_output]
    return TapComparison(
        section=section,
        input=sample,
        tap=name,
        layer=place.get("layer"),
        operator=place.get("operator"),
        dtype=first["dtype"],
        shape=tuple(first["shape"]),
        eqcs=_ids([each for each, _ in having], eqcs),
        metrics=measured.metrics,
        remaining_to_first=measured.remaining_to_first,
        flips=measured.flips,
        is_output=is_output,
        missing=tuple(each.run.id for each in found if _row(each, name) is None),
        taps_not_neutral=tuple(not_neutral),
        emulation_unsafe=tuple(each.run.id for each, _ in having if name in each.run.unsafe),
    )


def _row(each: _Found, name: str) -> Record | None:
    return each.outputs.get(name) or each.taps.get(name)


def _ids(found: Sequence[_Found], eqcs: Sequence[Sequence[int]]) -> Classes:
    return tuple(tuple(found[position].run.id for position in positions) for positions in eqcs)


def _output_classes(found: Sequence[_Found]) -> Classes:
    """Return the classes of all outputs together."""
    keys = (
        tuple(sorted((name, row["digest"]) for name, row in each.outputs.items())) for each in found
    )
    return _ids(found, classes(keys))


def _count_flips(rows: Iterable[TapComparison]) -> int:
    """Count the runs of which any output's label is not the first run's."""
    flipped = {
        run
        for row in rows
        for ids, flips in zip(row.eqcs, row.flips)  # noqa: B905 (flips is empty but for outputs)
        if flips
        for run in ids
    }
    return len(flipped)
