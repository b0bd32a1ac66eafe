"""The smallest model and input that still show the difference between two runs."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from xbackend.comparison.findings import Isolation, LayerVerdict
from xbackend.diagnosis.cut_graph import load_model
from xbackend.diagnosis.isolation import isolate, tensors_with_inputs
from xbackend.diagnosis.rerun import RerunRequest, onnx_path, recorded_types, rerun, rerun_store
from xbackend.errors import UsageError, XbackendError
from xbackend.execution.execute import ExecutionContext
from xbackend.execution.progress import ProgressLines
from xbackend.numerics.blocks import blocks_of_tensor
from xbackend.numerics.metrics import Metrics, measure
from xbackend.reduction.reproducer import (
    Reproducer,
    batch_models,
    extents,
    extract,
    growing_windows,
    keep_indices,
    simplifications,
    split_outputs,
)
from xbackend.reduction.shrink import Budget, evaluate, shrink, simplify
from xbackend.reduction.summation import SummationFacts, summation_facts
from xbackend.store.records import Record, Run
from xbackend.store.store import Store
from xbackend.worker.graph import Graph, read_graph
from xbackend.worker.objects import write_tensor
from xbackend.worker.tensor import Tensor

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class ReducedRun:
    """One of the two configurations, as the reduced model was run with it at last."""

    run: Run
    """That last run."""
    outputs: Mapping[str, Tensor]


@dataclass(frozen=True)
class Reduction:
    """What is left of a network."""

    case: Reproducer
    layer: LayerVerdict
    """Where the difference begins in the whole network."""
    nodes: int
    """How many nodes the whole network has."""
    elements: int
    """How many numbers the case held before it was made smaller."""
    sides: tuple[ReducedRun, ReducedRun]
    metrics: Metrics
    """Between the outputs of the two sides, the worst over them."""
    trials: int
    graph: Graph
    """The case as executors walk it."""
    summation: SummationFacts | None
    """In which order each side may have added; None where more than one small sum is left."""


def reduce_pair(reference: Run, run: Run, context: ExecutionContext, budget: Budget) -> Reduction:
    """Cut out where two runs part and make it smaller, as long as their bits differ.

    Raises UsageError for runs that are no two configurations of one model, XbackendError where
    nothing smaller than the network shows the difference.
    """
    if reference.row["model_digest"] != run.row["model_digest"]:
        raise UsageError(
            f"Runs {reference.id} and {run.id} are of two models. What is reduced is a difference "
            "between two configurations of one; for two models see 'xbackend compare --isolate'."
        )
    isolation = isolate(reference, run, context)
    layer = first_divergent_layer(isolation)
    budget.log(f"the difference begins at layer {layer.layer} ({layer.operator}, '{layer.tap}')")
    whole = load_model(onnx_path(reference, context.store))
    with scratch(context) as there:
        trials = DifferenceTest((reference, run), there)
        case = _cut_out(whole, layer, reference, context.store, trials, budget)
        smaller = shrink(case, extents, keep_indices, trials, budget)
        smaller = simplify(smaller, simplifications(smaller), trials, budget)
    with scratch(context) as there:
        sides = DifferenceTest((reference, run), there).outputs(smaller)
        graph = read_graph(onnx_path(sides[0].run, rerun_store(there.store)).parent)
    if not _differ(sides[0].outputs, sides[1].outputs):
        raise XbackendError(
            "Run anew, the reduced model gives the same bits on both sides, so one of them is not "
            "deterministic. Try 'xbackend run --repeats 5' with both."
        )
    return Reduction(
        case=smaller,
        layer=layer,
        nodes=len(whole.graph.node),
        elements=case.elements,
        sides=sides,
        metrics=_metrics(sides),
        trials=budget.spent,
        graph=graph,
        summation=_summation(graph, smaller, sides),
    )


def _summation(
    graph: Graph, case: Reproducer, sides: tuple[ReducedRun, ReducedRun]
) -> SummationFacts | None:
    (name,) = sides[0].outputs
    return summation_facts(graph, case.inputs, (sides[0].outputs[name], sides[1].outputs[name]))


def first_divergent_layer(isolation: Isolation) -> LayerVerdict:
    """Return the first layer with an error of its own, else the first that differs at all.

    Raises XbackendError where none does, or only what an emulator may have made.
    """
    if isolation.own:
        return isolation.own[0]
    differing = [each for each in isolation.layers if each.total.deviating_fraction != 0]
    real = [each for each in differing if not each.by_emulation]
    if not differing:
        raise XbackendError(
            "The two runs have the same bits in every layer that both recorded: there is nothing "
            "to reduce."
        )
    if not real:
        raise XbackendError(
            f"Only '{differing[0].tap}' differs, which an emulator computes unlike a real "
            "processor: there is no finding to reduce."
        )
    return real[0]


@contextlib.contextmanager
def scratch(context: ExecutionContext) -> Iterator[ExecutionContext]:
    """Give a store for trials, which is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="xbackend-") as folder:
        store = Store(Path(folder) / "store")
        store.create()
        yield dataclasses.replace(context, store=store, display=ProgressLines(io.StringIO()))


def _cut_out(
    whole: onnx.ModelProto,
    layer: LayerVerdict,
    reference: Run,
    store: Store,
    trials: DifferenceTest,
    budget: Budget,
) -> Reproducer:
    """Return the fewest nodes before a layer that show the difference, with recorded inputs."""
    types = recorded_types(reference)
    recorded = tensors_with_inputs(reference)
    for size, given in growing_windows(whole, layer.tap, types):
        cases = [
            extract(whole, layer.tap, _tensors(rows, given, store), types[layer.tap])
            for rows in recorded.values()
        ]
        holding = evaluate(cases, trials, budget)
        shown = [each for each, holds in zip(cases, holding, strict=True) if holds]
        if shown:
            nodes, total = len(shown[0].model.graph.node), len(whole.graph.node)
            budget.log(f"nodes that show it: {nodes} of {total}, with {shown[0].elements} numbers")
            return shown[0]
        if budget.ended_by:
            raise XbackendError(
                f"Stopped after {budget.ended_by}, before anything smaller that shows the "
                "difference was found. Allow more with --limit or --trials."
            )
        budget.log(f"nodes that do not show it: {size}")
    raise XbackendError(
        "No part of the network up to where the runs part shows the difference by itself, with the "
        "layer as its output: it rests on how the framework fuses what follows."
    )


def _tensors(rows: Mapping[str, Record], given: Collection[str], store: Store) -> dict[str, Tensor]:
    return {name: store.read_tensor(rows[name]) for name in sorted(given) if name in rows}


class DifferenceTest:
    """Runs cases on both sides and tells in which of them the bits differ."""

    def __init__(self, sides: tuple[Run, Run], context: ExecutionContext) -> None:
        self.sides, self.context = sides, context

    def __call__(self, cases: Sequence[Reproducer]) -> list[bool]:
        """Judge cases side by side in one worker for each side; apart where that fails."""
        if not cases:
            return []
        runs = self._run(batch_models(cases))
        if all(run.ok for run in runs):
            one, other = (split_outputs(cases, _digests(run)) for run in runs)
            return [a != b for a, b in zip(one, other, strict=True)]
        if len(cases) == 1:
            return [False]
        half = len(cases) // 2
        return [*self(cases[:half]), *self(cases[half:])]

    def outputs(self, case: Reproducer) -> tuple[ReducedRun, ReducedRun]:
        """Run a case alone on both sides. Raises XbackendError where one fails."""
        runs = self._run(case)
        for run in runs:
            if not run.ok:
                raise XbackendError(str((run.row["error"] or {}).get("message", "A side failed.")))
        one, other = (ReducedRun(run, self._tensors(run)) for run in runs)
        return one, other

    def _run(self, case: Reproducer) -> list[Run]:
        folder = str(rerun_store(self.context.store).folder)
        sample = {name: write_tensor(folder, tensor) for name, tensor in case.inputs.items()}
        return rerun([RerunRequest(run, case.model, [sample]) for run in self.sides], self.context)

    def _tensors(self, run: Run) -> dict[str, Tensor]:
        rows = run.results[0]["outputs"]
        return {str(row["name"]): self.context.store.read_tensor(row) for row in rows}


def _digests(run: Run) -> dict[str, tuple[str, ...]]:
    rows = run.results[0]["outputs"]
    return {row["name"]: (row["dtype"], str(row["shape"]), row["digest"]) for row in rows}


def _differ(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return any(one[name].record() != other[name].record() for name in one)


def _metrics(sides: tuple[ReducedRun, ReducedRun]) -> Metrics:
    """Return how far apart the one output of the two sides is."""
    (name,) = sides[0].outputs
    return measure([blocks_of_tensor(side.outputs[name]) for side in sides])
