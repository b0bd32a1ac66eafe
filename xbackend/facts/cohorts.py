"""What can be said of the runs of one model, precision and inputs: counted, not yet in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from xbackend.comparison.comparison import Comparison, SampleComparison, TapComparison
from xbackend.comparison.export import is_random
from xbackend.comparison.summary import Summary, summaries
from xbackend.facts.outcome import Outcome, outcome_of
from xbackend.numerics.floats import FORMATS
from xbackend.numerics.label_flips import has_label
from xbackend.store.records import Run


@dataclass(frozen=True)
class TensorPlace:
    """Which tensor of the graph is meant."""

    tap: str
    layer: int | None
    """None where the graph is not known."""
    operator: str | None
    input: str
    """Name of the sample."""


@dataclass(frozen=True)
class FirstDifference:
    """The earliest tensor in graph order that has several bit patterns."""

    place: TensorPlace
    is_output: bool
    classes: tuple[tuple[str, ...], ...]
    """Ids of the runs that recorded it, by their bits."""
    missing: tuple[str, ...]
    """Ids of the runs that did not record it."""
    before: int
    """Layers before it in the graph; 0 where the graph is not known."""
    shared_before: int
    """How many of these two runs or more recorded."""
    unseen_before: int
    """How many not all runs recorded, so that it may not be the first."""
    taps_changed_bits: tuple[str, ...]
    """Ids of those of its runs whose recording changed bits."""


@dataclass(frozen=True)
class SharedBits:
    """The leading mantissa bits that all classes of an output share."""

    place: TensorPlace
    bits: int
    of: int
    """Mantissa bits of its format."""


@dataclass(frozen=True)
class IntegerDistance:
    """How far apart the classes of an output of integers are."""

    place: TensorPlace
    steps: int | None


@dataclass(frozen=True)
class Exposure:
    """Layers in which a kernel of some runs may saturate, which may explain classes."""

    backend: str
    taps: tuple[str, ...]


@dataclass(frozen=True)
class Substitution:
    """A setting that was asked for and came to nothing."""

    backend: str
    setting: str
    value: str
    """What it came to."""
    reason: str
    runs: tuple[str, ...]
    """Ids."""


@dataclass(frozen=True)
class RandomRun:
    """A run that draws random numbers, or seems to."""

    run: str
    """Its id."""
    told: bool
    """Whether its framework says that numbers were drawn."""
    may_race: bool
    """Whether threads, or those of a GPU, may have raced, which gives other bits as well."""


@dataclass(frozen=True)
class CohortFacts:
    """What is known of a cohort; every sentence on it says one of these values."""

    outcome: Outcome
    runs: int
    """Runs that gave outputs."""
    classes: int
    """Classes of the outputs: runs are in two if a tensor that both have differs."""
    gaps: tuple[str, ...]
    """Ids of runs that lack an output of a sample that others have."""
    inner_layers: int
    """Layers of the graph before the outputs, as the runs know it."""
    shared_layers: int
    """How many of these two runs or more recorded."""
    partly_recorded: int
    """How many of the layers that were recorded some runs lack."""
    partly_differing: int
    """How many of these are in several classes, which is when tables show a layer."""
    unmeasured: int
    """How many of the layers in several classes have no bytes in the store, so no distances."""
    first: FirstDifference | None
    fewest_bits: SharedBits | None
    """Of the float outputs in several classes that with the fewest bits in common."""
    farthest_integers: IntegerDistance | None
    """Of the integer outputs in several classes that with the largest distance."""
    incomparable: tuple[TensorPlace, ...]
    """Outputs whose dtypes or shapes differ between runs."""
    not_finite: int
    """Elements of the outputs at which NaN or infinity stands against another number."""
    has_labels: bool
    """Whether any output is one row of scores a sample."""
    flipped: tuple[str, ...]
    """Ids of runs of which a label is not the first run's."""
    exposures: tuple[Exposure, ...]
    """Where saturating kernels may explain the classes."""
    substitutions: tuple[Substitution, ...]
    random: tuple[RandomRun, ...]
    """Runs that gave other bits when they were repeated within one session."""


def cohort_facts(comparison: Comparison) -> list[CohortFacts]:
    """Return the facts of each cohort, in the order of `summaries`."""
    return [facts_of(summary) for summary in summaries(comparison)]


def facts_of(summary: Summary) -> CohortFacts:
    """Return what is known of a cohort."""
    samples = summary.samples
    outputs = [output for sample in samples for output in sample.outputs]
    differing = [output for output in outputs if output.eqc_count > 1]
    layers = [tap for tap in summary.taps if not tap.is_output]
    outcome = outcome_of(summary.run_count, samples, len(summary.eqcs))
    return CohortFacts(
        outcome=outcome,
        runs=summary.run_count,
        classes=len(summary.eqcs),
        gaps=_gaps(samples, outputs),
        inner_layers=len(_inner_layers(samples)),
        shared_layers=sum(tap.run_count > 1 for tap in layers),
        partly_recorded=sum(bool(tap.missing) for tap in layers),
        partly_differing=sum(bool(tap.missing) and tap.eqc_count > 1 for tap in layers),
        unmeasured=len({t.tap for each in samples for t in each.taps if not t.is_measured}),
        first=_first(samples),
        fewest_bits=min(_shared_bits(differing), key=lambda each: each.bits, default=None),
        farthest_integers=_farthest(differing),
        incomparable=tuple(_place(each) for each in differing if _is_incomparable(each)),
        not_finite=summary.metrics.not_finite,
        has_labels=any(has_label(output.dtype, output.shape) for output in outputs),
        flipped=summary.flipped,
        substitutions=substitutions(summary.cohort.runs),
        random=random_runs(summary.cohort.runs),
        exposures=_exposures(summary) if outcome is Outcome.DIFFERENT_BITS else (),
    )


def _place(tap: TapComparison) -> TensorPlace:
    return TensorPlace(tap.tap, tap.layer, tap.operator, tap.input)


def _gaps(samples: Sequence[SampleComparison], outputs: Sequence[TapComparison]) -> tuple[str, ...]:
    """Return the runs that lack an output, or a sample altogether."""
    everyone = [run.id for run in samples[0].cohort.runs]
    having = [set(chain(*output.eqcs)) for output in outputs]
    return tuple(name for name in everyone if any(name not in names for names in having))


def _inner_layers(samples: Sequence[SampleComparison]) -> set[str]:
    """Return the names of all layers, of graphs and recorded ones, but for the outputs."""
    outputs = {output.tap for sample in samples for output in sample.outputs}
    graphs = {id(run.layers): run.layers for run in samples[0].cohort.runs}
    named = {str(row["tap"]) for layers in graphs.values() for row in layers}
    return (named | {tap.tap for sample in samples for tap in sample.taps}) - outputs


def _first(samples: Sequence[SampleComparison]) -> FirstDifference | None:
    """Return the first difference of the sample that diverges first."""
    far = float("inf")
    found = [(sample, first) for sample in samples if (first := sample.first_divergence)]
    if not found:
        return None
    sample, first = min(found, key=lambda each: far if each[1].layer is None else each[1].layer)
    changed = set(sample.taps_not_neutral)
    return FirstDifference(
        place=_place(first),
        is_output=first.is_output,
        classes=first.eqcs,
        missing=first.missing,
        **_before(sample, first),
        taps_changed_bits=()
        if first.is_output
        else tuple(name for name in chain(*first.eqcs) if name in changed),
    )


def _before(sample: SampleComparison, first: TapComparison) -> dict[str, int]:
    """Count the layers before a tensor, by how many runs recorded them on its sample."""
    graphs = {id(run.layers): run.layers for run in sample.cohort.runs}
    place = -1 if first.layer is None else first.layer
    names = {
        str(row["tap"]) for layers in graphs.values() for row in layers if row["layer"] < place
    }
    found = [tap for tap in sample.taps if tap.tap in names]
    return {
        "before": len(names),
        "shared_before": sum(sum(map(len, tap.eqcs)) > 1 for tap in found),
        "unseen_before": len(names) - sum(not tap.missing for tap in found),
    }


def _shared_bits(differing: Iterable[TapComparison]) -> Iterator[SharedBits]:
    for tap in differing:
        layout, bits = FORMATS.get(tap.dtype), tap.metrics.remaining_precision
        if layout is not None and bits is not None and not _is_incomparable(tap):
            yield SharedBits(_place(tap), bits, layout.mantissa_bits)


def _farthest(differing: Iterable[TapComparison]) -> IntegerDistance | None:
    found = [
        IntegerDistance(_place(tap), tap.metrics.max_ulp)
        for tap in differing
        if tap.dtype not in FORMATS and not _is_incomparable(tap)
    ]
    return max(found, key=lambda each: each.steps or 0, default=None)


def _is_incomparable(tap: TapComparison) -> bool:
    return tap.metrics.deviating_fraction is None


def _exposures(summary: Summary) -> tuple[Exposure, ...]:
    """Return where kernels may saturate: only on processors that may have such kernels.

    With VNNI a processor adds products in 32 bits.
    """
    found: dict[str, tuple[str, ...]] = {}
    for run in summary.cohort.runs:
        rows = run.row.get("saturation") or ()
        flags = {str(flag) for flag in run.row["hardware"].get("flags") or ()}
        if rows and may_saturate(flags):
            found.setdefault(str(run.row["backend"]), tuple(str(row["tap"]) for row in rows))
    return tuple(Exposure(backend, taps) for backend, taps in found.items())


def substitutions(runs: Iterable[Run]) -> tuple[Substitution, ...]:
    """Return the settings that adapters say came to something else, with the runs of each."""
    found: dict[tuple[str, str, str, str], list[str]] = {}
    for run in runs:
        said = (run.row.get("facts") or {}).get("substituted") or {}
        for setting, reason in said.items():
            value = str(run.row["settings"].get(setting))
            key = (str(run.row["backend"]), str(setting), value, str(reason))
            found.setdefault(key, []).append(run.id)
    return tuple(Substitution(*key, tuple(ids)) for key, ids in found.items())


def random_runs(runs: Iterable[Run]) -> tuple[RandomRun, ...]:
    """Return the runs that gave other bits when a sample was inferred again."""
    return tuple(
        RandomRun(
            run=run.id,
            told=run.row["facts"].get("draws_random") is True,
            may_race=run.row["settings"].get("threads", 1) != 1
            or bool(run.row["hardware"].get("gpus")),
        )
        for run in runs
        if is_random(run)
    )


def may_saturate(flags: set[str]) -> bool:
    """Tell whether a processor with such flags may add pairs of products in 16 bits.

    It may with `vpmaddubsw` and without VNNI; of unknown flags nothing is ruled out.

    >>> may_saturate({"avx2"}), may_saturate({"avx2", "avx_vnni"}), may_saturate(set())
    (True, False, True)
    """
    return not flags & {"avx_vnni", "avx512_vnni", "avx512vnni", "asimddp", "i8mm"}
