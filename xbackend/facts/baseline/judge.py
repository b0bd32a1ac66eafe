"""Holds runs against a baseline: which of their classes are known, and what the others are.

What decides on a new class, in this order: another label than every known class has; a certificate
of its run; the rules that were given; what the known classes share with one another. Where none of
these says anything, it is a class that nothing judged, and that is no pass. The nearest known
class is the one that shares the most mantissa bits with it, then the one fewest ULP away.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from xbackend.comparison.comparison import Comparison
from xbackend.comparison.findings import Certificate
from xbackend.errors import UsageError
from xbackend.facts.baseline.collect import (
    Observation,
    known_blocks,
    labels_of,
    observations,
    section_of,
    stored_blocks,
)
from xbackend.facts.baseline.entries import Baseline, BaselineSection, KnownClass, MachineKind
from xbackend.facts.baseline.verdicts import (
    BaselineFinding,
    BaselineJudgement,
    BaselineVerdict,
    Nothing,
    Rounding,
)
from xbackend.facts.gates import OUTPUT, RELATIONS, Condition, Gate, has_nonfinite_output
from xbackend.numerics.blocks import TensorBlocks
from xbackend.numerics.floats import FORMATS
from xbackend.numerics.metrics import Metrics, measure
from xbackend.store.records import Run
from xbackend.store.store import Store

MEASURES = ("bits", "ulp", "abs", "deviating")
"""What rules for new classes may be about: measures of two tensors."""


def check_rules(rules: Sequence[Gate]) -> None:
    """Raise UsageError for a rule that nothing can be held against where one class is known."""
    for rule in rules:
        wrong = next((each for each in rule.conditions if each.measure not in MEASURES), None)
        if rule.is_certified or wrong is not None:
            what = "'rounding'" if wrong is None else f"'{wrong.measure}'"
            raise UsageError(
                f"'--baseline-rule {rule}' is about {what}, but rules for new classes are about "
                f"{', '.join(MEASURES)}. For certificates add --certify."
            )


def judge(
    comparison: Comparison, baseline: Baseline, rules: Sequence[Gate] = ()
) -> BaselineJudgement:
    """Hold the runs of a comparison against a baseline.

    Outputs always, and each layer of which the baseline knows classes. Rules are about new
    classes; certificates count where the comparison has them.
    """
    check_rules(rules)
    judge_class = _ClassJudge(comparison, baseline, rules)
    found: list[BaselineFinding] = []
    ok = [run for run in comparison.runs if run.ok]
    failed = [run for run in comparison.runs if run.row["status"] == "failed"]
    if not ok:
        found.append(_nothing(Nothing.NO_RUN, ()))
    found += [_nothing(Nothing.FAILED, (run,), section_of(run)) for run in failed]
    sections: dict[str, list[Run]] = {}
    for run in ok:
        sections.setdefault(section_of(run).id, []).append(run)
    for name, runs in sections.items():
        if name in baseline.sections:
            found += judge_class.of_section(runs)
        else:
            found.append(_nothing(Nothing.NO_SECTION, tuple(runs), section_of(runs[0])))
    missing = tuple(each for name, each in baseline.sections.items() if name not in sections)
    return BaselineJudgement(tuple(found), missing)


def _nothing(
    why: Nothing, runs: tuple[Run, ...], section: BaselineSection | None = None
) -> BaselineFinding:
    return BaselineFinding(BaselineVerdict.NOTHING, runs, section=section, nothing=why)


class _ClassJudge:
    """Judges the classes of runs, reading each tensor once."""

    def __init__(self, comparison: Comparison, baseline: Baseline, rules: Sequence[Gate]) -> None:
        self.store = comparison.store
        self.baseline = baseline
        self.rules = rules
        self.certificates = {each.run.id: each for each in comparison.certificates}
        self.new: dict[tuple[tuple[str, str, str], str], _NewClass] = {}

    def of_section(self, runs: Sequence[Run]) -> Iterator[BaselineFinding]:
        """Yield what the runs of a section are, tensor by tensor, class by class."""
        groups: dict[tuple[object, ...], list[tuple[Observation, BaselineFinding]]] = {}
        for each in observations(runs):
            known = self.baseline.at(each.place)
            if not known and not each.is_output:
                continue  # a layer that nobody put into the baseline
            one = self._judge(each, known)
            groups.setdefault((each.place, each.row["digest"], one), []).append((each, one))
        for of in groups.values():
            kinds = dict.fromkeys(each.kind for each, _ in of)
            yield _with_runs(of[0][1], tuple(each.run for each, _ in of), tuple(kinds))

    def _judge(self, each: Observation, known: Mapping[str, KnownClass]) -> BaselineFinding:
        """Return what one tensor of one run is; the runs are filled in later."""
        digest = str(each.row["digest"])
        if not known:
            verdict = BaselineVerdict.NOTHING
        elif digest in known:
            verdict = self._of_known(each, known)
        else:
            return self._of_new(each, known)
        return _finding(
            each,
            verdict,
            len(known),
            nothing=None if known else Nothing.NO_TENSOR,
            emulated_only=digest in known and self._emulated_only(each, known[digest]),
        )

    def _of_known(self, each: Observation, known: Mapping[str, KnownClass]) -> BaselineVerdict:
        def gave(of: KnownClass) -> bool:
            return any(seen.kind == each.kind.id for seen in self.baseline.seen_by(of.id))

        if gave(known[str(each.row["digest"])]):
            return BaselineVerdict.KNOWN
        before = any(map(gave, known.values()))
        return BaselineVerdict.OTHER_CLASS if before else BaselineVerdict.NEW_KIND

    def _emulated_only(self, each: Observation, known: KnownClass) -> bool:
        seen = self.baseline.seen_by(known.id)
        return not each.sighting.emulated and bool(seen) and all(one.emulated for one in seen)

    def _of_new(self, each: Observation, known: Mapping[str, KnownClass]) -> BaselineFinding:
        key = (each.place, str(each.row["digest"]))
        if key not in self.new:
            self.new[key] = _NewClass.measured(each, tuple(known.values()), self.store)
        new = self.new[key]
        rounding = _rounding(self.certificates.get(each.run.id), each, self.store)
        verdict, decided_by = self._decide(each, new, rounding)
        return _finding(
            each,
            verdict,
            len(known),
            metrics=new.metrics,
            known_metrics=new.known_metrics,
            labels=new.flip,
            decided_by=decided_by,
            rounding=rounding if decided_by == "certificate" else None,
        )

    def _decide(
        self, each: Observation, new: _NewClass, rounding: Rounding | None
    ) -> tuple[BaselineVerdict, str]:
        """Return the verdict on a new class, and what decided."""
        conditions = [
            (f"{rule.pattern}: {one}", one)
            for rule in self.rules
            if _concerns(rule, each)
            for one in rule.conditions
        ]
        broken = [text for text, one in conditions if not _keeps(one, new.metrics, each)]
        if new.flip is not None:
            return BaselineVerdict.FLIPS, ""
        if rounding is not None and rounding.fault is not None:
            return BaselineVerdict.BEYOND, "certificate"
        if broken and new.metrics is not None:
            return BaselineVerdict.FEWER_BITS, broken[0]
        if rounding is not None:
            return BaselineVerdict.WITHIN, "certificate"
        if conditions and not broken:
            return BaselineVerdict.WITHIN_RULE, ", ".join(text for text, _ in conditions)
        if new.is_farther:
            return BaselineVerdict.FEWER_BITS, "known classes"
        return BaselineVerdict.UNJUDGED, ""


def _finding(
    each: Observation,
    verdict: BaselineVerdict,
    known: int,
    nothing: Nothing | None = None,
    emulated_only: bool = False,
    metrics: Metrics | None = None,
    known_metrics: Metrics | None = None,
    labels: tuple[int, int, int] | None = None,
    decided_by: str = "",
    rounding: Rounding | None = None,
) -> BaselineFinding:
    """Return a finding on a tensor, whose runs are not filled in."""
    return BaselineFinding(
        verdict, (), (), each.section, str(each.row["name"]), each.sample, each.is_output,
        str(each.row["dtype"]), str(each.row["digest"]), known, metrics, known_metrics,
        decided_by, rounding, labels, emulated_only, nothing,
    )  # fmt: skip


def _with_runs(
    finding: BaselineFinding, runs: tuple[Run, ...], kinds: tuple[MachineKind, ...]
) -> BaselineFinding:
    return replace(finding, runs=runs, kinds=kinds)


@dataclass(frozen=True)
class _NewClass:
    """What is measured of a class that a baseline does not have."""

    metrics: Metrics | None
    known_metrics: Metrics | None
    flip: tuple[int, int, int] | None

    @classmethod
    def measured(cls, each: Observation, known: Sequence[KnownClass], store: Store) -> _NewClass:
        """Measure a class against the known ones."""
        tensor = stored_blocks(each.row, store)
        blocks = [(one, known_blocks(one, store)) for one in known]
        there = [(one, of) for one, of in blocks if of is not None]
        pairs = [measure([of, tensor]) for _, of in there] if tensor is not None else []
        order = sorted(range(len(pairs)), key=lambda at: _nearness(pairs[at]))
        nearest = there[order[0]][0] if order else known[0]
        return cls(
            pairs[order[0]] if order else None,
            measure([of for _, of in there]) if len(there) > 1 else None,
            _flip(tensor, nearest, dict(blocks)),
        )

    @property
    def is_farther(self) -> bool:
        """Whether it is farther from the known classes than these are from one another.

        Measured in common mantissa bits, of integers in steps.
        """
        mine, theirs = self.metrics, self.known_metrics
        if mine is None or theirs is None:
            return False
        if mine.remaining_precision is not None and theirs.remaining_precision is not None:
            return mine.remaining_precision < theirs.remaining_precision
        return (mine.max_ulp or 0) > (theirs.max_ulp or 0)


def _nearness(metrics: Metrics) -> tuple[int, float]:
    """Return what sorts the nearest first."""
    ulp = float("inf") if metrics.max_ulp is None else metrics.max_ulp
    return (-(metrics.remaining_precision or 0), ulp)


def _flip(
    tensor: TensorBlocks | None,
    nearest: KnownClass,
    blocks: Mapping[KnownClass, TensorBlocks | None],
) -> tuple[int, int, int] | None:
    """Return the first row whose label no known class has: its place, its label, the nearest's.

    None where all labels together are those of some known class, and where nothing has labels.
    """
    mine = labels_of(tensor)
    theirs = {one: one.labels or labels_of(of) for one, of in blocks.items()}
    known = [labels for labels in theirs.values() if labels]
    if not mine or not known or mine in known:
        return None
    other = theirs[nearest] or known[0]
    differing = (
        (at, one, two) for at, (one, two) in enumerate(zip(mine, other, strict=False)) if one != two
    )
    return next(differing, None)


def _rounding(certificate: Certificate | None, each: Observation, store: Store) -> Rounding | None:
    """Return what a run's certificate says: of all layers for an output, else of the layer.

    None where it judged nothing of it. An overflow counts where the run's outputs are not finite.
    """
    if certificate is None:
        return None
    name = str(each.row["name"])
    layers = [one for one in certificate.layers if each.is_output or one.tap == name]
    judged = [one for one in certificate.judged if one in layers]
    wrong = list(certificate.faults)
    if certificate.overflows and has_nonfinite_output(each.run, store):
        wrong += certificate.overflows
    fault = next((one.tap for one in wrong if one in layers), None)
    return Rounding(len(judged), len(layers), fault) if judged else None


def _concerns(rule: Gate, each: Observation) -> bool:
    if rule.pattern == OUTPUT:
        return each.is_output
    return fnmatchcase(str(each.row["name"]), rule.pattern)


def _keeps(condition: Condition, metrics: Metrics | None, each: Observation) -> bool:
    """Tell whether a new class keeps a condition; what cannot be measured keeps none."""
    if metrics is None:
        return False
    bits = metrics.remaining_precision if str(each.row["dtype"]) in FORMATS else 0
    value: float | None = {
        "bits": bits,
        "ulp": metrics.max_ulp,
        "abs": metrics.max_abs,
        "deviating": metrics.deviating_fraction,
    }[condition.measure]
    return value is not None and RELATIONS[condition.relation](value, condition.bound)


def accepted(judgement: BaselineJudgement, everything: bool) -> Iterable[str]:
    """Return the ids of runs whose classes a baseline takes up: of all, or where all passes."""
    refused = {run.id for each in judgement.failures for run in each.runs}
    every = dict.fromkeys(run.id for each in judgement.findings for run in each.runs if run.ok)
    return [name for name in every if everything or name not in refused]
