"""The run in float64 that other runs are judged by: found in the store, or made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from xbackend.diagnosis.source_trust import trusted_source
from xbackend.errors import MissingObjectError, ModelError, UsageError, XbackendError
from xbackend.execution.execute import ExecutionContext, execute
from xbackend.execution.request import RunRequest
from xbackend.numerics.blocks import FileBlocks, blocks_of_file
from xbackend.numerics.float64_error import REFERENCE, ErrorMetrics, error_metrics, worst_errors
from xbackend.plugins import registry
from xbackend.store.index import read_runs
from xbackend.store.records import Record, Run, read_run
from xbackend.store.schema.record import byte_count
from xbackend.store.store import Store

BACKENDS = ("torch", "tf")
"""Backends that compute in float64, the one that is taken by default first."""


@dataclass(frozen=True)
class ReferenceTarget:
    """What a reference is wanted for."""

    model: str
    """The source, as the user named it."""
    model_digest: str
    inputs_digest: str

    @classmethod
    def from_run(cls, run: Run) -> ReferenceTarget:
        """Return what a run was of. Raises UsageError where its record does not say."""
        source = run.row["model_source"]
        if not source or "inputs_digest" not in run.row:
            raise UsageError(
                f"Run {run.id} does not say which file its model is, as runs that were imported "
                "do not, so it cannot be computed in float64."
            )
        return cls(str(source), str(run.row["model_digest"]), run.inputs_digest)


@dataclass
class ReferenceMeasurer:
    """Measures tensors of a store against those of a reference, each pair once."""

    store: Store
    partial: bool = False
    """Whether runs keep only some of their tensors: of those that are not there nothing is told."""
    known: dict[tuple[str, str], ErrorMetrics | None] = field(default_factory=dict)
    checked: set[str] = field(default_factory=set)

    def tensor(self, row: Record, reference: Record) -> ErrorMetrics | None:
        """Judge one tensor, both given by dtype, shape and digest."""
        key = (str(row["digest"]), str(reference["digest"]))
        if key not in self.known:
            self.known[key] = self._measure(row, reference)
        return self.known[key]

    def _measure(self, row: Record, reference: Record) -> ErrorMetrics | None:
        try:
            return error_metrics(self._open(row), self._open(reference))
        except MissingObjectError:
            if not self.partial:
                raise
            return None

    def outputs(self, run: Run, reference: Run) -> ErrorMetrics | None:
        """Judge the outputs of a run over all samples that both have: the worst."""
        pairs = _pairs(run, reference, outputs=True)
        return worst_errors(self.tensor(row, truth) for row, truth in pairs)

    def taps(self, run: Run, reference: Run) -> dict[str, ErrorMetrics]:
        """Judge every tensor that both runs recorded, by name: the worst over the samples."""
        found: dict[str, list[ErrorMetrics | None]] = {}
        for row, truth in _pairs(run, reference):
            found.setdefault(str(row["name"]), []).append(self.tensor(row, truth))
        judged = {name: worst_errors(rows) for name, rows in found.items()}
        return {name: one for name, one in judged.items() if one is not None}

    def _open(self, row: Record) -> FileBlocks:
        if row["digest"] not in self.checked:
            self.store.verify_object(row["digest"], byte_count(row))
            self.checked.add(row["digest"])
        return blocks_of_file(
            self.store.object_path(row["digest"]), row["dtype"], tuple(row["shape"])
        )


def _pairs(run: Run, reference: Run, outputs: bool = False) -> Iterator[tuple[Record, Record]]:
    """Yield each tensor and its reference, for all that both runs have."""
    truths = tensors_by_sample(reference, outputs)
    for sample, rows in tensors_by_sample(run, outputs).items():
        truth = truths.get(sample, {})
        yield from ((row, truth[name]) for name, row in rows.items() if name in truth)


def tensors_by_sample(run: Run, outputs: bool = False) -> dict[str, dict[str, Record]]:
    """Return what a run recorded, or its outputs only, by sample and by name.

    An output is that of the untapped inference.
    """
    return {
        str(result["input"]): {
            str(row["name"]): row
            for row in (result["outputs"] if outputs else [*result["taps"], *result["outputs"]])
        }
        for result in run.results
    }


def parse_reference(text: str) -> tuple[str, ...]:
    """Return the backends to try for `float64` or `float64:BACKEND`. Raises UsageError."""
    precision, colon, word = text.partition(":")
    if precision != REFERENCE or (colon and not word):
        raise UsageError(
            f"'--reference {text}' must be {REFERENCE}, or with a backend {REFERENCE}:tf."
        )
    if not word:
        return BACKENDS
    if REFERENCE not in registry.backend(word).formats:
        raise UsageError(
            f"Backend '{word}' does not compute in {REFERENCE}. Choose one of: "
            f"{', '.join(BACKENDS)}."
        )
    return (word,)


def reference_run(
    subject: ReferenceTarget, context: ExecutionContext, backends: Sequence[str] = BACKENDS
) -> Run:
    """Return the float64 run of a model on its inputs; one that the store lacks is made.

    The first of the backends that can is taken; it runs natively, in one thread, with its default
    settings. Raises XbackendError where the model's file is gone or changed, or none of them can.
    """
    for word in backends:
        found = _known(subject, context.store, word)
        if found is not None:
            return found
    reasons = []
    for word in backends:
        if len(backends) > 1 and not registry.is_available(registry.backend(word)):
            reasons.append(registry.install_hint(registry.backend(word)))
            continue
        run = _make(subject, context, word)
        if run.ok:
            return run
        reasons.append(str((run.row["error"] or {}).get("message", "it gave no output.")))
    raise XbackendError(f"There is no {REFERENCE} run of {subject.model}: {' '.join(reasons)}")


def _known(subject: ReferenceTarget, store: Store, backend: str) -> Run | None:
    """Return the last sound run of the store that will do."""
    wanted = (subject.model_digest, subject.inputs_digest, REFERENCE, backend)
    for run in reversed(read_runs(store, damaged=[])):
        has = (run.row["model_digest"], run.inputs_digest, run.row["precision"], run.row["backend"])
        sound = run.ok and run.row["error"] is None and not run.emulation_unsafe
        sound = sound and run.kept == "all"
        if has == wanted and sound and all(result["taps"] for result in run.results):
            return run
    return None


def _make(subject: ReferenceTarget, context: ExecutionContext, backend: str) -> Run:
    request = RunRequest(
        model=trusted_source(subject.model, context),
        backends=(backend,),
        precisions=(REFERENCE,),
        model_digest=subject.model_digest,
        inputs_digest=subject.inputs_digest,
        purpose="reference",
    )
    try:
        (record,) = execute(request, context)
    except ModelError as error:
        raise XbackendError(
            f"{subject.model} cannot be computed in {REFERENCE}: {error}"
        ) from error
    return read_run(record)
