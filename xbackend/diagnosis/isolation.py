"""Inherited or own: what a layer's arithmetic adds to the error that its inputs bring along.

Every layer of a run is computed once with the inputs it had and once with those that the same layer
of a reference had, all in one inference of a model whose edges are cut (`diagnosis.cut_graph`), on
the run's own backend, settings and platform. What makes it trustworthy is a check of both sides:
fed with its own recorded inputs, a layer must give its own recorded bits. Where it does not, a
framework computed it together with others, and nothing is said of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from xbackend.comparison.findings import (
    BOTH,
    INHERITED,
    NONE,
    OWN,
    UNKNOWN,
    Isolation,
    LayerVerdict,
)
from xbackend.comparison.layers import worst_metrics
from xbackend.comparison.measurement import Measurer
from xbackend.diagnosis.cut_graph import NHWC_PERMUTATION, CutModel, cut_graph, load_model
from xbackend.diagnosis.reference import tensors_by_sample
from xbackend.diagnosis.rerun import InputRecords, RerunRequest, onnx_path, recorded_types, rerun
from xbackend.errors import UsageError, XbackendError
from xbackend.execution.execute import ExecutionContext
from xbackend.numerics.metrics import Metrics
from xbackend.store.records import Record, Run
from xbackend.worker.objects import write_tensor
from xbackend.worker.subgraphs import is_within
from xbackend.worker.tensor import Tensor

WITHIN = "it is computed in the graph of another node, which is not cut out"
OTHER_BITS = "alone, with its own inputs, it gives other bits than the {who} recorded"
Tensors = Mapping[str, Mapping[str, Record]]
"""What was recorded, by sample and name."""


def isolate(reference: Run, run: Run, context: ExecutionContext, exact: bool = False) -> Isolation:
    """Isolate every layer of a run against a reference of the same structure.

    `exact` says that the reference is rounded from another precision, so there is nothing to check
    it by. Raises UsageError where the two cannot be compared layer by layer, XbackendError where a
    side does not run any more.
    """
    _check(reference, run)
    here, there = _in_common(run, reference)
    sides = [_Side(run, reference, (there, here), context)]
    sides += [] if exact else [_Side(reference, reference, (there,), context)]
    _compute(sides, [{}, {}], context)
    _compute(sides, [{"only": side.failing, "channels_last": True} for side in sides], context)
    measurer = Measurer(context.store)
    rows = [one for row in run.layers if (one := _layer(row, there, here, sides, measurer))]
    notes = tuple(note for side in sides for note in side.notes())
    return Isolation(reference, run, tuple(there), tuple(rows), notes)


def _compute(sides: Sequence[_Side], options: Sequence[Record], context: ExecutionContext) -> None:
    """Compute layers alone, on both sides at once; each keeps those that give their own bits."""
    orders = [(side, side.cut(**more)) for side, more in zip(sides, options, strict=False)]
    wanted = [(side, made) for side, made in orders if made.taps and made.is_worth_running]
    runs = rerun([side.rerun_request(made) for side, made in wanted], context)
    for (side, made), found in zip(wanted, runs, strict=True):
        side.record_results(made, found)


def _check(reference: Run, run: Run) -> None:
    _check_structure(reference, run)
    for each in (reference, run):
        each.check_kept()
        if not each.ok or not all(result["taps"] for result in each.results):
            raise UsageError(f"Run {each.id} has no layers to isolate. Run it with --taps layers.")
    if reference.row["precision"] != run.row["precision"]:
        raise UsageError(
            f"Runs {reference.id} and {run.id} are in {reference.row['precision']} and "
            f"{run.row['precision']}. Name two of one precision, or one and --reference float64."
        )


def _check_structure(reference: Run, run: Run) -> None:
    """Raise UsageError for files whose layers are not the same operators of the same inputs."""
    if reference.row["model_digest"] == run.row["model_digest"]:
        return
    theirs, ours = _operators(reference), _operators(run)
    shared = theirs.keys() & ours.keys()
    if not shared or any(theirs[tap] != ours[tap] for tap in shared):
        raise UsageError(
            f"Runs {reference.id} and {run.id} are of different files with other layers, which are "
            "compared layer by layer, not isolated: no layer of one can be run in the other. "
            "Isolate runs of one file: --no-across, in Python across=False."
        )


def _operators(run: Run) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return the operator of each layer and what it reads, by its tensor."""
    return {
        str(each["tap"]): (str(each["operator"]), tuple(map(str, each["inputs"])))
        for each in run.layers
    }


def tensors_with_inputs(run: Run) -> dict[str, dict[str, Record]]:
    """Return all that a run read and recorded, by sample and name."""
    found = tensors_by_sample(run)
    for result in run.results:
        inputs = {str(row["name"]): row for row in result.get("inputs", ())}
        found[str(result["input"])] = {**inputs, **found[str(result["input"])]}
    return found


def _in_common(run: Run, reference: Run) -> tuple[Tensors, Tensors]:
    """Return what two runs have of the samples that both read, by the reference's names of these.

    A sample is the same where its inputs have the same bits, whatever it is called.
    """
    names = {_inputs(result): str(result["input"]) for result in run.results}
    here, there = tensors_with_inputs(run), tensors_with_inputs(reference)
    pairs = {str(r["input"]): names[_inputs(r)] for r in reference.results if _inputs(r) in names}
    if not pairs:
        raise UsageError(
            f"Runs {reference.id} and {run.id} have no sample in common. Run both on the same "
            "inputs."
        )
    return {one: here[two] for one, two in pairs.items()}, {one: there[one] for one in pairs}


def _inputs(result: Record) -> str:
    return " ".join(sorted(f"{row['name']} {row['digest']}" for row in result.get("inputs", ())))


class _Side:
    """One of the two runs, and what its layers gave alone."""

    def __init__(
        self, run: Run, other: Run, sources: Sequence[Tensors], context: ExecutionContext
    ) -> None:
        self.run, self.sources, self.store = run, sources, context.store
        theirs = recorded_types(other)
        self.known = {n: of for n, of in recorded_types(run).items() if theirs.get(n) == of}
        self.whole = load_model(onnx_path(run, context.store))
        self.alone: list[dict[str, Record]] = []
        """What layers gave, by name: for each sample of each source."""
        self.refused: dict[str, str] = {}
        """Tensors that cannot be isolated, to the reason."""
        self.failing: set[str] = set()
        """Those of them that gave other bits alone."""
        self.unsafe: set[str] = set()
        self.version = run.row["backend_version"]

    def cut(self, only: Collection[str] | None = None, channels_last: bool = False) -> CutModel:
        """Cut the graph at what both runs recorded alike."""
        return cut_graph(self.whole, self.known, only, channels_last)

    def rerun_request(self, made: CutModel) -> RerunRequest:
        """Return what to run: a cut graph on every sample of every source."""
        samples = [self._given(made, rows) for of in self.sources for rows in of.values()]
        return RerunRequest(self.run, made.model, samples)

    def _given(self, made: CutModel, recorded: Mapping[str, Record]) -> InputRecords:
        return {
            name: self._transposed(recorded[value])
            if name in (made.channels_last or ())
            else recorded[value]
            for name, value in made.given.items()
        }

    def _transposed(self, row: Record) -> Record:
        tensor = self.store.read_tensor(row)
        turned = Tensor(tensor.dtype, tensor.array.transpose(NHWC_PERMUTATION))
        return write_tensor(str(self.store.folder), turned)

    def record_results(self, made: CutModel, found: Run) -> None:
        """Keep the layers that gave their own bits when fed with their own inputs."""
        _refuse_failure(found)
        rows = [{str(row["name"]): row for row in result["outputs"]} for result in found.results]
        self.alone = self.alone or [{} for _ in rows]
        own = rows[-len(self.sources[-1]) :]
        pairs = [*zip(own, self.sources[-1].values(), strict=True)]
        sound = [t for t in made.taps if all(_same(t, one, had) for one, had in pairs)]
        self.failing = set(made.taps) - set(sound)
        if not made.channels_last:
            self.refused = {**made.left_out, **dict.fromkeys(self.failing, OTHER_BITS)}
        for tap in sound:
            self.refused.pop(tap, None)
            for kept, row in zip(self.alone, rows, strict=True):
                kept[tap] = row[tap]
        self.unsafe |= found.emulation_unsafe
        self.version = found.row["backend_version"]

    def notes(self) -> Iterator[str]:
        """Yield what keeps a reader from trusting the verdicts."""
        row = self.run.row
        if row["backend_version"] != self.version:
            yield (
                f"Run {self.run.id} was computed by {row['backend']} {row['backend_version']}, its "
                f"layers now by {self.version}: run it again."
            )
        if row["taps_neutral"] is False:
            yield (
                f"Recording the layers of run {self.run.id} changed the bits of its outputs: what "
                "is isolated are the layers as they were recorded."
            )


def _same(tap: str, one: Mapping[str, Record], other: Mapping[str, Record]) -> bool:
    return tap in one and tap in other and one[tap]["digest"] == other[tap]["digest"]


def _layer(
    layer: Record, theirs: Tensors, ours: Tensors, sides: Sequence[_Side], measurer: Measurer
) -> LayerVerdict | None:
    """Judge one tensor; None where not both recorded it, or it hangs on extents alone."""
    tap = str(layer["tap"])
    recorded = all(tap in theirs[name] and tap in ours[name] for name in theirs)
    side, within = sides[0], is_within(tap)
    alone = side.alone[0] if side.alone else {}
    if not recorded or not (within or tap in side.refused or tap in alone):
        return None
    whose = zip(sides, ("run", "reference"), strict=False)
    reasons = [of.refused[tap].format(who=who) for of, who in whose if tap in of.refused]
    reasons = reasons or [WITHIN] * within
    on_theirs = dict(zip(theirs, side.alone, strict=False))
    own = None if reasons else _worst(tap, theirs, on_theirs, measurer)
    inherited = None if reasons else _worst(tap, on_theirs, ours, measurer)
    return LayerVerdict(
        tap=tap,
        layer=int(layer["layer"]),
        operator=str(layer["operator"]),
        verdict=UNKNOWN if reasons else _verdict(own, inherited),
        reason=next(iter(reasons), ""),
        total=_worst(tap, theirs, ours, measurer),
        own=own,
        inherited=inherited,
        by_emulation=any(tap in of.unsafe for of in sides),
    )


def _worst(tap: str, one: Tensors, other: Tensors, measurer: Measurer) -> Metrics:
    pairs = ((one[name][tap], other[name][tap]) for name in one)
    rows = ([a] if a["digest"] == b["digest"] else [a, b] for a, b in pairs)
    return worst_metrics([measurer.measure_tap(each).metrics for each in rows])


def _refuse_failure(found: Run) -> None:
    if not found.ok:
        error = found.row["error"] or {}
        raise XbackendError(
            f"The layers of {found.row['backend']} on {found.row['platform']} cannot be computed "
            f"one by one: {error.get('message', 'it gave no output.')}"
        )


def _verdict(own: Metrics | None, inherited: Metrics | None) -> str:
    verdicts = {(True, True): BOTH, (True, False): OWN, (False, True): INHERITED}
    one, other = (bool(of and of.deviating_fraction != 0) for of in (own, inherited))
    return verdicts.get((one, other), NONE)
