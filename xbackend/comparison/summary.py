"""A cohort of a comparison at a glance: who agrees with whom, and where the layers part."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xbackend.comparison.comparison import Classes, Comparison, SampleComparison, TapComparison
from xbackend.comparison.equivalence import RunIdClasses, combine_known_labels
from xbackend.comparison.layers import TapSummary, extreme_or_none, summarise_taps, worst_metrics
from xbackend.numerics.metrics import Metrics, identical_metrics
from xbackend.platforms.emulation_doubt import EmulationDoubt, assess_emulation, doubtful_run_ids
from xbackend.store.cohort import Cohort
from xbackend.store.records import Run
from xbackend.worker.contract import GRAPH

Record = dict[str, Any]

FEW = 2
"""Up to so many particulars that vary are shown in every row."""
DIGITS = 8
"""Of a digest, to tell two apart."""
IMPLIED = frozenset({"processor", "python"})
"""Particulars that a platform's name usually implies."""


@dataclass(frozen=True)
class RunGroup:
    """Runs that differ in nothing but when they ran, and gave the same bits."""

    backend: str
    version: str
    platform: str
    distinguishing: tuple[str, ...]
    """What else tells these runs from others of the cohort, such as `threads=2`."""
    ids: tuple[str, ...]
    classes: tuple[int | None, ...]
    """The class of the outputs for each sample, from 1; None where it was not computed."""
    by_emulation: tuple[bool, ...]
    """For each sample, whether that class rests on emulated operators alone."""
    bits: int | None
    """Mantissa bits shared with class 1: the minimum over samples and outputs."""
    taps_neutral: bool | None
    """Whether the outputs had the same bits with taps; None without taps."""


@dataclass(frozen=True)
class Summary:
    """A cohort: one model, one precision, one set of inputs."""

    cohort: Cohort
    samples: tuple[SampleComparison, ...]
    inputs: tuple[str, ...]
    """The samples' names."""
    rows: tuple[RunGroup, ...]
    eqcs: Classes
    """Runs with the same bits in all outputs of all samples."""
    metrics: Metrics
    """The worst over all outputs and samples."""
    mantissa_bits: int | None
    """Of the outputs' format; None for integers."""
    first_divergence: TapComparison | None
    """The earliest tensor in graph order that differs on any sample."""
    flipped: tuple[str, ...]
    """Ids of runs of which a label is not the first run's, on any sample."""
    taps: tuple[TapSummary, ...]
    """In graph order, outputs among them."""
    nondeterministic: tuple[RunGroup, ...]
    """Rows of runs that gave other bits than a repeat of themselves."""
    emulation_doubt: EmulationDoubt
    """What of the classes rests on emulated operators alone."""
    last_safe: TapSummary | None
    """The last tensor in graph order that all runs with unsafe outputs have and can trust."""
    told_apart: str = ""
    """File and digest of the model, where another cohort is called the same."""

    @property
    def run_count(self) -> int:
        """The number of runs that gave outputs."""
        return len(self.cohort.runs)

    @property
    def shares_layers(self) -> bool:
        """Whether any layer was recorded by two runs or more."""
        return any(not tap.is_output and tap.run_count > 1 for tap in self.taps)

    @property
    def taps_not_neutral(self) -> tuple[str, ...]:
        """Ids of runs whose taps changed the bits of their outputs."""
        return tuple(name for row in self.rows if row.taps_neutral is False for name in row.ids)

    def to_dict(self) -> Record:
        """Return JSON values: an entry of `sections`."""
        return {
            "group": self.cohort.group,
            "model": self.cohort.model,
            "inputs_digest": self.cohort.inputs_digest,
            "inputs": list(self.inputs),
            "runs": [run.id for run in self.cohort.runs],
            "eqcs": [list(ids) for ids in self.eqcs],
            "eqc_count": len(self.eqcs),
            **vars(self.metrics),
            "first_tap": None if self.first_divergence is None else self.first_divergence.tap,
            "label_flips": len(self.flipped),
            "taps_not_neutral": list(self.taps_not_neutral),
            "not_deterministic": [list(row.ids) for row in self.nondeterministic],
            "emulation_unsafe": list(self.emulation_doubt.unsafe),
            "emulation_operators": list(self.emulation_doubt.operators),
            "eqcs_by_emulation": [list(self.eqcs[n - 1]) for n in self.emulation_doubt.classes],
            "last_safe_tap": None if self.last_safe is None else self.last_safe.tap,
        }


def summaries(comparison: Comparison) -> list[Summary]:
    """Return the summary of each cohort."""
    found = [_summarise(samples) for samples in comparison.sections.values()]
    names = [_called(summary) for summary in found]
    return [
        replace(summary, told_apart=_file_and_digest(summary)) if names.count(name) > 1 else summary
        for summary, name in zip(found, names, strict=True)
    ]


def _called(summary: Summary) -> str:
    """Return all that a heading tells of a cohort."""
    keys = {key: value for key, value in summary.cohort.group.items() if key != "model_digest"}
    counts = (len(summary.inputs), summary.run_count)
    return json.dumps([summary.cohort.model, keys, counts], sort_keys=True)


def _file_and_digest(summary: Summary) -> str:
    row = summary.cohort.runs[0].row
    digest = str(row["model_digest"])[:DIGITS]
    inputs = summary.cohort.inputs_digest[:DIGITS]
    return f"{row['model_source'] or row['model']}, digest {digest}, inputs {inputs}"


def _summarise(samples: Sequence[SampleComparison]) -> Summary:
    cohort = samples[0].cohort
    outputs = [output for sample in samples for output in sample.outputs]
    rows = _rows(cohort, samples)
    dtype = outputs[0].dtype if outputs else ""
    eqcs, taps = _joint_classes(cohort, samples), summarise_taps(samples)
    names = tuple(sample.input for sample in samples)
    return Summary(
        cohort=cohort,
        samples=tuple(samples),
        inputs=names,
        rows=rows,
        eqcs=eqcs,
        metrics=worst_metrics([output.metrics for output in outputs]),
        mantissa_bits=identical_metrics(dtype).remaining_precision,
        first_divergence=_earliest(samples),
        flipped=_flipped(cohort, outputs),
        taps=taps,
        nondeterministic=_nondeterministic(cohort, rows),
        emulation_doubt=assess_emulation(eqcs, cohort.runs, names),
        last_safe=_last_safe(samples, taps),
    )


def _numbers(eqcs: Classes) -> dict[str, int]:
    """Return each run's class, from 1."""
    return {name: number for number, ids in enumerate(eqcs, 1) for name in ids}


def _joint_classes(cohort: Cohort, samples: Sequence[SampleComparison]) -> Classes:
    """Return the classes by all outputs of all samples; what a run lacks sets nobody apart."""
    ids = RunIdClasses(cohort.runs)
    labels = [
        np.array([number.get(name, 0) - 1 for name in ids.names])
        for sample in samples
        for output in sample.outputs
        for number in [_numbers(output.eqcs)]
    ]
    return ids.classes(combine_known_labels(labels or [np.zeros(len(ids.names), int)]))


def _earliest(samples: Iterable[SampleComparison]) -> TapComparison | None:
    """Return the first divergence of the sample that diverges first."""
    found = [first for sample in samples if (first := sample.first_divergence) is not None]
    far = float("inf")
    return min(found, key=lambda tap: far if tap.layer is None else tap.layer, default=None)


def _last_safe(
    samples: Iterable[SampleComparison], taps: Sequence[TapSummary]
) -> TapSummary | None:
    """Return the earliest of the samples' last tensors that can be trusted."""
    names = {safe.tap for sample in samples if (safe := sample.last_safe) is not None}
    return next((tap for tap in taps if tap.tap in names), None)


def _flipped(cohort: Cohort, outputs: Iterable[TapComparison]) -> tuple[str, ...]:
    flipped = {
        name
        for output in outputs
        for ids, flips in zip(output.eqcs, output.flips, strict=True)
        if flips
        for name in ids
    }
    return tuple(run.id for run in cohort.runs if run.id in flipped)


def _rows(cohort: Cohort, samples: Sequence[SampleComparison]) -> tuple[RunGroup, ...]:
    """Fold runs that differ in nothing but when they ran into one row."""
    numbers = [_numbers(sample.eqcs) for sample in samples]
    bits = _bits_to_first(samples)
    varying = _varying(cohort.runs)
    firsts = {str(run.row["backend"]): run for run in reversed(cohort.runs)}
    baseline = {backend: _shown(run) for backend, run in firsts.items()}
    found: dict[str, list[Run]] = {}
    for run in cohort.runs:
        places = [of.get(run.id) for of in numbers]
        told = [_identity(run), _file(cohort, run), places, run.row["taps_neutral"]]
        key = json.dumps(told, sort_keys=True)
        found.setdefault(key, []).append(run)
    return tuple(
        _row(
            runs,
            tuple(of.get(runs[0].id) for of in numbers),
            tuple(
                runs[0].id in doubtful_run_ids(each.eqcs, each.emulation_doubt) for each in samples
            ),
            bits,
            _named_apart(cohort, runs[0], _distinguishing(runs[0], varying, baseline)),
        )
        for runs in found.values()
    )


def _named_apart(cohort: Cohort, run: Run, particulars: tuple[str, ...]) -> tuple[str, ...]:
    """Return what is shown of a run; that its file is another stands for another artifact."""
    if not cohort.files:
        return particulars
    kept = (each for each in particulars if not each.startswith("artifact="))
    return (*_file(cohort, run), *kept)


def _file(cohort: Cohort, run: Run) -> tuple[str, ...]:
    """Return the file that a run computed, where the cohort has several."""
    return tuple(name for of, name in cohort.files if of == run.id)


def _row(
    runs: Sequence[Run],
    places: tuple[int | None, ...],
    by_emulation: tuple[bool, ...],
    bits: Mapping[str, int | None],
    distinguishing: tuple[str, ...],
) -> RunGroup:
    first = runs[0].row
    return RunGroup(
        backend=str(first["backend"]),
        version=str(first["backend_version"] or "?"),
        platform=str(first["platform"]),
        distinguishing=distinguishing,
        ids=tuple(run.id for run in runs),
        classes=places,
        by_emulation=by_emulation,
        bits=bits.get(runs[0].id),
        taps_neutral=first["taps_neutral"],
    )


def _bits_to_first(samples: Iterable[SampleComparison]) -> dict[str, int | None]:
    """Return for each run the least bits that an output of it shares with class 1."""
    shared: dict[str, list[int | None]] = {}
    for output in (output for sample in samples for output in sample.outputs):
        for ids, bits in zip(output.eqcs, output.remaining_to_first, strict=True):
            for name in ids:
                shared.setdefault(name, []).append(bits)
    return {name: extreme_or_none(min, bits) for name, bits in shared.items()}


def _nondeterministic(cohort: Cohort, rows: Sequence[RunGroup]) -> tuple[RunGroup, ...]:
    """Return the rows that a repeat of the same run contradicts."""
    runs = {run.id: run for run in cohort.runs}
    heads = [json.dumps(_identity(runs[row.ids[0]]), sort_keys=True) for row in rows]
    given: dict[str, list[tuple[int | None, ...]]] = {}
    for head, row in zip(heads, rows, strict=True):
        given.setdefault(head, []).append(row.classes)
    return tuple(
        row
        for head, row in zip(heads, rows, strict=True)
        if any(_contradict(row.classes, other) for other in given[head])
    )


def _contradict(one: Sequence[int | None], other: Sequence[int | None]) -> bool:
    """Tell whether two runs gave other bits of a sample that both computed."""
    pairs = zip(one, other, strict=True)
    return any(a != b for a, b in pairs if a is not None and b is not None)


def _identity(run: Run) -> Record:
    """Return all that a run was, but for when it ran and what it gave."""
    keys = ("backend", "backend_version", "platform", "settings", "hardware", "software")
    extra = {key: run.row.get(key) for key in ("versions", "artifact", "worker")}
    return {**{key: run.row[key] for key in keys}, **extra}


def _properties(run: Run) -> Record:
    """Return what may tell a run from another of its backend, under the names to show."""
    artifact, software = run.row.get("artifact") or {}, run.row.get("software") or {}
    return {
        **run.row["settings"],
        "processor": run.row["hardware"].get("device"),
        "python": software.get("python"),
        "artifact": str(artifact.get("digest"))[:8],
    }


def _distinguishing(
    run: Run, varying: Mapping[str, set[tuple[str, str]]], baseline: Mapping[str, Mapping[str, str]]
) -> tuple[str, ...]:
    """Return what to show: what varies, or where that is much, what differs from the first run."""
    backend = str(run.row["backend"])
    shown, first = _shown(run), baseline[backend]
    keys = [key for key in shown if (key, _where(run, key)) in varying[backend]]
    if len(keys) > FEW:
        keys = [key for key in keys if shown[key] != first.get(key)]
    return tuple(f"{key}={shown[key]}" for key in keys)


def _shown(run: Run) -> dict[str, str]:
    return {key: _text(value) for key, value in _properties(run).items()}


def _varying(runs: Iterable[Run]) -> dict[str, set[tuple[str, str]]]:
    """Return for each backend the particulars in which its runs differ, and where they do.

    Processor and Python count only on a platform whose name does not imply them.
    """
    seen: dict[str, dict[tuple[str, str], set[str]]] = {}
    for run in runs:
        of_backend = seen.setdefault(str(run.row["backend"]), {})
        for key, value in _shown(run).items():
            of_backend.setdefault((key, _where(run, key)), set()).add(value)
    return {
        backend: {place for place, values in places.items() if len(values) > 1}
        for backend, places in seen.items()
    }


def _where(run: Run, key: str) -> str:
    """Return the platform for what its name usually implies; elsewhere all runs count."""
    if key == "artifact":  # a source is another artifact than its graph, which `graph` says
        return str(run.row["settings"].get(GRAPH, ""))
    return str(run.row["platform"]) if key in IMPLIED else ""


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
