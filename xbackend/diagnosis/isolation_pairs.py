"""Which two runs of a comparison are isolated against one another."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from xbackend.comparison.comparison import Comparison
from xbackend.comparison.findings import Isolation
from xbackend.comparison.summary import summaries
from xbackend.diagnosis.isolation import isolate
from xbackend.diagnosis.reference import BACKENDS, ReferenceTarget, reference_run
from xbackend.errors import UsageError, XbackendError
from xbackend.execution.execute import ExecutionContext
from xbackend.numerics.float64_error import REFERENCE, round_bits
from xbackend.numerics.floats import FORMATS
from xbackend.store.records import Record, Run
from xbackend.store.store import Store
from xbackend.worker.contract import GRAPH, SOURCE
from xbackend.worker.objects import write_tensor
from xbackend.worker.tensor import Tensor, storage_dtype

Pair = tuple[Run, Run]
"""The reference, and the run to isolate against it."""


def isolate_all(
    comparison: Comparison,
    text: str,
    context: ExecutionContext,
    against_truth: bool = False,
    backends: Sequence[str] = BACKENDS,
) -> Comparison:
    """Return a comparison with what is isolated: two runs that are named, or one of each class.

    `against_truth` takes the float64 run, rounded to each run's format, for the reference. Says on
    the display what cannot be isolated; raises XbackendError where that is everything.
    """
    pairs: list[tuple[Run | None, Run]] = []
    pairs += [(None, run) for run in _subjects(comparison, text)] if against_truth else []
    pairs += [] if against_truth else choose_pairs(comparison, text)
    found: list[Isolation] = []
    refusals: list[XbackendError] = []
    for reference, run in pairs:
        try:
            truth = _rounded(run, context, backends) if reference is None else reference
            found.append(isolate(truth, run, context, exact=reference is None))
        except XbackendError as error:
            refusals.append(error)
    if refusals and not found:
        raise refusals[0]
    for refusal in refusals:
        context.display.log(str(refusal))
    return dataclasses.replace(comparison, isolations=tuple(found))


def choose_pairs(comparison: Comparison, text: str) -> list[Pair]:
    """Return the pairs that `--isolate` asks for, the reference of each first.

    `A,B` names two runs. Without names it is the first run of each class against that of class 1;
    where all outputs have the same bits, or each run is of a model of its own, two runs that are
    all there is. Raises UsageError where nothing can be chosen.
    """
    if text:
        names = [name.strip() for name in text.split(",") if name.strip()]
        if len(names) != 2:
            raise UsageError(
                f"'--isolate {text}' must name two runs, such as --isolate ort,torch, or none."
            )
        return [(find_run(comparison, names[0]), find_run(comparison, names[1]))]
    runs = {run.id: run for run in comparison.runs if run.ok}
    pairs = []
    for summary in summaries(comparison):
        found = [[runs[name] for name in ids if not _is_source(runs[name])] for ids in summary.eqcs]
        heads = [graphs[0] for graphs in found if graphs]
        pairs += [(heads[0], head) for head in heads[1:]]
    if not pairs and len(runs) == 2:
        one, other = runs.values()
        return [(one, other)]
    if not pairs:
        raise UsageError(
            "All outputs have the same bits, so there is nothing to isolate by class. Name two "
            "runs: --isolate A,B with ids, or parts of them that no other run has."
        )
    return pairs


def _is_source(run: Run) -> bool:
    """Tell whether a run computed the model's own source, which has no nodes to take apart."""
    return bool(run.row["settings"].get(GRAPH) == SOURCE)


def find_run(comparison: Comparison, name: str, narrow: str = "; or narrow with --where") -> Run:
    """Return the run with an id, or the only one of which the id holds this text.

    `narrow` is what else may be done where several have it.
    """
    runs = [run for run in comparison.runs if run.ok]
    exact = [run for run in runs if run.id == name]
    exact = exact or [run for run in runs if run.id.endswith(f"-{name}")]
    found = exact or [run for run in runs if name in run.id]
    if len(found) == 1:
        return found[0]
    shown = ", ".join(run.id for run in (found or runs)[:4])
    what = f"{len(found)} runs have" if found else "No run that is compared has"
    whose = "their ids" if found else "its id"
    raise UsageError(f"{what} '{name}' in {whose}. Name one of: {shown}{narrow}.")


def _subjects(comparison: Comparison, text: str) -> list[Run]:
    """Return the runs to hold against the truth: one that is named, or the first of each class."""
    if text:
        return [find_run(comparison, name.strip()) for name in text.split(",")]
    runs = {run.id: run for run in comparison.runs if run.ok}
    return [
        runs[ids[0]]
        for summary in summaries(comparison)
        for ids in summary.eqcs
        if summary.cohort.group["precision"] in FORMATS.keys() - {REFERENCE}
    ]


def _rounded(run: Run, context: ExecutionContext, backends: Sequence[str]) -> Run:
    """Return the float64 run as if it had been recorded in another's format, rounded once."""
    precision = str(run.row["precision"])
    if precision not in FORMATS.keys() - {REFERENCE}:
        raise UsageError(f"Run {run.id} is in {precision}, which float64 is no reference for.")
    truth = reference_run(ReferenceTarget.from_run(run), context, backends)
    dtypes = {str(t["name"]): str(t["dtype"]) for r in run.results for t in _rows(r)}
    results = tuple(
        {
            **result,
            **{
                kind: [_round(row, dtypes.get(str(row["name"])), context.store) for row in rows]
                for kind in ("inputs", "taps", "outputs")
                if (rows := result[kind]) is not None
            },
        }
        for result in truth.results
    )
    return dataclasses.replace(truth, row={**truth.row, "precision": precision}, results=results)


def _rows(result: Record) -> list[Record]:
    return [*result["inputs"], *result["taps"], *result["outputs"]]


def _round(row: Record, dtype: str | None, store: Store) -> Record:
    """Return a tensor in a format, kept in the store; as it is where it is no float64."""
    if row["dtype"] != REFERENCE or dtype not in FORMATS:
        return row
    bits = round_bits(store.read_tensor(row).array, dtype)
    tensor = Tensor(dtype, bits.view(storage_dtype(dtype)))
    return {"name": row["name"], **write_tensor(str(store.folder), tensor)}
