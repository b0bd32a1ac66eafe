"""What activations and pooling do to deviations: before and after each of them (SUP-8, SUP-9)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from xbackend.comparison.comparison import Comparison, SampleComparison, TapComparison
from xbackend.comparison.layers import worst_metrics
from xbackend.comparison.measurement import Measurer
from xbackend.numerics.metrics import Metrics, identical_metrics

Record = dict[str, Any]

INCREASES, KEEPS, DECREASES = "increases", "keeps", "decreases"


@dataclass(frozen=True)
class TensorState:
    """The tensor before, or that after, over the runs that are held against each other."""

    tap: str
    eqc_count: int
    metrics: Metrics

    def to_dict(self, when: str) -> Record:
        """Return JSON values, each key with `_before` or `_after` at its end."""
        values = {"tap": self.tap, "eqc_count": self.eqc_count, **vars(self.metrics)}
        return {f"{key}_{when}": value for key, value in values.items()}


@dataclass(frozen=True)
class ActivationComparison:
    """One activation or pooling layer on one sample."""

    tap: TapComparison
    """Its tensor over all runs, those that are left out here among them."""
    before: TensorState | None
    """None where no run recorded what the layer reads."""
    after: TensorState | None
    runs: tuple[str, ...]
    """Ids of the runs that recorded both tensors."""
    left_out: tuple[str, ...]
    """Ids of the runs that did not record what it reads, or of which that is not known."""

    @property
    def change(self) -> str | None:
        """Whether it `increases`, `keeps` or `decreases` the remaining precision.

        None where that is not known, and for integers, which have no mantissa.
        """
        if self.before is None or self.after is None:
            return None
        one, two = (side.metrics.remaining_precision for side in (self.before, self.after))
        if one is None or two is None:
            return None
        return KEEPS if one == two else INCREASES if two > one else DECREASES

    @property
    def deviates(self) -> bool:
        """Whether bits differ before or after."""
        return any(each is not None and each.eqc_count > 1 for each in (self.before, self.after))

    def to_dict(self) -> Record:
        """Return JSON values: an entry of `activations`."""
        tap = self.tap
        sides = {
            **(self.before or UNKNOWN_STATE).to_dict("before"),
            **(self.after or UNKNOWN_STATE).to_dict("after"),
        }
        return {
            "group": tap.cohort.group,
            "model": tap.cohort.model,
            "inputs_digest": tap.cohort.inputs_digest,
            "input": tap.input,
            "layer": tap.layer,
            "operator": tap.operator,
            "kind": tap.kind,
            **(sides if self.before is not None else dict.fromkeys(sides)),
            "tap_after": tap.tap,
            "change": self.change,
            "runs": list(self.runs),
            "left_out": list(self.left_out),
            "taps_not_neutral": [name for name in tap.taps_not_neutral if name in self.runs],
            "emulation_unsafe": [name for name in tap.emulation_unsafe if name in self.runs],
        }


UNKNOWN_STATE = TensorState("", 0, Metrics(None, None, None, None))


@dataclass(frozen=True)
class ActivationSummary:
    """One activation or pooling layer over all samples of a cohort."""

    tap: TapComparison
    """Its tensor on the first sample."""
    tap_before: str | None
    """Name of the tensor that it reads; None where no run recorded it."""
    before: Metrics | None
    """The worst over the samples, but `deviating_fraction`, which is the mean; as after."""
    after: Metrics | None
    increases: int
    """Samples on which it increases the remaining precision; as the three below."""
    keeps: int
    decreases: int
    unknown: int
    left_out: tuple[str, ...]
    """Ids of runs that are left out on some sample."""
    taps_not_neutral: tuple[str, ...]
    emulation_unsafe: tuple[str, ...]


@dataclass(frozen=True)
class ActivationTotal:
    """How many layers of one operator do what to the remaining precision."""

    model: str
    group: Record
    inputs_digest: str
    operator: str
    kind: str
    layers: int
    samples: int
    increases: float
    """Layers, on average over the samples; as the two below."""
    keeps: float
    decreases: float
    same_bits: float
    """Of those that keep it: layers without any deviation, before or after."""
    unknown: float
    """Layers of which no two runs recorded both tensors, or that have no mantissa."""

    def to_dict(self) -> Record:
        """Return JSON values: an entry of `activation_totals`."""
        return dict(vars(self))


def activations(comparison: Comparison) -> tuple[ActivationComparison, ...]:
    """Return every activation and pooling layer of every sample, in graph order.

    Tensors are read again only where some runs did not record both. Raises StoreError for a
    damaged store.
    """
    measurer = Measurer.of(comparison.store, comparison.runs)
    return tuple(
        passage for sample in comparison.samples for passage in _Reader(sample, measurer).passages()
    )


def activation_totals(passages: Sequence[ActivationComparison]) -> tuple[ActivationTotal, ...]:
    """Count the layers by what they do, for each operator of each cohort."""
    found: dict[tuple[str, str], list[ActivationComparison]] = {}
    for passage in passages:
        tap = passage.tap
        found.setdefault((tap.cohort.key, str(tap.operator)), []).append(passage)
    return tuple(map(_total, found.values()))


def summarise_activations(
    passages: Sequence[ActivationComparison],
) -> tuple[ActivationSummary, ...]:
    """Return what each layer does over all samples of its cohort, in graph order."""
    found: dict[tuple[str, str], list[ActivationComparison]] = {}
    for passage in passages:
        tap = passage.tap
        found.setdefault((tap.cohort.key, tap.tap), []).append(passage)
    return tuple(map(_summarise, found.values()))


def _summarise(passages: Sequence[ActivationComparison]) -> ActivationSummary:
    known = [p for p in passages if p.before is not None and p.after is not None]
    changes = [passage.change for passage in passages]
    documents = [passage.to_dict() for passage in passages]

    def union(key: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for each in documents for name in each[key]))

    return ActivationSummary(
        tap=passages[0].tap,
        tap_before=next((p.before.tap for p in known if p.before is not None), None),
        before=worst_metrics([p.before.metrics for p in known if p.before]) if known else None,
        after=worst_metrics([p.after.metrics for p in known if p.after]) if known else None,
        increases=changes.count(INCREASES),
        keeps=changes.count(KEEPS),
        decreases=changes.count(DECREASES),
        unknown=changes.count(None),
        left_out=union("left_out"),
        taps_not_neutral=union("taps_not_neutral"),
        emulation_unsafe=union("emulation_unsafe"),
    )


def _total(passages: Sequence[ActivationComparison]) -> ActivationTotal:
    tap = passages[0].tap
    samples = len({passage.tap.input for passage in passages})
    changes = [passage.change for passage in passages]

    def mean(number: int) -> float:
        return number / samples

    return ActivationTotal(
        model=tap.cohort.model,
        group=tap.cohort.group,
        inputs_digest=tap.cohort.inputs_digest,
        operator=str(tap.operator),
        kind=str(tap.kind),
        layers=len({passage.tap.tap for passage in passages}),
        samples=samples,
        increases=mean(changes.count(INCREASES)),
        keeps=mean(changes.count(KEEPS)),
        decreases=mean(changes.count(DECREASES)),
        same_bits=mean(sum(p.change == KEEPS and not p.deviates for p in passages)),
        unknown=mean(changes.count(None)),
    )


class _Reader:
    """Reads the passages of one sample."""

    def __init__(self, sample: SampleComparison, measurer: Measurer) -> None:
        self.sample = sample
        self.measurer = measurer
        self.runs = {run.id: run for run in sample.cohort.runs}
        self.taps = {tap.tap: tap for tap in sample.taps}
        self.edges: dict[int, Mapping[str, Any]] = {}

    def passages(self) -> Iterator[ActivationComparison]:
        """Yield every activation and pooling layer, in graph order."""
        return (self._passage(tap) for tap in self.sample.taps if tap.kind is not None)

    def _passage(self, tap: TapComparison) -> ActivationComparison:
        everyone = tuple(chain(*tap.eqcs))
        if not tap.reads:
            return ActivationComparison(tap, None, None, (), everyone)
        both = self._with_both(tap, tap.reads[0], everyone)
        left_out = tuple(name for name in everyone if name not in both)
        if not both:
            return ActivationComparison(tap, None, None, (), left_out)
        shared = tuple(name for name in self.runs if name in both)
        sides = self._before(tap.reads[0], shared), self._side(tap, shared)
        return ActivationComparison(tap, *sides, shared, left_out)

    def _with_both(self, tap: TapComparison, source: str, everyone: Iterable[str]) -> set[str]:
        """Return the runs that recorded a layer's tensor, and by their own graph what it reads.

        Where one of the two is an output, it comes from the untapped inference, and the other is
        what it was computed from only if taps changed nothing.
        """
        before = self.taps.get(source)
        crossing = tap.is_output or (before is not None and before.is_output)
        unsound = self.sample.taps_not_neutral if crossing else ()
        having = self._given(source) if before is None else chain(*before.eqcs)
        found = set(everyone).intersection(having).difference(unsound)
        return {name for name in found if self._reads(name, tap.tap) == tap.reads}

    def _given(self, source: str) -> list[str]:
        """Return the runs whose model was given a tensor from outside."""
        return [name for name in self.runs if self._input(name, source) is not None]

    def _reads(self, name: str, tap: str) -> tuple[str, ...] | None:
        layers = self.runs[name].layers
        if id(layers) not in self.edges:
            self.edges[id(layers)] = {str(row["tap"]): row.get("inputs") for row in layers}
        reads = self.edges[id(layers)].get(tap)
        return None if reads is None else tuple(reads)

    def _before(self, source: str, shared: Sequence[str]) -> TensorState:
        if source in self.taps:
            return self._side(self.taps[source], shared)
        row = self._input(shared[0], source) or {"dtype": ""}
        return TensorState(source, 1, identical_metrics(row["dtype"]))

    def _side(self, tap: TapComparison, shared: Sequence[str]) -> TensorState:
        """Return a tensor over some runs; it is read again only if others have it too."""
        if len(shared) == sum(map(len, tap.eqcs)):
            return TensorState(tap.tap, tap.eqc_count, tap.metrics)
        chosen = set(shared)
        heads = [next((name for name in ids if name in chosen), None) for ids in tap.eqcs]
        rows = [self._row(name, tap) for name in heads if name is not None]
        return TensorState(tap.tap, len(rows), self.measurer.measure_tap(rows).metrics)

    def _row(self, name: str, tap: TapComparison) -> Record:
        rows = self._result(name)["outputs" if tap.is_output else "taps"]
        found: Record = next(row for row in rows if row["name"] == tap.tap)
        return found

    def _input(self, name: str, tensor: str) -> Record | None:
        rows = self._result(name).get("inputs", ())
        return next((row for row in rows if row["name"] == tensor), None)

    def _result(self, name: str) -> Record:
        results = (row for row in self.runs[name].results if row["input"] == self.sample.input)
        return next(results, {})
