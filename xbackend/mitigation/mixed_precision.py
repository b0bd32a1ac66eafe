"""Which layers must stay in float32 so that nothing overflows less: proposed, and tried."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xbackend.diagnosis.reference import (
    BACKENDS,
    ReferenceMeasurer,
    ReferenceTarget,
    reference_run,
)
from xbackend.errors import UsageError, XbackendError
from xbackend.execution.execute import ExecutionContext, execute
from xbackend.execution.request import RunRequest
from xbackend.numerics.bounds.arithmetic import largest, roundoff
from xbackend.numerics.float64_error import ErrorMetrics
from xbackend.store.records import Record, Run, read_run
from xbackend.store.store import Store

FORMATS = ("float16", "bfloat16")
"""Formats that numbers of a float32 model may be too large for, or too coarse."""
OPTION = "onnx_to_cast.keep"
"""The converter's option that takes the list."""
OVERFLOWS, READS = "overflows", "reads what overflows"
"""Why a layer stays in float32."""


@dataclass(frozen=True)
class KeptLayer:
    """A layer that must stay in float32."""

    tap: str
    layer: int
    operator: str
    reason: str
    """`overflows` or `reads what overflows`."""
    peak: float
    """Its largest number in float64, over all samples."""


@dataclass(frozen=True)
class PrecisionTrial:
    """One backend in the narrower format, as it is and with the layers kept."""

    before: Run
    after: Run | None
    """None where nothing had to be kept."""
    not_finite: tuple[int, int]
    """Elements of all recorded tensors that are NaN or infinite where float64 is finite."""
    errors: tuple[ErrorMetrics | None, ErrorMetrics | None]
    """Of the outputs, against float64; None where there is nothing to measure."""

    def to_dict(self) -> Record:
        """Return JSON values."""
        runs = (self.before, self.after)
        return {
            "backend": self.before.row["backend"],
            "runs": [None if run is None else run.id for run in runs],
            "status": [None if run is None else run.row["status"] for run in runs],
            "not_finite": list(self.not_finite),
            "relative_error": [None if each is None else each.relative for each in self.errors],
        }


@dataclass(frozen=True)
class MixedPrecision:
    """Which layers of a model must stay in float32, and what that gives."""

    model: str
    precision: str
    reference: Run
    """The run in float64 that tells which numbers are too large."""
    limit: float
    """The largest number of the format."""
    kept: tuple[KeptLayer, ...]
    """In graph order."""
    hopeless: tuple[str, ...]
    """Inputs and outputs of the model that overflow themselves: no list removes that."""
    trials: tuple[PrecisionTrial, ...]

    @property
    def option(self) -> str:
        """The list as `--keep-float32` takes it."""
        return ",".join(each.tap for each in self.kept)

    def to_dict(self) -> Record:
        """Return JSON values."""
        return {
            "schema_version": 1,
            "model": self.model,
            "precision": self.precision,
            "reference": self.reference.id,
            "limit": self.limit,
            "keep": [vars(each) for each in self.kept],
            "inputs_and_outputs_that_overflow": list(self.hopeless),
            "trials": [each.to_dict() for each in self.trials],
        }


def try_mixed_precision(
    request: RunRequest, precision: str, context: ExecutionContext
) -> MixedPrecision:
    """Run a model in a narrower format, find what overflows, and run it again with that kept.

    Raises UsageError for another format, XbackendError where nothing gives an output.
    """
    if precision not in FORMATS:
        raise UsageError(
            f"'{precision}' is no format that layers are kept out of. Choose one of: "
            f"{', '.join(FORMATS)}."
        )
    plain = dataclasses.replace(request, precisions=(precision,), taps="layers", sources=False)
    before = [read_run(record) for record in execute(plain, context)]
    working = [run for run in before if run.row["status"] == "ok"]
    if not working:
        raise XbackendError(_reason(before))
    reference = reference_run(ReferenceTarget.from_run(working[0]), context, BACKENDS)
    kept, hopeless = layers_to_keep(reference, context.store, precision)
    after: dict[str, Run] = {}
    if kept:
        names = ",".join(each.tap for each in kept)
        again = dataclasses.replace(
            plain,
            options=(*plain.options, f"{OPTION}={names}"),
            backends=tuple(dict.fromkeys(str(run.row["backend"]) for run in working)),
        )
        runs = [read_run(record) for record in execute(again, context)]
        after = {_circumstances(run): run for run in runs}
    measurer = ReferenceMeasurer(context.store)
    trials = [_trial(run, after.get(_circumstances(run)), reference, measurer) for run in working]
    return MixedPrecision(
        model=str(working[0].row["model"]),
        precision=precision,
        reference=reference,
        limit=largest(precision),
        kept=kept,
        hopeless=hopeless,
        trials=tuple(trials),
    )


def _reason(runs: Sequence[Run]) -> str:
    errors = [run.row["error"] for run in runs if run.row["error"]]
    said = str(errors[0].get("message")) if errors else "No backend was asked."
    return f"No run in this precision gave an output: {said}"


def _circumstances(run: Run) -> str:
    row = run.row
    return f"{row['backend']} {row['platform']} {row['settings']} {row['repeat']}"


def layers_to_keep(
    reference: Run, store: Store, precision: str
) -> tuple[tuple[KeptLayer, ...], tuple[str, ...]]:
    """Return the layers that cannot be in a format, and inputs and outputs that cannot either.

    These are the layers with numbers that round to infinity in it, and those that read them.
    """
    limit = largest(precision) * (1 + roundoff(precision) / 2)
    peaks = tensor_peaks(reference, store)
    over = {name for name, peak in peaks.items() if peak >= limit}
    kept = []
    for layer in reference.layers:
        tap, reads = str(layer["tap"]), [str(name) for name in layer.get("inputs") or ()]
        reason = OVERFLOWS if tap in over else READS if over & set(reads) else ""
        if reason:
            place, operator = int(layer["layer"]), str(layer["operator"])
            kept.append(KeptLayer(tap, place, operator, reason, peaks.get(tap, 0.0)))
    ends = {
        str(row["name"])
        for result in reference.results
        for row in (*(result.get("inputs") or ()), *result["outputs"])
    }
    return tuple(kept), tuple(sorted(over & ends))


def tensor_peaks(run: Run, store: Store) -> dict[str, float]:
    """Return the largest finite number of each tensor that a run was given or gave."""
    found: dict[str, float] = {}
    for row in _rows(run):
        array = store.read_tensor(row).array
        if array.dtype.kind == "f" and row["dtype"] != "bfloat16" and array.size:
            sizes = np.abs(array)
            peak = float(sizes[np.isfinite(sizes)].max(initial=0))
            found[str(row["name"])] = max(peak, found.get(str(row["name"]), 0.0))
    return found


def _rows(run: Run) -> Iterable[Record]:
    return (
        row
        for result in run.results
        for row in (*(result.get("inputs") or ()), *result["taps"], *result["outputs"])
    )


def _trial(
    before: Run, after: Run | None, reference: Run, measurer: ReferenceMeasurer
) -> PrecisionTrial:
    usable = after if after is not None and after.ok else None
    return PrecisionTrial(
        before,
        after,
        (
            _not_finite(before, reference, measurer.store),
            0 if usable is None else _not_finite(usable, reference, measurer.store),
        ),
        (
            measurer.outputs(before, reference),
            None if usable is None else measurer.outputs(usable, reference),
        ),
    )


def _not_finite(run: Run, reference: Run, store: Store) -> int:
    """Count what is NaN or infinite where the same element in float64 is finite."""
    truths = _by_name(reference)
    count = 0
    for key, row in _by_name(run).items():
        truth = truths.get(key)
        if truth is None or truth["shape"] != row["shape"] or row["dtype"] == "bfloat16":
            continue
        mine, right = (store.read_tensor(each).array for each in (row, truth))
        if mine.dtype.kind == right.dtype.kind == "f":
            count += int((~np.isfinite(mine) & np.isfinite(right)).sum())
    return count


def _by_name(run: Run) -> Mapping[tuple[str, str], Any]:
    return {
        (str(result["input"]), str(row["name"])): row
        for result in run.results
        for row in (*result["taps"], *result["outputs"])
    }
