"""Rules that tensors must keep, such as `output: bits>=16, flips=0`, and what breaks them.

A rule is a pattern of tensors' names (`output` for all outputs), a colon, and conditions parted by
commas. A rule for which nothing was compared is broken: two runs must have had a tensor that it is
about, and of `flips` a label. The rule `rounding` alone is about certificates: no layer of any run
may be beyond rounding, and of each run a layer at least must have been judged. A layer that
overflows breaks it where outputs of its run are not finite. A run of a model's source is held
against that of its exported graph instead, which must not be another function.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from xbackend.comparison.comparison import Comparison, TapComparison
from xbackend.comparison.export import OTHER, RANDOM, export_judgements
from xbackend.comparison.findings import LayerCertificate, TensorPair
from xbackend.errors import UsageError, did_you_mean
from xbackend.numerics.blocks import blocks_of_file, count_nonfinite
from xbackend.numerics.floats import FORMATS
from xbackend.numerics.label_flips import has_label
from xbackend.store.records import Run
from xbackend.store.store import Store

OUTPUT = "output"
CERTIFIED = "rounding"
RELATIONS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge, "<=": operator.le, "==": operator.eq, "=": operator.eq, ">": operator.gt,
    "<": operator.lt,
}  # fmt: skip
OF_ALL = ("classes", "bits", "flips", "ulp", "abs", "deviating")
"""Measures over all classes of a tensor."""
OF_PAIRS: Mapping[str, str] = {
    "mean": "mean_abs", "rms": "rms_error", "relative": "relative", "cosine": "cosine",
    "snr": "snr_db",
}  # fmt: skip
"""Measures of each pair of classes, by the field of `PairMetrics`."""
BEST = {"cosine": 1.0, "snr": float("inf")}
"""What a measure is where nothing differs; 0 for the others."""
Key = tuple[str, str, str]
"""A cohort's key, a sample's name, a tensor's name."""
CONDITION = re.compile(r"\s*(\w+)\s*(>=|<=|==|=|>|<)\s*([-+.\w]+)\s*")


@dataclass(frozen=True)
class Condition:
    """One measure and its bound."""

    measure: str
    relation: str
    bound: float
    written: str = ""
    """The bound as the user wrote it."""

    def __str__(self) -> str:
        return f"{self.measure}{self.relation}{self.written or format(self.bound, 'g')}"


@dataclass(frozen=True)
class Gate:
    """A rule: which tensors, and what must hold of each on every sample."""

    pattern: str
    conditions: tuple[Condition, ...]
    """Empty for the rule `rounding`."""

    def __str__(self) -> str:
        conditions = ", ".join(map(str, self.conditions))
        return f"{self.pattern}: {conditions}" if conditions else self.pattern

    @property
    def is_certified(self) -> bool:
        """Whether it is about certificates, and not about tensors."""
        return self.pattern == CERTIFIED and not self.conditions


@dataclass(frozen=True)
class GateFailure:
    """A condition that does not hold."""

    gate: Gate
    condition: Condition
    tensor: TapComparison | None
    """Where; None where nothing was compared."""
    value: float | None
    """What it is there; None where there is no such number."""

    def __str__(self) -> str:
        rule = f"Gate '{self.gate.pattern}: {self.condition}'"
        if self.tensor is None:
            return f"{rule}: nothing was compared, as {_nothing(self.gate, self.condition)}."
        tap, group = self.tensor, self.tensor.cohort.group
        where = f"'{tap.tap}' of {tap.cohort.model} ({group['precision']}), input '{tap.input}'"
        found = "has no such number" if self.value is None else f"is {self.value:g}"
        return f"{rule} fails at {where}: {self.condition.measure} {found}."


@dataclass(frozen=True)
class RoundingFailure:
    """A run that the rule `rounding` does not hold for."""

    run: Run | None
    """None where no run gave outputs."""
    layer: LayerCertificate | None
    """The first that is beyond rounding; None where no layer of the run was judged."""
    is_export: bool = False
    """Whether the model that was exported from what it ran is another function."""
    overflows: bool = False
    """Whether the layer overflows, and outputs are not finite."""

    def __str__(self) -> str:
        if self.run is None:
            return f"Gate '{CERTIFIED}': nothing was judged, as no run gave outputs."
        row = self.run.row
        who = f"{row['backend']} {row['backend_version']} ({row['platform']}), run {self.run.id}"
        if self.is_export:
            return f"Gate '{CERTIFIED}' fails: the export of {who} is another function."
        if self.layer is None:
            return f"Gate '{CERTIFIED}': nothing was judged, as no layer of {who} could be."
        layer = self.layer
        where = f"layer {layer.layer} ({layer.operator}, tap '{layer.tap}')"
        why = "it is beyond rounding"
        if self.overflows:
            why = f"it overflows {row['precision']}, and outputs are not finite"
        return f"Gate '{CERTIFIED}' fails at {where} of {who}: {why}."


def _nothing(gate: Gate, condition: Condition) -> str:
    what = "output" if gate.pattern == OUTPUT else f"tensor '{gate.pattern}'"
    label = " that has a label" if condition.measure == "flips" else ""
    return (
        f"no two runs have an {what}{label}"
        if what == "output"
        else (f"no two runs recorded a {what}{label}")
    )


def parse_gate(text: str) -> Gate:
    """Read a rule. Raises UsageError for one that has no meaning.

    >>> str(parse_gate("conv*: ulp <= 64"))
    'conv*: ulp<=64'
    """
    if text.strip() == CERTIFIED:
        return Gate(CERTIFIED, ())
    pattern, colon, rest = text.rpartition(":")
    matches = [CONDITION.fullmatch(part) for part in rest.split(",")]
    if not colon or not pattern.strip() or None in matches:
        raise UsageError(
            f"'--gate {text}' is no rule. Write tensors, a colon and conditions: "
            "'output: bits>=16, flips=0' or 'conv*: ulp<=64'; or the one word 'rounding'."
            f"{did_you_mean(text.strip(), [CERTIFIED])}"
        )
    return Gate(pattern.strip(), tuple(_condition(text, each) for each in matches if each))


def _condition(text: str, found: re.Match[str]) -> Condition:
    measure, relation, bound = found.groups()
    if measure not in (*OF_ALL, *OF_PAIRS):
        known = ", ".join((*OF_ALL, *OF_PAIRS))
        near = did_you_mean(measure, (*OF_ALL, *OF_PAIRS))
        raise UsageError(
            f"'--gate {text}': there is no measure '{measure}'. Measures: {known}.{near}"
        )
    try:
        number = float(bound)
    except ValueError:
        number = float("nan")
    if number != number:
        raise UsageError(f"'--gate {text}': '{bound}' is no number.")
    return Condition(measure, relation, number, bound)


def needs_pairs(gates: Sequence[Gate]) -> bool:
    """Tell whether a rule is about a measure of pairs, which are measured on demand only."""
    return any(each.measure in OF_PAIRS for gate in gates for each in gate.conditions)


def needs_certificates(gates: Iterable[Gate]) -> bool:
    """Tell whether a rule is about certificates, which are computed on demand only."""
    return any(gate.is_certified for gate in gates)


def gate_failures(
    comparison: Comparison, gates: Sequence[Gate]
) -> list[GateFailure | RoundingFailure]:
    """Return what breaks rules, rule by rule, tensor by tensor; empty if all hold.

    Measures of pairs must have been added to the comparison, see `xbackend.facts.pairs`, and for
    the rule `rounding` certificates: a run without one was not judged.
    """
    pairs: dict[Key, list[TensorPair]] = {}
    for pair in comparison.pairs:
        pairs.setdefault((pair.cohort, pair.input, pair.tap), []).append(pair)
    found: list[GateFailure | RoundingFailure] = []
    for gate in gates:
        if gate.is_certified:
            found += _rounding_failures(comparison)
        for condition in gate.conditions:
            found += _failures(comparison, gate, condition, pairs)
    return found


def _rounding_failures(comparison: Comparison) -> Iterator[RoundingFailure]:
    """Yield the runs with a layer beyond rounding, and those of which no layer was judged."""
    certificates = {each.run.id: each for each in comparison.certificates}
    if not any(run.ok for run in comparison.runs):
        yield RoundingFailure(None, None)
    exports: dict[str, bool] = {}
    judged = (each for each in export_judgements(comparison) if each.verdict != RANDOM)
    for each in judged:
        wrong = each.verdict == OTHER
        exports[each.source.id] = exports.get(each.source.id, False) or wrong
    for run in comparison.runs:
        certificate = certificates.get(run.id)
        if certificate is not None and certificate.faults:
            yield RoundingFailure(run, certificate.faults[0])
        elif certificate and certificate.overflows and has_nonfinite_output(run, comparison.store):
            yield RoundingFailure(run, certificate.overflows[0], overflows=True)
        elif run.id in exports:
            if exports[run.id]:
                yield RoundingFailure(run, None, is_export=True)
        elif run.ok and (certificate is None or not certificate.judged):
            yield RoundingFailure(run, None)


def has_nonfinite_output(run: Run, store: Store) -> bool:
    """Tell whether NaN or infinity stands in an output. Raises StoreError for a damaged one."""
    outputs = [row for result in run.results for row in result["outputs"]]
    return any(_count_nonfinite(row, store) for row in outputs if row["dtype"] in FORMATS)


def _count_nonfinite(row: Mapping[str, Any], store: Store) -> int:
    store.verify_object(row["digest"])
    path = store.object_path(row["digest"])
    return count_nonfinite(blocks_of_file(path, row["dtype"], tuple(row["shape"])))


def _failures(
    comparison: Comparison,
    gate: Gate,
    condition: Condition,
    pairs: Mapping[Key, Sequence[TensorPair]],
) -> Iterator[GateFailure]:
    judged = judged_tensors(comparison, gate, condition)
    if not judged:
        yield GateFailure(gate, condition, None, None)
    for tap in judged:
        for value in _values(tap, condition.measure, pairs.get(key_of(tap), ()) if pairs else ()):
            holds = value is not None and RELATIONS[condition.relation](value, condition.bound)
            if not holds:
                yield GateFailure(gate, condition, tap, value)
                break


def judged_tensors(comparison: Comparison, gate: Gate, condition: Condition) -> list[TapComparison]:
    """Return the tensors that a condition is about and that two runs have, sample by sample."""
    return [
        tap
        for sample in comparison.samples
        for tap in sample.taps
        if _concerns(gate, tap) and _is_compared(tap, condition)
    ]


def key_of(tap: TapComparison) -> Key:
    """Return what pairs of a tensor are found by."""
    return (tap.cohort.key, tap.input, tap.tap)


def _concerns(gate: Gate, tap: TapComparison) -> bool:
    return tap.is_output if gate.pattern == OUTPUT else fnmatchcase(tap.tap, gate.pattern)


def _is_compared(tap: TapComparison, condition: Condition) -> bool:
    if sum(map(len, tap.eqcs)) < 2:
        return False
    return condition.measure != "flips" or (tap.is_output and has_label(tap.dtype, tap.shape))


def _values(
    tap: TapComparison, measure: str, pairs: Sequence[TensorPair]
) -> Iterator[float | None]:
    """Yield what a measure is, for each pair if it is one of pairs; None where there is none."""
    metrics = tap.metrics
    if measure in OF_PAIRS:
        if tap.eqc_count == 1:
            yield BEST.get(measure, 0.0)
        elif not pairs:
            yield None
        for pair in pairs:
            yield None if pair.metrics is None else _of_pair(pair, measure)
        return
    yield {
        "classes": tap.eqc_count,
        "bits": _bits(tap),
        "flips": sum(len(ids) for ids, flips in zip(tap.eqcs, tap.flips) if flips),  # noqa: B905 (flips is empty but for outputs)
        "ulp": metrics.max_ulp,
        "abs": metrics.max_abs,
        "deviating": metrics.deviating_fraction,
    }[measure]


def _of_pair(pair: TensorPair, measure: str) -> float | None:
    """Return a measure of two tensors; without any finite difference it is at its best."""
    metrics = pair.metrics
    if metrics is None or metrics.not_finite:
        return None
    if not metrics.rms_error and measure in BEST:
        return BEST[measure]
    value: float | None = getattr(metrics, OF_PAIRS[measure])
    return value


def _bits(tap: TapComparison) -> float | None:
    """Return the bits that all classes share; several classes of integers share none."""
    if tap.dtype in FORMATS:
        return tap.metrics.remaining_precision
    return float("inf") if tap.eqc_count == 1 else 0
