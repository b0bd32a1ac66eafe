"""Judges the layers of runs that share a graph, part by part, and keeps the worst of each."""

from __future__ import annotations

import contextlib
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
from xbackend.diagnosis.certification.reading import LayerReader, TensorCache, form_of, widened
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
        self._try_others(subjects)

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
            self.refused[subject.tap] = _reason(error)
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

    def _try_others(self, subjects: Sequence[LayerSubject]) -> None:
        """Judge again what is beyond rounding, by narrower products and transformed convolutions.

        What NumPy does not compute here, one worker does for all arithmetics together.
        """
        nodes = self.setting.index.graph.nodes
        wanted = [each for each in subjects if each.rule.multiplies and self._is_beyond(each.tap)]
        if not wanted:
            return
        names = " and ".join(dict.fromkeys(each.name for each in PRODUCTS))
        count = f"{len(wanted)} layer{'s' if len(wanted) > 1 else ''}"
        self.setting.context.display.log(f"trying {names} for {count} beyond float32")
        wanted = [
            replace(each, rule=replace(each.rule, reads=True))
            if each.local or nodes[each.node].operator == "Conv"
            else each
            for each in wanted
        ]
        samples = [each for each in self.samples if self._is_candidate(each)]
        forms = [form_of(each) for each in PRODUCTS]
        for part in evaluate(self.setting, wanted, [each.rows for each in samples], forms):
            for subject in part.subjects:
                with contextlib.suppress(LookupError):  # it stays beyond rounding
                    self._try_layer(self._reader(part), subject, samples)

    def _try_layer(
        self, reader: LayerReader, subject: LayerSubject, samples: Sequence[RunSample]
    ) -> None:
        plain = [reader.layer(subject, each.rows, place) for place, each in enumerate(samples)]
        bounds: list[Bound | None] = [_bound(subject, layer) for layer in plain]
        for arithmetic in PRODUCTS:
            if not self._is_beyond(subject.tap):
                return
            layers = [
                replace(layer, exact=reader.rounded(subject, layer, place, arithmetic))
                for place, layer in enumerate(plain)
            ]
            self._judge_again(subject.tap, samples, layers, bounds, arithmetic)
        if plain and plain[0].operator == "Conv" and self._is_beyond(subject.tap):
            found = [transformed_bound(each) for each in plain]
            if all(each is not None for each in found):
                self._judge_again(subject.tap, samples, plain, found, TRANSFORMED)

    def _is_beyond(self, tap: str) -> bool:
        return any(
            name == tap and self._iswide(run) and any(one.verdict == BEYOND for _, one in judged)
            for (run, name), judged in self.found.items()
        )

    def _iswide(self, run: str) -> bool:
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

    def _judge_again(
        self,
        tap: str,
        samples: Sequence[RunSample],
        layers: Sequence[Layer],
        bounds: Sequence[Bound | None],
        arithmetic: Arithmetic,
    ) -> None:
        """Replace the judgements of runs of which all samples are explained by an arithmetic."""
        judged: dict[str, list[tuple[str, Judgement]]] = {}
        for sample, layer, bound in zip(samples, layers, bounds, strict=True):
            assert bound is not None
            one = judge(layer, bound, (arithmetic,))
            judged.setdefault(sample.run.id, []).append((sample.name, one))
        for run, rows in judged.items():
            had = [one.verdict for _, one in self.found.get((run, tap), ())]
            if BEYOND in had and all(one.verdict != BEYOND for _, one in rows):
                self.found[run, tap] = rows

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


def _reason(error: LookupError) -> str:
    """Return in a clause why no bound was found; of a failed look-up, that its form is odd."""
    if isinstance(error, (KeyError, IndexError)):
        return f"its form is not one that its bound knows ({error})"
    return str(error.args[0])


def _bound(subject: LayerSubject, layer: Layer) -> Bound:
    """Return the bound of a layer; of a fused one the last node gives the right values."""
    found = subject.rule.bound(layer)
    return replace(found, exact=None) if subject.fused else found
