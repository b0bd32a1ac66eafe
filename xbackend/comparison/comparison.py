"""What a comparison holds: classes, distances and the first divergence, computed from runs."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import Any

from xbackend.comparison.across.files import AcrossSection
from xbackend.comparison.class_changes import ClassChange
from xbackend.comparison.findings import (
    Certificate,
    Isolation,
    ReferenceComparison,
    TensorPair,
)
from xbackend.comparison.operator_kinds import operator_kind
from xbackend.errors import StoreError, UsageError
from xbackend.numerics.metrics import Metrics
from xbackend.platforms.emulation_doubt import EmulationDoubt
from xbackend.store.cohort import Cohort
from xbackend.store.files import read_digests
from xbackend.store.packed_results import digests_of
from xbackend.store.records import Run
from xbackend.store.store import Store

Record = dict[str, Any]
Classes = tuple[tuple[str, ...], ...]
"""Ids of runs whose bits are the same, ordered by first appearance."""

SCHEMA_VERSION = 1
NOTHING_COMPARED = (
    "Nothing was compared, so no threshold is met: no two runs computed the same output of the "
    "same sample."
)


@dataclass(frozen=True)
class TapComparison:
    """One tensor of one sample, over all runs of a cohort."""

    cohort: Cohort
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
    """Ids of the cohort's runs that computed the sample but have no such tensor."""
    taps_not_neutral: tuple[str, ...]
    """Ids of runs whose taps changed the bits of their outputs, so perhaps this tensor's too."""
    emulation_unsafe: tuple[str, ...]
    """Ids of runs that computed it from what an emulator computes unlike a real processor."""
    reads: tuple[str, ...] | None
    """Names of what its layer reads, constants left out; None where that is not known."""
    origin: ClassChange
    """Whether its layer made new classes, or joined those of its inputs."""
    is_measured: bool = True
    """Whether the store has the bytes of all classes; if not, no distance is known."""

    @property
    def kind(self) -> str | None:
        """`activation` or `pooling`, None for other operators."""
        return operator_kind(self.operator)

    @property
    def eqc_count(self) -> int:
        """The number of classes."""
        return len(self.eqcs)

    def to_dict(self) -> Record:
        """Return the keys of the contract, and more."""
        return {
            "group": self.cohort.group,
            "model": self.cohort.model,
            "inputs_digest": self.cohort.inputs_digest,
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
            "is_measured": self.is_measured,
            "remaining_to_first": list(self.remaining_to_first),
            "runs_total": sum(map(len, self.eqcs)) + len(self.missing),
            "missing": list(self.missing),
            "taps_not_neutral": list(self.taps_not_neutral),
            "emulation_unsafe": list(self.emulation_unsafe),
            "kind": self.kind,
            "reads": None if self.reads is None else list(self.reads),
            **self.origin.to_dict(),
        }


@dataclass(frozen=True)
class SampleComparison:
    """One sample over all runs of a cohort."""

    cohort: Cohort
    input: str
    taps: tuple[TapComparison, ...]
    """In graph order, outputs among them."""
    eqcs: Classes
    """Of the outputs, all of them together."""
    label_flips: int
    """Runs of which a label is not the first run's."""
    taps_not_neutral: tuple[str, ...]
    """Ids of runs whose taps changed the bits of their outputs."""
    emulation_doubt: EmulationDoubt
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
        needed = set(self.emulation_doubt.unsafe)
        trusted = (tap for tap in reversed(self.taps) if needed and not tap.emulation_unsafe)
        return next((tap for tap in trusted if needed.issubset(chain(*tap.eqcs))), None)

    def to_dict(self) -> Record:
        """Return the entry of `divergence`."""
        first, safe = self.first_divergence, self.last_safe
        return {
            "group": self.cohort.group,
            "model": self.cohort.model,
            "inputs_digest": self.cohort.inputs_digest,
            "input": self.input,
            "first_tap": None if first is None else first.tap,
            "layer": None if first is None else first.layer,
            "operator": None if first is None else first.operator,
            "eqc_count_output": len(self.eqcs),
            "label_flips": self.label_flips,
            "taps_not_neutral": list(self.taps_not_neutral),
            "emulation_unsafe": list(self.emulation_doubt.unsafe),
            "emulation_operators": list(self.emulation_doubt.operators),
            "eqcs_by_emulation": [list(self.eqcs[n - 1]) for n in self.emulation_doubt.classes],
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
    """Section by cohort, sample by sample."""
    store: Store
    """Where the tensors are, for what is only computed if it is shown."""
    reference_comparisons: tuple[ReferenceComparison, ...] = ()
    """The sections that were held against a float64 reference, if that was asked for."""
    isolations: tuple[Isolation, ...] = ()
    """Runs of which each layer's own error was told from what it inherits, likewise."""
    left_out: tuple[StoreError, ...] = ()
    """What is wrong with records of the store that could not be read."""
    pairs: tuple[TensorPair, ...] = ()
    """All metrics of pairs of classes, if these were asked for."""
    certificates: tuple[Certificate, ...] = ()
    """Runs of which each layer was held against what rounding can do, likewise."""
    across: tuple[AcrossSection, ...] = ()
    """The sections whose runs computed different files."""
    filters: tuple[str, ...] = ()
    """What its runs were chosen by, as `--where` takes it: `backend=ort`."""
    mitigations: tuple[Record, ...] = ()
    """What `xbackend mitigate --json` told, if that was given."""

    @property
    def sections(self) -> dict[str, tuple[SampleComparison, ...]]:
        """The samples of each cohort, under a key that only tells sections apart."""
        found: dict[str, list[SampleComparison]] = {}
        for sample in self.samples:
            found.setdefault(sample.cohort.key, []).append(sample)
        return {key: tuple(samples) for key, samples in found.items()}

    @property
    def unsuccessful(self) -> tuple[Run, ...]:
        """Runs that gave nothing to compare: failed and skipped ones."""
        return tuple(run for run in self.runs if not run.ok)

    def unread(self) -> tuple[int, int]:
        """Return how many of the tensors were not read against their digests, and of how many."""
        digests = {digest for run in self.runs for digest in digests_of(run.results)}
        return len(digests - read_digests(self.store.folder / "objects")), len(digests)

    def to_dict(self) -> Record:
        """Return the object that `xbackend compare --format json` prints."""
        return {
            "schema_version": SCHEMA_VERSION,
            "runs": [run.row for run in self.runs],
            "comparisons": [tap.to_dict() for each in self.samples for tap in each.taps],
            "divergence": [sample.to_dict() for sample in self.samples],
            **({"across": [each.to_dict() for each in self.across]} if self.across else {}),
        }


def check_thresholds(fail_under: int | None = None, max_eqcs: int | None = None) -> None:
    """Raise UsageError for a threshold that nothing could miss or keep."""
    if fail_under is not None and fail_under < 0:
        raise UsageError(f"'--fail-under {fail_under}' must be a number of bits, from 0 on.")
    if max_eqcs is not None and max_eqcs < 1:
        raise UsageError(f"'--max-eqcs {max_eqcs}' must be a number of classes, from 1 on.")


def threshold_failures(
    comparison: Comparison, fail_under: int | None = None, max_eqcs: int | None = None
) -> list[str]:
    """Return a sentence for each output that misses a threshold, empty if none does.

    Outputs with the same bits in all runs never miss. Several classes without a common mantissa
    bit, integers among them, count as 0 bits. If nothing was compared, that is a miss too.
    """
    if fail_under is None and max_eqcs is None:
        return []
    check_thresholds(fail_under, max_eqcs)
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
    if not comparison.samples:
        return ["No run gave an output, so no threshold is met."]
    return sentences if _is_compared(comparison) else [NOTHING_COMPARED]


def _is_compared(comparison: Comparison) -> bool:
    """Tell whether any output of a sample was computed by two runs."""
    outputs = (output for sample in comparison.samples for output in sample.outputs)
    return any(sum(map(len, output.eqcs)) > 1 for output in outputs)


def _name_output(tap: TapComparison) -> str:
    precision = tap.cohort.group["precision"]
    return f"Output '{tap.tap}' of {tap.cohort.model} ({precision}) on input '{tap.input}'"
