"""What the certificates of some runs come to: rounding only, a fault, or how much is not known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from typing import Any

from xbackend.comparison.comparison import Comparison
from xbackend.comparison.export import OTHER, ExportJudgement, export_judgements
from xbackend.comparison.findings import (
    NOT_JUDGED,
    NOT_NEUTRAL,
    ROUNDING,
    Certificate,
    LayerCertificate,
)
from xbackend.numerics.bounds.judgement import Judgement
from xbackend.store.cohort import Cohort
from xbackend.store.records import Run

NARROW = ("float16", "bfloat16")
"""Formats that a float32 model is brought to, and that its numbers may be too large for."""


class RoundingVerdict(Enum):
    """What certificates say of all runs of a cohort together."""

    FAULT = "beyond rounding"
    """A layer of a run at least, or an exported model, is another function."""
    ROUNDING = "rounding only"
    """Every layer of every run was judged, and rounding explains each."""
    EXACT = "right bits"
    """Every layer of every run was judged, and has the right bits."""
    PARTLY = "no fault in what was judged"
    """Some layers or runs could not be judged."""
    UNKNOWN = "not known"
    """No layer could be judged."""


@dataclass(frozen=True)
class CertifiedLayer:
    """A layer of a run."""

    run: Run
    layer: LayerCertificate


@dataclass(frozen=True)
class OtherArithmetic:
    """Layers of a run that compute in another format than it was asked for."""

    run: Run
    arithmetic: str
    taps: tuple[str, ...]


@dataclass(frozen=True)
class CertifiedFacts:
    """What is certified of some runs; every sentence on rounding says one of these values."""

    verdict: RoundingVerdict
    runs: int
    """Runs that gave outputs, certified or not."""
    unjudged_runs: tuple[str, ...]
    """Ids of the runs of which no layer was judged."""
    layers: int
    """Recorded layers of all certified runs together."""
    judged: int
    not_judged: int
    """Layers without a known bound, or whose inputs were not recorded."""
    not_neutral: int
    """Layers that prove nothing, as their recording changed bits."""
    formats: tuple[str, ...]
    """The arithmetics that explain the layers that round."""
    largest: Judgement | None
    """The judgement with the largest error of the layers that round."""
    faults: tuple[CertifiedLayer, ...]
    """The first layer beyond rounding of each run that has one."""
    overflows: tuple[CertifiedLayer, ...]
    """The first layer of each run that overflows where the right value is finite."""
    flushed: tuple[CertifiedLayer, ...]
    """The first layer of each run that gives zeros for subnormal numbers."""
    other_arithmetics: tuple[OtherArithmetic, ...]
    wrong_exports: tuple[ExportJudgement, ...]
    """Exported models that are another function than their source."""

    @property
    def has_gaps(self) -> bool:
        """Whether anything was not judged."""
        return bool(self.unjudged_runs) or self.judged < self.layers

    def to_dict(self) -> Mapping[str, Any]:
        """Return the entry `rounding` of a section in the JSON report."""
        largest = self.largest
        return {
            "verdict": self.verdict.value,
            "layers": self.layers,
            "judged": self.judged,
            "not_judged": self.not_judged,
            "not_neutral": self.not_neutral,
            "unjudged_runs": list(self.unjudged_runs),
            "arithmetics": list(self.formats),
            "largest_error": None if largest is None else largest.error,
            "its_limit": None if largest is None else largest.limit,
            "faults": [{"run": each.run.id, "tap": each.layer.tap} for each in self.faults],
            "wrong_exports": [each.source.id for each in self.wrong_exports],
            "overflows": [{"run": each.run.id, "tap": each.layer.tap} for each in self.overflows],
            "flushed": [{"run": each.run.id, "tap": each.layer.tap} for each in self.flushed],
        }


def certified_facts(
    certificates: Sequence[Certificate],
    runs: Sequence[Run],
    exports: Iterable[ExportJudgement] = (),
) -> CertifiedFacts | None:
    """Return what certificates say of runs; None where none of these runs has one.

    An exported model that is another function than its source is a fault, although each layer of
    its graph only rounds.
    """
    ids = {run.id for run in runs}
    found = [each for each in certificates if each.run.id in ids]
    if not found:
        return None
    judged = [layer for each in found for layer in each.judged]
    every = [layer for each in found for layer in each.layers]
    known = {each.run.id for each in found if each.judged}
    rounding = [one for one in judged if one.verdict == ROUNDING and one.judgement is not None]
    judgements = [one.judgement for one in rounding if one.judgement is not None]
    unjudged = tuple(run.id for run in runs if run.id not in known)
    faults = tuple(CertifiedLayer(each.run, each.faults[0]) for each in found if each.faults)
    wrong = tuple(each for each in exports if each.verdict == OTHER)
    complete = not unjudged and len(judged) == len(every)
    return CertifiedFacts(
        verdict=_verdict(bool(faults or wrong), bool(judged), complete, bool(rounding)),
        runs=len(runs),
        unjudged_runs=unjudged,
        layers=len(every),
        judged=len(judged),
        not_judged=sum(layer.verdict == NOT_JUDGED for layer in every),
        not_neutral=sum(layer.verdict == NOT_NEUTRAL for layer in every),
        formats=tuple(dict.fromkeys(one.arithmetic for one in judgements)),
        largest=max(judgements, key=lambda one: one.error, default=None),
        faults=faults,
        overflows=tuple(_overflows(found)),
        flushed=tuple(_flushed(found)),
        other_arithmetics=tuple(row for each in found for row in _other_arithmetics(each)),
        wrong_exports=wrong,
    )


def cohort_certified(comparison: Comparison, cohort: Cohort) -> CertifiedFacts | None:
    """Return what the certificates of a comparison say of a cohort; None where it has none."""
    if not comparison.certificates:
        return None
    exports = export_judgements(comparison, cohort)
    return certified_facts(comparison.certificates, cohort.runs, exports)


def has_fault(comparison: Comparison) -> bool:
    """Tell whether certificates show a layer beyond rounding or an export of another function."""
    cohorts = (samples[0].cohort for samples in comparison.sections.values())
    found = (cohort_certified(comparison, cohort) for cohort in cohorts)
    return any(each.verdict is RoundingVerdict.FAULT for each in found if each is not None)


def _verdict(fault: bool, judged: bool, complete: bool, rounds: bool) -> RoundingVerdict:
    if fault:
        return RoundingVerdict.FAULT
    if not judged:
        return RoundingVerdict.UNKNOWN
    if not complete:
        return RoundingVerdict.PARTLY
    return RoundingVerdict.ROUNDING if rounds else RoundingVerdict.EXACT


def _overflows(found: Iterable[Certificate]) -> Iterable[CertifiedLayer]:
    for each in found:
        layers = [layer for layer in each.overflows if layer in each.judged]
        if layers:
            yield CertifiedLayer(each.run, layers[0])


def _flushed(found: Iterable[Certificate]) -> Iterable[CertifiedLayer]:
    for each in found:
        layers = (one for one in each.judged if one.judgement and one.judgement.flushed)
        yield from (CertifiedLayer(each.run, one) for one in islice(layers, 1))


def narrower(run: Run) -> bool:
    """Tell whether a run was asked for a format that a converter brings a model to."""
    return str(run.row["precision"]) in NARROW


def _other_arithmetics(found: Certificate) -> Iterable[OtherArithmetic]:
    groups: dict[str, list[str]] = {}
    for layer in found.other_arithmetics:
        if layer.judgement is not None:
            groups.setdefault(layer.judgement.arithmetic, []).append(layer.tap)
    for arithmetic, taps in groups.items():
        yield OtherArithmetic(found.run, arithmetic, tuple(taps))
