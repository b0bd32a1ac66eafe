"""Who is nearer to the truth: the runs of a comparison held against one in float64."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from xbackend.comparison.comparison import Comparison, SampleComparison
from xbackend.comparison.findings import ReferenceComparison, ReferenceComparisonRow
from xbackend.diagnosis.reference import (
    BACKENDS,
    ReferenceMeasurer,
    ReferenceTarget,
    reference_run,
    tensors_by_sample,
)
from xbackend.errors import UsageError, XbackendError
from xbackend.execution.execute import ExecutionContext
from xbackend.numerics.float64_error import REFERENCE, ErrorMetrics, max_normwise_bits
from xbackend.numerics.floats import FORMATS
from xbackend.store.cohort import Cohort
from xbackend.store.records import Run

MIN_RELATED_BITS = 4.0
"""Bits by norm below which a tensor of float32 is another one: an adapter gave it a wrong name, or
what a framework overwrote."""


def compare_with_reference(
    comparison: Comparison, context: ExecutionContext, backends: Sequence[str] = BACKENDS
) -> Comparison:
    """Return a comparison with the accuracy of each cohort that can be judged.

    Says on the display what cannot be, and by which run the others are judged. Raises
    XbackendError where that is none.
    """
    partial = any(run.kept != "all" for run in comparison.runs)
    measurer = ReferenceMeasurer(context.store, partial)
    found: list[ReferenceComparison] = []
    refusals: list[str] = []
    for samples in comparison.sections.values():
        cohort = samples[0].cohort
        try:
            reference = reference_run(_subject(cohort), context, backends)
        except XbackendError as error:
            refusals.append(str(error))
            continue
        judged = _judge_section(samples, reference, measurer)
        if judged.rows:
            found.append(judged)
            context.display.log(f"judged by {reference.row['backend']} {REFERENCE}: {reference.id}")
    if not found:
        raise UsageError(refusals[0] if refusals else "No run gave an output to judge.")
    for refusal in refusals:
        context.display.log(refusal)
    return dataclasses.replace(comparison, reference_comparisons=tuple(found))


def _subject(cohort: Cohort) -> ReferenceTarget:
    precision = cohort.group["precision"]
    if precision not in FORMATS:
        raise UsageError(
            f"The runs of {cohort.model} in {precision} compute another function than the model "
            f"in {REFERENCE} does, so they are not judged by it."
        )
    return ReferenceTarget.from_run(cohort.runs[0])


def _judge_section(
    samples: Sequence[SampleComparison], reference: Run, measurer: ReferenceMeasurer
) -> ReferenceComparison:
    cohort = samples[0].cohort
    alike: dict[str, list[Run]] = {}
    for run in cohort.runs:
        if run.id != reference.id:
            digests = [t["digest"] for r in run.results for t in (*r["taps"], *r["outputs"])]
            alike.setdefault(" ".join(digests), []).append(run)
    rows = [row for runs in alike.values() if (row := _judge_runs(runs, reference, measurer))]
    far = float("inf")
    rows.sort(key=lambda row: far if row.output.relative is None else row.output.relative)
    return ReferenceComparison(
        cohort, reference, tuple(rows), _by_class(samples, reference, measurer)
    )


def _by_class(
    samples: Sequence[SampleComparison], reference: Run, measurer: ReferenceMeasurer
) -> dict[tuple[str, str], tuple[ErrorMetrics | None, ...]]:
    runs = {run.id: tensors_by_sample(run) for run in samples[0].cohort.runs}
    truths = tensors_by_sample(reference)
    return {
        (sample.input, tap.tap): tuple(
            measurer.tensor(runs[ids[0]][sample.input][tap.tap], truths[sample.input][tap.tap])
            for ids in tap.eqcs
        )
        for sample in samples
        for tap in sample.taps
        if tap.tap in truths.get(sample.input, {})
    }


def _judge_runs(
    runs: Sequence[Run], reference: Run, measurer: ReferenceMeasurer
) -> ReferenceComparisonRow | None:
    first = runs[0]
    output = measurer.outputs(first, reference)
    if output is None:
        return None
    taps = measurer.taps(first, reference)
    strange = _unrelated(str(first.row["precision"]), taps)
    lost = _losses(first, {name: one for name, one in taps.items() if name not in strange})
    return ReferenceComparisonRow(
        tuple(run.id for run in runs), first, output, taps, strange, tuple(lost)
    )


def _unrelated(dtype: str, taps: Mapping[str, ErrorMetrics]) -> tuple[str, ...]:
    """Return the tensors that no rounding explains, in a format of 23 bits or more."""
    if FORMATS[dtype].mantissa_bits < FORMATS["float32"].mantissa_bits:
        return ()
    bits = {name: one.normwise_bits(dtype) for name, one in taps.items()}
    return tuple(name for name, of in bits.items() if of is not None and of < MIN_RELATED_BITS)


def _losses(run: Run, taps: Mapping[str, ErrorMetrics]) -> list[tuple[str, float]]:
    """Return what each node costs: the bits by norm of its worst input, less those it gives.

    The model's inputs have all bits. A node of which an input was not recorded is passed over.
    """
    dtype = str(run.row["precision"])
    whole = max_normwise_bits(dtype)
    bits = {name: one.normwise_bits(dtype) for name, one in taps.items()}
    computed = {str(layer["tap"]) for layer in run.layers}
    found = []
    for layer in run.layers:
        given, reads = bits.get(str(layer["tap"])), layer.get("inputs")
        if given is None or reads is None:
            continue
        had = [bits.get(name) if name in computed else whole for name in reads]
        known = [each for each in had if each is not None]
        if known and len(known) == len(had):
            found.append((str(layer["tap"]), min(known) - given))
    return sorted(found, key=lambda pair: -pair[1])
