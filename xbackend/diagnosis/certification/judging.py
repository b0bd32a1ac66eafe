"""Judges the layers of runs that share a graph, part by part, and keeps the worst of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from xbackend.comparison.findings import BEYOND, NOT_JUDGED, NOT_NEUTRAL, LayerCertificate
from xbackend.diagnosis.certification.evaluation import (
    EvaluatedPart,
    EvaluationSetting,
    Rows,
    evaluate,
)
from xbackend.diagnosis.certification.layers import LayerSubject
from xbackend.diagnosis.certification.local import is_local
from xbackend.diagnosis.certification.reading import LayerReader, TensorCache, widened
from xbackend.numerics.bounds.arithmetic import Arithmetic
from xbackend.numerics.bounds.bound import Bound, Layer
from xbackend.numerics.bounds.judge import PRODUCTS, judge
from xbackend.numerics.bounds.judgement import Judgement, together
from xbackend.numerics.bounds.transformed import TRANSFORMED, transformed_bound
from xbackend.numerics.bounds.weights import touched
from xbackend.store.records import Run

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class RunSample:
    """One sample of a run, and what that recorded of it."""

    run: Run
    name: str
    rows: Rows


@dataclass
class LayerJudge:
    """Judges layers of runs that share a graph, and keeps what was found."""

    setting: EvaluationSetting
    samples: Sequence[RunSample]
    cache: TensorCache
    refused: dict[str, str] = field(default_factory=dict)
    found: dict[tuple[str, str], list[tuple[str, Judgement]]] = field(default_factory=dict)
    """By run and tap: the judgement on each sample."""
    live: dict[tuple[str, str], float] = field(default_factory=dict)
    fused: set[str] = field(default_factory=set)
    makers: set[tuple[str, str]] = field(default_factory=set)
    """By run and tap: what makes NaN or infinities out of finite numbers."""

    def judge(self, subjects: Sequence[LayerSubject]) -> None:
        """Judge all layers; those that multiply and are beyond, by narrower products too."""
        index = self.setting.index
        subjects = [replace(each, local=is_local(each, index)) for each in subjects]
        self.fused = {each.tap for each in subjects if each.fused or each.chain}
        rows = [each.rows for each in self.samples]
        for part in evaluate(self.setting, subjects, rows):
            self.refused.update(part.refused)
            for subject in part.subjects:
                self._judge_layer(part, subject)
        for arithmetic in PRODUCTS:
            self._try_products(subjects, arithmetic)
        self._try_transforms(subjects)

    def _judge_layer(self, part: EvaluatedPart, subject: LayerSubject) -> None:
        reader = self._reader(part)
        judged: list[Judgement] = []
        known: dict[tuple[str, ...], Judgement] = {}
        try:
            for place, sample in enumerate(self.samples):
                key = reader.key(subject, sample.rows)
                one = known.get(key)
                if one is None or not key:
                    layer = reader.layer(subject, sample.rows, place)
                    chained = reader.chained(subject, sample.rows, place)
                    known[key] = one = judge(layer, chained or _bound(subject, layer))
                judged.append(one)
        except LookupError as error:
            self.refused[subject.tap] = str(error.args[0])
            return
        for place, (sample, one) in enumerate(zip(self.samples, judged, strict=True)):
            if one.not_finite and reader.reads_finite(subject, sample.rows, place):
                self.makers.add((sample.run.id, subject.tap))
            self.found.setdefault((sample.run.id, subject.tap), []).append((sample.name, one))
        self._touch(reader, subject)

    def _reader(self, part: EvaluatedPart) -> LayerReader:
        return LayerReader(self.setting, self.cache, part)

    def _touch(self, reader: LayerReader, subject: LayerSubject) -> None:
        """Keep the share of a layer's weights that any sample of a run has touched."""
        node = self.setting.index.graph.nodes[subject.node]
        weights = self.setting.index.graph.constants.get((*node.inputs, "", "")[1])
        if not subject.rule.multiplies or weights is None:
            return
        marks: dict[str, Array] = {}
        for place, sample in enumerate(self.samples):
            x = reader.value(node.inputs[0], sample.rows, place)
            wide = widened(weights)
            mark = None if x is None else touched(node.operator, node.attributes, x, wide)
            if mark is not None:
                marks[sample.run.id] = mark | marks.get(sample.run.id, np.zeros((), bool))
        for run, mark in marks.items():
            self.live[run, subject.tap] = float(mark.mean()) if mark.size else 1.0

    def _try_products(self, subjects: Sequence[LayerSubject], arithmetic: Arithmetic) -> None:
        """Judge again what is beyond rounding, as if operands had been rounded to fewer bits."""
        wanted = [each for each in subjects if each.rule.multiplies and self._is_beyond(each.tap)]
        if not wanted:
            return
        form = f"{arithmetic.operand_bits}{'-' if arithmetic.truncates else ''}"
        samples = [each for each in self.samples if self._is_candidate(each)]
        rows = [each.rows for each in samples]
        plain = {
            (subject.tap, place): row
            for part in evaluate(self.setting, wanted, rows)
            for subject in part.subjects
            for place, row in enumerate(self._bounds(part, subject, samples))
        }
        for part in evaluate(self.setting, wanted, rows, form):
            for subject in part.subjects:
                bounds = [plain[subject.tap, place] for place in range(len(samples))]
                self._judge_again(part, subject, samples, bounds, arithmetic)

    def _try_transforms(self, subjects: Sequence[LayerSubject]) -> None:
        """Judge convolutions that are still beyond rounding as Winograd's or an FFT."""
        nodes = self.setting.index.graph.nodes
        wanted = [
            each
            for each in subjects
            if nodes[each.node].operator == "Conv" and self._is_beyond(each.tap)
        ]
        samples = [each for each in self.samples if self._is_candidate(each)]
        wanted = [replace(each, rule=replace(each.rule, reads=True)) for each in wanted]
        for part in evaluate(self.setting, wanted, [each.rows for each in samples]):
            reader = self._reader(part)
            for subject in part.subjects:
                layers = (reader.layer(subject, each.rows, n) for n, each in enumerate(samples))
                bounds = [transformed_bound(each) for each in layers]
                found = [each for each in bounds if each is not None]
                if len(found) == len(samples):
                    self._judge_again(part, subject, samples, found, TRANSFORMED)

    def _is_beyond(self, tap: str) -> bool:
        return any(
            name == tap and self._is_wide(run) and any(one.verdict == BEYOND for _, one in judged)
            for (run, name), judged in self.found.items()
        )

    def _is_wide(self, run: str) -> bool:
        return any(
            each.run.id == run and each.run.row["precision"] == "float32" for each in self.samples
        )

    def _is_candidate(self, sample: RunSample) -> bool:
        return any(
            one.verdict == BEYOND
            for (run, _), judged in self.found.items()
            if run == sample.run.id
            for _, one in judged
        )

    def _bounds(
        self, part: EvaluatedPart, subject: LayerSubject, samples: Sequence[RunSample]
    ) -> list[Bound]:
        reader = self._reader(part)
        return [
            _bound(subject, reader.layer(subject, sample.rows, place))
            for place, sample in enumerate(samples)
        ]

    def _judge_again(
        self,
        part: EvaluatedPart,
        subject: LayerSubject,
        samples: Sequence[RunSample],
        bounds: Sequence[Bound],
        arithmetic: Arithmetic,
    ) -> None:
        """Replace the judgements of runs of which all samples are explained by an arithmetic."""
        reader = self._reader(part)
        judged: dict[str, list[tuple[str, Judgement]]] = {}
        for place, sample in enumerate(samples):
            layer = reader.layer(subject, sample.rows, place)
            one = judge(layer, bounds[place], (arithmetic,))
            judged.setdefault(sample.run.id, []).append((sample.name, one))
        for run, rows in judged.items():
            had = [one.verdict for _, one in self.found[run, subject.tap]]
            if BEYOND in had and all(one.verdict != BEYOND for _, one in rows):
                self.found[run, subject.tap] = rows

    def layer(
        self, run: Run, tap: str, place: int, operator: str, refused: Mapping[str, str]
    ) -> LayerCertificate:
        """Return what was found of a tensor of a run."""
        judged = self.found.get((run.id, tap), [])
        if tap in refused or not judged:
            reason = refused.get(tap, "it was not evaluated")
            return LayerCertificate(tap, place, operator, NOT_JUDGED, reason, None)
        whole = together([one for _, one in judged])
        worst = next((name for name, one in judged if one.worst == whole.worst), None)
        neutral = run.row["taps_neutral"] is not False
        return LayerCertificate(
            tap,
            place,
            operator,
            whole.verdict if neutral else NOT_NEUTRAL,
            "",
            whole,
            worst if whole.worst is not None else None,
            tap in self.fused,
            (run.id, tap) in self.makers,
            self.live.get((run.id, tap)),
        )


def _bound(subject: LayerSubject, layer: Layer) -> Bound:
    """Return the bound of a layer; of a fused one the last node gives the right values."""
    found = subject.rule.bound(layer)
    return replace(found, exact=None) if subject.fused else found
