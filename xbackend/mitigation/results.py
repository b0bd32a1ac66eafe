"""What each mitigation did: one row for each backend, and one across backends; sorted."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from xbackend.comparison.measurement import Measurer
from xbackend.diagnosis.reference import ReferenceMeasurer
from xbackend.mitigation.consistency import Consistency, measure_consistency
from xbackend.mitigation.trials import Trial
from xbackend.numerics.float64_error import ErrorMetrics, worst_errors
from xbackend.numerics.label_flips import argmax_label
from xbackend.numerics.zeroing import has_low_mantissa_bits
from xbackend.store.records import Run
from xbackend.store.store import Store

Record = dict[str, Any]
ALL_BACKENDS = "all together"
"""Stands where a row's backend does, for all backends."""


@dataclass(frozen=True)
class MitigationResult:
    """One mitigation of one backend, or across backends."""

    backend: str
    mitigation: str
    """Empty for the model as it is."""
    before: Consistency | None
    """The same runs without it; None where that gave nothing to compare with."""
    after: Consistency | None
    """None where nothing ran."""
    unchanged: bool = False
    """Whether every output of every run has the bits that it has without."""
    time: float | None = None
    """Seconds of an inference, as a ratio to those without it."""
    correctness: ErrorMetrics | None = None
    """Against the model in float64, the worst of all runs."""
    fidelity: float | None = None
    """Its relative error in bits: -log2 of the root mean square over that of the reference."""
    accuracy: tuple[float, float] | None = None
    """The least and the largest share of right labels over the runs."""
    notes: tuple[str, ...] = ()
    """Why it cannot be, what is emulated, where it failed."""
    dishonoured: bool = False
    """Whether a run shows that the mitigation was not carried out."""
    replaced_by: str = ""
    """The backend that runs in place of this one, or of several; empty if none does."""
    expected_runs: int | None = None
    """How many runs give an output with it if none is lost; None for as many as without it."""

    @property
    def works(self) -> bool:
        """Whether all runs give the same bits, on several platforms or in several backends."""
        return self.after is not None and self.after.classes == 1 and not self.incomplete

    @property
    def incomplete(self) -> bool:
        """Whether fewer runs gave an output than should have."""
        if not self.before or not self.after:
            return False
        expected = self.before.runs if self.expected_runs is None else self.expected_runs
        return self.after.runs < expected

    def to_dict(self) -> Record:
        """Return JSON values."""
        return {**asdict(self), "notes": list(self.notes), "incomplete": self.incomplete}


@dataclass
class Evaluator:
    """What rows are measured with."""

    measurer: Measurer
    reference_measurer: ReferenceMeasurer
    reference: Run | None
    """The model in float64."""
    labels: Mapping[str, int]
    """Sample's name to its right class."""

    @classmethod
    def of(cls, store: Store, reference: Run | None, labels: Mapping[str, int]) -> Evaluator:
        """Begin with nothing measured."""
        return cls(Measurer(store), ReferenceMeasurer(store), reference, labels)

    def correctness(self, runs: Sequence[Run]) -> ErrorMetrics | None:
        """Judge the outputs of runs by the model in float64, each by its place."""
        if self.reference is None:
            return None
        truths = {str(each["input"]): each["outputs"] for each in self.reference.results}
        return worst_errors(
            self.reference_measurer.tensor(row, truth)
            for run in runs
            for result in run.results
            for row, truth in zip(result["outputs"], truths.get(str(result["input"]), ()))  # noqa: B905 (fewer samples are emulated)
        )


def evaluate_trials(trials: Sequence[Trial], scales: Evaluator) -> list[MitigationResult]:
    """Return a row for each trial, and one for each mitigation that several backends have."""
    plain = {trial.backend: trial for trial in trials if not trial.mitigation}
    found = [_row(trial, plain[trial.backend], scales) for trial in trials]
    for name in dict.fromkeys(trial.mitigation for trial in trials):
        several = [trial for trial in trials if trial.mitigation == name and trial.runs]
        found += _across(several, plain, scales.measurer)
    return sorted(found, key=_sort_key)


def _row(trial: Trial, plain: Trial, scales: Evaluator) -> MitigationResult:
    measurer = scales.measurer
    notes = [*trial.problems, *_substituted_precisions(trial), *_saturation_warnings(trial)]
    row = MitigationResult(
        trial.backend,
        trial.mitigation,
        None,
        None,
        notes=tuple(notes),
        replaced_by=_replacement(trial),
        expected_runs=trial.expected_runs(plain.runs),
    )
    if not trial.runs:
        return row
    betrayed = _not_honoured(trial, measurer.store)
    if betrayed:
        return replace(row, notes=(betrayed,), dishonoured=True)
    pairs = _pairs(trial.runs, plain.runs)
    correctness = scales.correctness(trial.runs)
    dtype = str(trial.runs[0].results[0]["outputs"][0]["dtype"])
    return replace(
        row,
        before=measure_consistency(plain.runs, measurer) if plain.runs else None,
        after=measure_consistency(trial.runs, measurer),
        unchanged=_changes_nothing([trial], {trial.backend: plain}),
        time=_ratio(pairs) if trial.mitigation else None,
        correctness=correctness,
        fidelity=None if correctness is None else correctness.normwise_bits(dtype),
        accuracy=_accuracy(trial.runs, scales.labels, measurer.store),
    )


def _across(
    trials: Sequence[Trial], plain: Mapping[str, Trial], measurer: Measurer
) -> list[MitigationResult]:
    """Return the row of all backends that have a mitigation, none for fewer than two."""
    if len(trials) < 2:
        return []
    before = [run for trial in trials for run in plain[trial.backend].runs]
    after = [run for trial in trials for run in trial.runs]
    pairs = [p for t in trials for p in _pairs(t.runs, plain[t.backend].runs)]
    name = trials[0].mitigation
    row = MitigationResult(
        backend=ALL_BACKENDS,
        mitigation=name,
        before=measure_consistency(before, measurer) if before else None,
        after=measure_consistency(after, measurer),
        unchanged=_changes_nothing(trials, plain),
        time=_ratio(pairs) if name else None,
        notes=(", ".join(trial.backend for trial in trials),),
        replaced_by=next(filter(None, map(_replacement, trials)), ""),
        expected_runs=sum(each.expected_runs(plain[each.backend].runs) for each in trials),
    )
    return [row]


def _changes_nothing(trials: Sequence[Trial], plain: Mapping[str, Trial]) -> bool:
    """Tell whether a mitigation leaves all bits as they were, in every run that it stands for.

    One that fixes the number of threads stands for the runs with all numbers of them.
    """
    pairs = [
        pair
        for each in trials
        for pair in _pairs(
            each.runs, plain[each.backend].runs, any_threads=bool(each.change.threads)
        )
    ]
    return bool(trials[0].mitigation) and bool(pairs) and all(_same(*pair) for pair in pairs)


def _replacement(trial: Trial) -> str:
    """Return the backend that runs in place of a trial's own."""
    word = trial.change.replacement_backend
    return word if word != trial.backend else ""


def _substituted_precisions(trial: Trial) -> list[str]:
    """Return what adapters say of a precision that is computed in another one."""
    said = (run.row.get("facts", {}).get(run.row["precision"]) for run in trial.runs)
    return list(dict.fromkeys(text for text in said if isinstance(text, str)))


def _saturation_warnings(trial: Trial) -> list[str]:
    """Return a warning where kernels that add products in 16 bits may saturate, with the layers."""
    found = {row["tap"]: row["possible"] for run in trial.runs for row in _saturation(run)}
    if not found:
        return []
    names, farthest = list(found), max(found.values(), key=abs)
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    layers = f"{', '.join(names[:3])}{more}, up to {farthest}"
    return [f"exposed to kernels that add pairs in 16 bits: {layers}"]


def _saturation(run: Run) -> Sequence[Record]:
    return run.row.get("saturation") or ()


def _not_honoured(trial: Trial, store: Store) -> str:
    """Say where a mitigation that zeroes bits of outputs has not done so; empty if nowhere."""
    bits = trial.change.expected_zero_bits
    for run in trial.runs if bits else ():
        for row in (row for result in run.results for row in result["outputs"]):
            if row["dtype"] == "float32" and has_low_mantissa_bits(
                store.read_tensor(row).array, bits
            ):
                return (
                    f"NOT HONOURED on {run.row['platform']}: the output '{row['name']}' has bits "
                    "that should be zero, as something has simplified the arithmetic away."
                )
    return ""


def _pairs(
    runs: Sequence[Run], plain: Sequence[Run], any_threads: bool = False
) -> list[tuple[Run, Run]]:
    """Put each run beside that without the mitigation, on the same platform and repeat.

    With the same number of threads, unless any number will do or there is none with the same.
    """
    twins: dict[tuple[str, int], list[Run]] = {}
    for run in plain:
        twins.setdefault((run.row["platform"], run.row["repeat"]), []).append(run)
    found = []
    for run in runs:
        same = twins.get((run.row["platform"], run.row["repeat"]), [])
        threads = run.row["settings"].get("threads")
        alike = [
            twin for twin in same if any_threads or twin.row["settings"].get("threads") == threads
        ]
        found += [(run, twin) for twin in (alike or same)]
    return found


def _same(run: Run, twin: Run) -> bool:
    """Tell whether two runs give the same bits in all outputs."""
    return _digests(run) == _digests(twin)


def _digests(run: Run) -> list[list[str]]:
    return [[row["digest"] for row in result["outputs"]] for result in run.results]


def _ratio(pairs: Iterable[tuple[Run, Run]]) -> float | None:
    """Return the time of an inference over that of its twin: the median over runs.

    Real processors count, and emulated ones where there are no others.
    """
    known = [(run, _seconds(run), _seconds(twin)) for run, twin in pairs]
    ratios = [(run, new / old) for run, new, old in known if new is not None and old]
    real = [ratio for run, ratio in ratios if not _is_emulated(run)]
    values = real or [ratio for _, ratio in ratios]
    return statistics.median(values) if values else None


def _is_emulated(run: Run) -> bool:
    return "qemu" in str(run.row["platform"])


def _seconds(run: Run) -> float | None:
    """Return the median of a run's inferences."""
    seconds = [result["seconds"] for result in run.results if result.get("seconds") is not None]
    return statistics.median(seconds) if seconds else None


def _accuracy(
    runs: Sequence[Run], labels: Mapping[str, int], store: Store
) -> tuple[float, float] | None:
    """Return the least and the largest share of right labels, of the runs with most samples."""
    known = [[row for row in run.results if str(row["input"]) in labels] for run in runs]
    most = max(map(len, known))
    shares = [_share(rows, labels, store) for rows in known if rows and len(rows) == most]
    return (min(shares), max(shares)) if shares else None


def _share(rows: Sequence[Record], labels: Mapping[str, int], store: Store) -> float:
    found = [
        argmax_label(store.read_tensor(row["outputs"][0])) == labels[str(row["input"])]
        for row in rows
    ]
    return sum(found) / len(found)


def _sort_key(row: MitigationResult) -> tuple[Any, ...]:
    """Return what puts rows in order: by backend, the model as it is, then what works best."""
    after = row.after
    if after is None:
        return (row.backend == ALL_BACKENDS, row.backend, 2, 0, 0, 0.0, row.mitigation)
    bits = math.inf if after.bits is None else after.bits
    return (
        row.backend == ALL_BACKENDS,
        row.backend,
        1 if row.mitigation else 0,
        row.unchanged,
        row.incomplete,
        after.classes,
        -bits,
        after.flips,
        row.time or 0.0,
        row.mitigation,
    )
