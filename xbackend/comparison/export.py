"""Whether an exported graph computes what its source does, both run in one framework.

No tolerance is asked for. Integers differ or do not. Floats differ as far as rounding usually
takes a layer with the same inputs, or further: beyond `LAYER_LIMIT` of the largest value no order
of summation explains it. Between is not judged here: that needs bounds for each operator.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xbackend.comparison.comparison import Comparison
from xbackend.numerics.blocks import TensorBlocks, blocks_of_file, element_count, view_as_numbers
from xbackend.plugins import registry
from xbackend.store.cohort import Cohort
from xbackend.store.records import Record, Run
from xbackend.store.store import Store
from xbackend.worker.contract import GRAPH, ONNX, SOURCE

RANDOM = "draws random numbers"
"""Verdict where a side gives other bits each time, so that nothing can be judged."""
SAME, CLOSE, STEP, OTHER = "same bits", "close", "step", "another function"
"""Verdicts on an export, the better ones first. `step`: the outputs are far apart, but first at a
step function whose input differs a little, as rounding may do."""

LAYER_LIMIT = {"float64": 2.0**-30, "float32": 2.0**-13, "float16": 2.0**-6, "bfloat16": 2.0**-4}
"""Share of the largest value that a few nodes with the same inputs may differ by."""

NETWORK_LIMIT = {"float64": 2.0**-20, "float32": 2.0**-9, "float16": 2.0**-3, "bfloat16": 2.0**-2}
"""The same for many nodes, or where the inputs differ already."""

FEW_NODES = 24
"""So many nodes, at most, are one operation of the source, such as an attention."""

STEPS = frozenset(
    "ArgMax ArgMin Cast Ceil Equal Floor Greater GreaterOrEqual Less LessOrEqual Mod NonZero "
    "QuantizeLinear Round Sign TopK Where".split()
)
"""Operators whose result jumps where the input changes a little."""

BLOCK = 1 << 16


@dataclass(frozen=True)
class TensorDifference:
    """One tensor of one sample, of the source and of the graph, where their bits differ."""

    input: str
    tap: str
    layer: int | None
    """Position of the node that computes it; None where the graph does not tell."""
    operator: str | None
    is_output: bool
    elements: int
    deviating: int
    """Elements with other numbers."""
    least: float | None
    """The least distance between numbers that differ; None where one is not finite, or the shapes
    or formats are not the same."""
    largest: float | None
    relative: float | None
    """The largest distance over the largest number of the source."""
    same_inputs: bool
    """Whether all that it is computed from has the same bits in both."""
    verdict: str
    """`close`, `step` or `another function`."""

    def to_dict(self) -> Record:
        """Return JSON values."""
        return dict(vars(self))


@dataclass(frozen=True)
class ExportJudgement:
    """A run of a model's source, and one of its exported graph in the same framework."""

    cohort: Cohort
    source: Run
    graph: Run
    inputs: int
    """How many samples both have."""
    distinct_inputs: int
    """How many of them have other bits."""
    verdict: str
    """The worst over all samples and tensors."""
    first: TensorDifference | None
    """Where the verdict begins in the graph, in the first sample that has it; None if it is `same
    bits`."""
    output: TensorDifference | None
    """The output that is farthest from the source's."""
    inputs_with_verdict: int
    """How many samples have the verdict."""
    taps_compared: int
    """How many tensors, outputs among them, both recorded in every sample."""

    @property
    def title(self) -> str:
        """What the source is called, such as `PyTorch module`."""
        return registry.backend(str(self.source.row["backend"])).source_title

    def to_dict(self) -> Record:
        """Return the entry of `exports` in the JSON report."""
        return {
            "group": self.cohort.group,
            "model": self.cohort.model,
            "inputs_digest": self.cohort.inputs_digest,
            "source": self.source.id,
            "graph": self.graph.id,
            "inputs": self.inputs,
            "distinct_inputs": self.distinct_inputs,
            "verdict": self.verdict,
            "first": None if self.first is None else self.first.to_dict(),
            "output": None if self.output is None else self.output.to_dict(),
            "inputs_with_verdict": self.inputs_with_verdict,
            "taps_compared": self.taps_compared,
        }


def export_judgements(
    comparison: Comparison, only: Cohort | None = None
) -> tuple[ExportJudgement, ...]:
    """Judge each source run against the graph's run that is like it in all else.

    Those of one cohort alone, or of all.
    """
    found: dict[str, Cohort] = {}
    for sample in comparison.samples:
        found.setdefault(sample.cohort.key, sample.cohort)
    return tuple(
        _judge(cohort, source, graph, comparison.store)
        for cohort in found.values()
        if only is None or cohort is only
        for source, graph in export_pairs(cohort.runs)
    )


def export_pairs(runs: Sequence[Run]) -> Iterator[tuple[Run, Run]]:
    """Yield each source run with a graph's run of the same backend, settings and platform."""
    graphs = [run for run in runs if run.row["settings"].get(GRAPH) == ONNX]
    for run in runs:
        if run.row["settings"].get(GRAPH) != SOURCE:
            continue
        alike = [graph for graph in graphs if _circumstances(graph) == _circumstances(run)]
        same_repeat = [graph for graph in alike if graph.row["repeat"] == run.row["repeat"]]
        if alike:
            yield run, (same_repeat or alike)[-1]


def is_random(run: Run) -> bool:
    """Tell whether a run draws random numbers.

    Its framework says so, or two inferences of one session, with nothing watching, gave other bits.
    """
    facts = run.row.get("facts") or {}
    return facts.get("draws_random") is True or _repeated_with_other_bits(run) > 0


def _repeated_with_other_bits(run: Run) -> int:
    """Return of how many samples a second inference of one session gave other bits."""
    told = (run.row.get("facts") or {}).get("repeated")
    other = told.get("other_bits") if isinstance(told, dict) else None
    return other if isinstance(other, int) else 0


def _circumstances(run: Run) -> Record:
    settings = {key: value for key, value in run.row["settings"].items() if key != GRAPH}
    row = run.row
    return {"settings": settings, **{k: row[k] for k in ("backend", "backend_version", "platform")}}


def _judge(cohort: Cohort, source: Run, graph: Run, store: Store) -> ExportJudgement:
    theirs = {str(result["input"]): result for result in graph.results}
    pairs = [
        (mine, theirs[str(mine["input"])]) for mine in source.results if mine["input"] in theirs
    ]
    trusted = source.row["taps_neutral"] is not False and graph.row["taps_neutral"] is not False
    differences = [_SampleDifferences(mine, other, graph, store, trusted) for mine, other in pairs]
    found = [list(each) for each in differences]
    verdict = worst_verdict([sample_verdict([each.verdict for each in some]) for some in found])
    hit = [[each for each in sample if each.verdict == verdict] for sample in found]
    outputs = [each for sample in found for each in sample if each.is_output]
    if is_random(source) or is_random(graph):
        verdict, hit, outputs = RANDOM, [], []
    return ExportJudgement(
        cohort=cohort,
        source=source,
        graph=graph,
        inputs=len(pairs),
        distinct_inputs=len({_digests(mine.get("inputs") or ()) for mine, _ in pairs}),
        verdict=verdict,
        first=next((sample[0] for sample in hit if sample), None),
        output=max(outputs, key=_distance, default=None),
        inputs_with_verdict=sum(bool(sample) for sample in hit),
        taps_compared=min((len(each.shared) for each in differences), default=0),
    )


def _digests(tensors: Sequence[Record]) -> tuple[str, ...]:
    return tuple(str(tensor["digest"]) for tensor in tensors)


def sample_verdict(verdicts: Sequence[str]) -> str:
    """Return the verdict on a sample from those on its tensors, in the order of the graph.

    A step that comes first is why what comes after it is far apart.

    >>> sample_verdict([CLOSE, STEP, OTHER]), sample_verdict([OTHER, STEP]), sample_verdict([])
    ('step', 'another function', 'same bits')
    """
    decisive = [each for each in verdicts if each in (STEP, OTHER)]
    return decisive[0] if decisive else worst_verdict(verdicts)


def worst_verdict(verdicts: Sequence[str]) -> str:
    """Return the worst of some verdicts, `same bits` for none.

    >>> worst_verdict([CLOSE, SAME])
    'close'
    """
    return max((SAME, *verdicts), key=(SAME, CLOSE, STEP, OTHER).index)


def _distance(difference: TensorDifference) -> tuple[bool, float]:
    return difference.largest is None, difference.largest or 0.0


class _SampleDifferences:
    """Compares what both runs recorded of one sample, in the order of the graph."""

    def __init__(
        self, mine: Record, other: Record, graph: Run, store: Store, trusted: bool
    ) -> None:
        self.store, self.input = store, str(mine["input"])
        self.mine, self.other = _tensors(mine, trusted), _tensors(other, trusted)
        self.outputs = {str(tensor["name"]) for tensor in mine["outputs"]}
        self.layers = {str(layer["tap"]): layer for layer in graph.layers}
        order = [*self.layers, *(name for name in self.mine if name not in self.layers)]
        self.shared = [name for name in order if name in self.mine and name in self.other]
        self.equal = {name for name in self.shared if self._bits(name, equal=True)}
        given = {str(tensor["name"]) for tensor in mine.get("inputs") or ()}
        self.known = {*self.shared, *given}
        self.equal |= given

    def __iter__(self) -> Iterator[TensorDifference]:
        return (self._difference(name) for name in self.shared if name not in self.equal)

    def _bits(self, name: str, equal: bool) -> bool:
        keys = ("dtype", "shape", "digest")
        return all(self.mine[name][key] == self.other[name][key] for key in keys) is equal

    def _difference(self, name: str) -> TensorDifference:
        layer = self.layers.get(name, {})
        nodes, same = self._reach(name)
        one, other = self._open(self.mine[name]), self._open(self.other[name])
        measured = measure_difference(one, other)
        limits = LAYER_LIMIT if same and nodes <= FEW_NODES else NETWORK_LIMIT
        return TensorDifference(
            input=self.input,
            tap=name,
            layer=layer.get("layer"),
            operator=layer.get("operator"),
            is_output=name in self.outputs,
            same_inputs=same,
            verdict=_verdict(measured, one.dtype, limits, layer.get("operator"), same),
            **measured,
        )

    def _open(self, tensor: Record) -> TensorBlocks:
        self.store.verify_object(tensor["digest"])
        path = self.store.object_path(tensor["digest"])
        return blocks_of_file(path, tensor["dtype"], tuple(tensor["shape"]))

    def _reach(self, name: str) -> tuple[int, bool]:
        """Return how many nodes lie between a tensor and those before it that both recorded.

        And whether all of these have the same bits. Where the graph does not tell: as many as there
        are, and no.
        """
        waiting, seen, nodes, same = [name], {name}, 0, True
        while waiting:
            reads = self.layers.get(waiting.pop(), {}).get("inputs")
            if reads is None:
                return len(self.layers), False
            nodes += 1
            for value in set(reads) - seen:
                seen.add(value)
                if value in self.known:
                    same = same and value in self.equal
                else:
                    waiting.append(value)
        return nodes, same


def _tensors(result: Record, trusted: bool) -> dict[str, Record]:
    """Return the tensors of a sample by name; the outputs alone where taps changed bits."""
    rows = [*(result["taps"] if trusted else ()), *result["outputs"]]
    return {str(row["name"]): row for row in rows}


def _verdict(
    measured: Mapping[str, Any],
    dtype: str,
    limits: Mapping[str, float],
    operator: str | None,
    same_inputs: bool,
) -> str:
    """Judge one tensor: integers by inequality, floats by a distance that no rounding explains."""
    relative, limit = measured["relative"], limits.get(dtype)
    if not measured["deviating"]:
        return CLOSE  # zeros of either sign, NaN of either payload
    if relative is not None and limit is not None and relative <= limit:
        return CLOSE
    return STEP if operator in STEPS and not same_inputs else OTHER


def measure_difference(one: TensorBlocks, other: TensorBlocks) -> Record:
    """Return elements, deviating ones, least, largest and relative distance of two tensors."""
    count = element_count(one)
    if one.dtype != other.dtype or tuple(one.shape) != tuple(other.shape):
        return {
            "elements": count, "deviating": count, "least": None, "largest": None, "relative": None
        }  # fmt: skip
    deviating, least, largest, scale = 0, np.inf, 0.0, 0.0
    for start in range(0, count, BLOCK):
        stop = min(start + BLOCK, count)
        mine = _wide(one, start, stop)
        gap = _gap(mine, _wide(other, start, stop))
        apart = gap[gap > 0]
        deviating += int(apart.size)
        least = min(least, float(apart.min(initial=np.inf)))
        largest = max(largest, float(apart.max(initial=0.0)))
        scale = max(scale, float(np.abs(mine[np.isfinite(mine)]).max(initial=0.0)))
    finite = bool(np.isfinite(largest))
    return {
        "elements": count,
        "deviating": deviating,
        "least": float(least) if finite and deviating else None,
        "largest": largest if finite else None,
        "relative": largest / scale if finite and scale else None,
    }


def _wide(blocks: TensorBlocks, start: int, stop: int) -> np.ndarray[Any, Any]:
    """Return elements as numbers that can be subtracted: float64, in which 53 bits are exact."""
    numbers = view_as_numbers(blocks.dtype, blocks.bits(start, stop))
    wide = np.complex128 if numbers.dtype.kind == "c" else np.float64
    return numbers.astype(wide)


def _gap(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return distances: 0 between equal numbers and two NaN, infinite where one is not finite."""
    with np.errstate(invalid="ignore", over="ignore"):
        gap = np.abs(one - other)
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    return np.where(same, 0.0, np.where(np.isnan(gap), np.inf, gap))
