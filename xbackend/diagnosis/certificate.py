"""Rounding or fault, for every layer of a run, from its own recorded inputs and without tolerance.

The right values of each node come from the same node in float64 on what the run recorded, the
bound of its rounding from the node on absolute values or from its steps
(`xbackend.numerics.bounds`). So one run alone is enough.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xbackend.comparison.comparison import Comparison
from xbackend.comparison.findings import Certificate
from xbackend.diagnosis.certification.evaluation import EvaluationSetting, Rows, evaluator
from xbackend.diagnosis.certification.judging import LayerJudge, RunSample
from xbackend.diagnosis.certification.layers import find_subjects, index_graph
from xbackend.diagnosis.certification.local import needs_worker
from xbackend.diagnosis.certification.reading import TensorCache
from xbackend.diagnosis.cut_graph import constants_of, load_model, shape_computed
from xbackend.diagnosis.isolation import tensors_with_inputs
from xbackend.diagnosis.rerun import onnx_path, recorded_types
from xbackend.diagnosis.source_trust import trusted_source
from xbackend.errors import UsageError, XbackendError
from xbackend.execution.execute import ExecutionContext
from xbackend.execution.request import RunRequest
from xbackend.execution.source import conversion_builder
from xbackend.plugins import registry
from xbackend.plugins.installed import version
from xbackend.store.records import Run
from xbackend.worker.graph import read_graph


def certify(
    subject: Comparison | Sequence[Run], context: ExecutionContext
) -> tuple[Certificate, ...]:
    """Certify every run that recorded its layers, each from its own tensors alone.

    Says on the display which runs cannot be. Raises XbackendError where that is all of them.
    """
    runs = subject.runs if isinstance(subject, Comparison) else tuple(subject)
    found: dict[str, Certificate] = {}
    refusals: list[XbackendError] = []
    groups: dict[tuple[Any, ...], list[Run]] = {}
    for run in (run for run in runs if run.ok):
        try:
            groups.setdefault(_group_key(run, context), []).append(run)
        except XbackendError as error:
            refusals.append(error)
    for (folder, *_), members in groups.items():
        try:
            found.update(_certify_alike(Path(folder), members, context))
        except XbackendError as error:
            refusals.append(error)
    if refusals and not found:
        raise refusals[0]
    for refusal in refusals:
        context.display.log(str(refusal))
    if not found:
        raise UsageError("No run gave outputs, so there is nothing to certify.")
    return tuple(found[run.id] for run in runs if run.id in found)


def _group_key(run: Run, context: ExecutionContext) -> tuple[Any, ...]:
    """Return what runs share that one evaluation can serve. Raises UsageError for a pruned one."""
    run.check_kept()
    types = tuple(sorted((name, of.dtype, of.shape) for name, of in recorded_types(run).items()))
    return (str(_graph_folder(run, context)), types, _avoided(run))


def _avoided(run: Run) -> str:
    """Return the backend that must not judge a run: its own, where it computed in float64."""
    return str(run.row["backend"]) if run.row["precision"] == "float64" else ""


def _graph_folder(run: Run, context: ExecutionContext) -> Path:
    """Return the folder with the graph that a run computed, or that is of the same model.

    A flat graph came from it; a source became it when it was exported, and its taps have the names
    of the graph's values.
    """
    form = str((run.row.get("artifact") or {}).get("format"))
    if form.startswith("graph"):
        return onnx_path(run, context.store).parent
    source = run.row["model_source"]
    is_source = form.startswith("source") and run.row["precision"] == "float32"
    if not (form == "flat" or is_source) or not source:
        raise UsageError(
            f"Run {run.id} computed a graph in the format '{form}', of which no ONNX graph in the "
            "same format is kept, so its layers are not certified. Certify runs that "
            "computed the model's ONNX graph, or a .tflite made from it, or its source in float32."
        )
    request = RunRequest(
        model=trusted_source(str(source), context), model_digest=str(run.row["model_digest"])
    )
    builder = conversion_builder(request, context.store, context.display.log, {})
    return builder.build("graph").folder


def _certify_alike(
    folder: Path, runs: Sequence[Run], context: ExecutionContext
) -> dict[str, Certificate]:
    """Certify runs of one graph that recorded the same tensors."""
    whole = load_model(folder / "model.onnx")
    types = recorded_types(runs[0])
    hanging = shape_computed(whole.graph.node, constants_of(whole.graph))
    index = index_graph(read_graph(folder), {name: of.dtype for name, of in types.items()}, hanging)
    subjects, refused = find_subjects(index)
    if not subjects and not any(result["taps"] for run in runs for result in run.results):
        raise UsageError(f"Run {runs[0].id} has no layers to certify. Run it with --taps layers.")
    spec = registry.backend(evaluator(_avoided(runs[0])))
    setting = EvaluationSetting(whole, index, types, context, spec.word)
    samples = [RunSample(run, name, rows) for run in runs for name, rows in _rows(run)]
    samples.sort(key=lambda each: each.name)  # runs that read the same tensors follow one another
    work = LayerJudge(setting, samples, TensorCache(context.store))
    work.judge(subjects)
    refused.update(work.refused)
    judge_of_all = f"NumPy {np.__version__}"
    if any(needs_worker(each, index) for each in subjects):
        judge_of_all += f", {spec.word} {version(spec.distributions[0]) or ''}".rstrip()
    layers = {
        (tap, place, node.operator)
        for place, node in enumerate(index.graph.nodes)
        for tap in node.outputs
        if tap in types and tap not in hanging
    }
    return {
        run.id: Certificate(
            run,
            tuple(work.layer(run, *key, refused) for key in sorted(layers, key=lambda k: k[1])),
            judge_of_all,
            len(run.results),
            tuple(_notes(run)),
        )
        for run in runs
    }


def _rows(run: Run) -> Iterator[tuple[str, Rows]]:
    yield from tensors_with_inputs(run).items()


def _notes(run: Run) -> Iterator[str]:
    if run.row["taps_neutral"] is False:
        yield (
            f"Recording the layers of run {run.id} changed the bits of its outputs, so its layers "
            "prove nothing of the run that nothing watched."
        )
    if str((run.row.get("artifact") or {}).get("format")).startswith("source"):
        yield (
            f"Run {run.id} computed the model's own source, so its layers are held against the "
            "nodes that the exporter made of them: one beyond rounding may be a wrong export."
        )
    if run.emulation_unsafe:
        yield f"Run {run.id} was emulated, with operators that an emulator computes otherwise."
