"""What running models again has shown: values that a comparison holds and reports lay out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from xbackend.numerics.bounds.judgement import Judgement
from xbackend.numerics.float64_error import ErrorMetrics
from xbackend.numerics.floats import FORMATS
from xbackend.numerics.metrics import Metrics
from xbackend.numerics.pair_metrics import PairMetrics
from xbackend.plugins import registry
from xbackend.store.cohort import Cohort
from xbackend.store.records import Record, Run
from xbackend.worker.subgraphs import is_within

OWN, INHERITED, BOTH, NONE, UNKNOWN = "own", "inherited", "own + inherited", "none", "not isolable"
"""Verdicts on a layer."""


BODIES = ("If", "Loop", "Scan")
"""Operators that hold graphs of their own."""


@dataclass(frozen=True)
class TensorPair:
    """Two classes of one tensor of one sample, with everything that can be measured of them."""

    cohort: str
    """The cohort's key."""
    input: str
    tap: str
    classes: tuple[int, int]
    """Numbers, from 1."""
    runs: tuple[str, str]
    """Ids of the first run of each."""
    metrics: PairMetrics | None
    """None where dtypes or shapes differ."""

    def to_dict(self) -> Record:
        """Return the entry of `pairs` in the JSON report, but for the model and group."""
        metrics = {} if self.metrics is None else self.metrics.to_dict()
        return {
            "input": self.input,
            "tap": self.tap,
            "classes": list(self.classes),
            "runs": list(self.runs),
            "comparable": self.metrics is not None,
            **metrics,
        }


@dataclass(frozen=True)
class LayerVerdict:
    """One tensor: where its deviation from the reference comes from."""

    tap: str
    layer: int
    operator: str
    verdict: str
    """One of those of this module."""
    reason: str
    """Why it is not isolable; empty for the others."""
    total: Metrics
    """As it was recorded in the two runs; the worst over the samples, as the other two."""
    own: Metrics | None
    """The run's layer on the reference's inputs, against the reference's."""
    inherited: Metrics | None
    """The run's layer on its own inputs, against the same on the reference's inputs."""
    by_emulation: bool
    """Whether its operator is one that an emulator computes unlike a real processor."""

    @property
    def has_graph_in_the_way(self) -> bool:
        """Whether it is a value of a body, or its node has one: these are never cut out."""
        return is_within(self.tap) or self.operator in BODIES

    @property
    def has_own(self) -> bool:
        """Whether its own arithmetic differs."""
        return self.verdict in (OWN, BOTH)

    def to_dict(self) -> Record:
        """Return JSON values."""
        kinds = {"total": self.total, "own": self.own, "inherited": self.inherited}
        metrics = {kind: None if of is None else vars(of) for kind, of in kinds.items()}
        rest = ("tap", "layer", "operator", "verdict", "reason", "by_emulation")
        return {**{key: getattr(self, key) for key in rest}, **metrics}


@dataclass(frozen=True)
class Isolation:
    """A run against a reference, layer by layer."""

    reference: Run
    run: Run
    inputs: tuple[str, ...]
    """Names of the samples that both have."""
    layers: tuple[LayerVerdict, ...]
    """Every tensor that both recorded, in graph order."""
    notes: tuple[str, ...]
    """What must be known to trust it."""

    @property
    def own(self) -> tuple[LayerVerdict, ...]:
        """The layers whose own arithmetic differs, but for what an emulator may have made."""
        return tuple(each for each in self.layers if each.has_own and not each.by_emulation)

    @property
    def unknown(self) -> tuple[LayerVerdict, ...]:
        """The layers that cannot be isolated."""
        return tuple(each for each in self.layers if each.verdict == UNKNOWN)

    @property
    def no_fusion_options(self) -> str:
        """Return the settings that keep both frameworks from fusing nodes, as options.

        Empty where fusing is not what keeps layers from being isolated.
        """
        if self.unknown and all(each.has_graph_in_the_way for each in self.unknown):
            return ""
        wanted = {}
        for run in (self.reference, self.run):
            spec = registry.backend(str(run.row["backend"]))
            held = run.row["settings"]
            missing = {k: v for k, v in spec.unfused_settings.items() if held.get(k) != v}
            wanted.update({f"{spec.word}.{key}": value for key, value in missing.items()})
        return " ".join(f"--set {key}={value}" for key, value in wanted.items())

    def to_dict(self) -> Record:
        """Return the entry of `isolations` in the JSON report."""
        first = self.own[0] if self.own else None
        return {
            "reference": self.reference.id,
            "run": self.run.id,
            "inputs": list(self.inputs),
            "first_own_tap": None if first is None else first.tap,
            "first_own_layer": None if first is None else first.layer,
            "own_taps": [each.tap for each in self.own],
            "not_isolable": [each.tap for each in self.unknown],
            "notes": list(self.notes),
            "layers": [each.to_dict() for each in self.layers],
        }


EXACT, ROUNDING, BEYOND = "exact", "rounding", "beyond rounding"
NOT_JUDGED, NOT_NEUTRAL = "not judged", "not neutral"
"""Verdicts of a certificate on a layer."""


@dataclass(frozen=True)
class LayerCertificate:
    """One tensor of one run: whether rounding explains its error, from its own recorded inputs."""

    tap: str
    layer: int
    operator: str
    verdict: str
    """One of those of this module."""
    reason: str
    """Why it is not judged; empty for the others."""
    judgement: Judgement | None
    """The error and its bound, the worst over the samples; None where it is not judged."""
    sample: str | None = None
    """The sample with the worst element."""
    fused: bool = False
    """Whether it was computed together with the node before, of which nothing was recorded."""
    makes_nonfinite: bool = False
    """Whether it gives NaN or infinities in a sample of which all that it reads is finite."""
    weights_touched: float | None = None
    """Share of the weights that met a number other than 0 in some sample; None without weights."""

    @property
    def is_fault(self) -> bool:
        """Whether its error is beyond rounding in every known format."""
        return self.verdict == BEYOND

    @property
    def is_unusual(self) -> bool:
        """Whether its error is far above the usual size, though within the bound."""
        return bool(self.judgement and self.judgement.unusual and self.verdict == ROUNDING)

    def to_dict(self) -> Record:
        """Return JSON values."""
        found = None if self.judgement is None else vars(self.judgement)
        rest = ("tap", "layer", "operator", "verdict", "reason", "sample", "fused")
        numbers = {} if found is None else {k: v for k, v in found.items() if k != "verdict"}
        worst = None if found is None or found["worst"] is None else vars(found["worst"])
        return {
            **{key: getattr(self, key) for key in rest},
            "makes_nonfinite": self.makes_nonfinite,
            "weights_touched": self.weights_touched,
            **finite_json({**numbers, "worst": worst}),
        }


@dataclass(frozen=True)
class Certificate:
    """A run, layer by layer: what rounding explains, and what it does not."""

    run: Run
    layers: tuple[LayerCertificate, ...]
    """Every tensor that the run recorded and constants do not decide, in graph order."""
    evaluator: str
    """The backend, with its version, that computed the right values in float64."""
    samples: int
    notes: tuple[str, ...] = ()
    """What must be known to trust it."""

    @property
    def faults(self) -> tuple[LayerCertificate, ...]:
        """The layers beyond rounding, in graph order."""
        return tuple(each for each in self.layers if each.is_fault)

    @property
    def judged(self) -> tuple[LayerCertificate, ...]:
        """The layers with a verdict."""
        return tuple(each for each in self.layers if each.verdict in (EXACT, ROUNDING, BEYOND))

    @property
    def not_judged(self) -> tuple[LayerCertificate, ...]:
        """The layers of which nothing is known."""
        return tuple(each for each in self.layers if each.verdict == NOT_JUDGED)

    @property
    def unusual(self) -> tuple[LayerCertificate, ...]:
        """The layers far above the usual size, though within the bound."""
        return tuple(each for each in self.layers if each.is_unusual)

    @property
    def other_arithmetics(self) -> tuple[LayerCertificate, ...]:
        """The layers whose error speaks of another format than the run was asked for."""
        asked = str(self.run.row["precision"])
        return tuple(
            each
            for each in self.layers
            if each.verdict == ROUNDING and each.judgement is not None
            if asked in FORMATS and each.judgement.arithmetic != asked
        )

    @property
    def overflows(self) -> tuple[LayerCertificate, ...]:
        """The layers that give no finite number where the right value is one, in graph order."""
        judged = (each for each in self.layers if each.judgement is not None)
        return tuple(each for each in judged if each.judgement and each.judgement.overflowed)

    @property
    def first_nonfinite(self) -> LayerCertificate | None:
        """The first layer that makes NaN or infinities out of finite numbers."""
        return next((each for each in self.layers if each.makes_nonfinite), None)

    def to_dict(self) -> Record:
        """Return the entry of `certificates` in the JSON report."""
        return {
            "run": self.run.id,
            "evaluator": self.evaluator,
            "samples": self.samples,
            "faults": [each.tap for each in self.faults],
            "unusual": [each.tap for each in self.unusual],
            "not_judged": [each.tap for each in self.not_judged],
            "other_arithmetics": [each.tap for each in self.other_arithmetics],
            "overflows": [each.tap for each in self.overflows],
            "first_nonfinite": None if self.first_nonfinite is None else self.first_nonfinite.tap,
            "notes": list(self.notes),
            "layers": [each.to_dict() for each in self.layers],
        }


def finite_json(value: Any) -> Any:
    """Return JSON values with text for the numbers that JSON cannot write.

    >>> finite_json({"a": float("inf"), "b": (1.0,)})
    {'a': 'inf', 'b': [1.0]}
    """
    if isinstance(value, dict):
        return {key: finite_json(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite_json(inner) for inner in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


@dataclass(frozen=True)
class ReferenceComparisonRow:
    """Runs that recorded the same bits, and how near these are to the reference."""

    ids: tuple[str, ...]
    first: Run
    output: ErrorMetrics
    """The worst over outputs and samples."""
    taps: dict[str, ErrorMetrics]
    """Every tensor that the reference has too, the worst over samples, outputs among them."""
    strange: tuple[str, ...]
    """Tensors with so few bits by norm that they are not the reference's at all."""
    lost: tuple[tuple[str, float], ...]
    """Where accuracy is lost: names of tensors with the bits by norm that their node costs, from
    the largest loss."""


@dataclass(frozen=True)
class ReferenceComparison:
    """The runs of a cohort, the nearest first, held against one reference."""

    cohort: Cohort
    reference: Run
    rows: tuple[ReferenceComparisonRow, ...]
    by_class: Mapping[tuple[str, str], tuple[ErrorMetrics | None, ...]]
    """By sample and tensor: the accuracy of each of its classes."""

    @property
    def layers(self) -> tuple[Record, ...]:
        """The reference's layers that any run recorded, in graph order."""
        names = {name for row in self.rows for name in row.taps}
        return tuple(layer for layer in self.reference.layers if layer["tap"] in names)

    def to_dict(self) -> Record:
        """Return the entry of `accuracy` in the JSON report."""
        return {
            "group": self.cohort.group,
            "model": self.cohort.model,
            "inputs_digest": self.cohort.inputs_digest,
            "reference": self.reference.id,
            "reference_backend": self.reference.row["backend"],
            "reference_version": self.reference.row["backend_version"],
            "runs": [
                {
                    "ids": list(row.ids),
                    **vars(row.output),
                    "strange": list(row.strange),
                    "lost_at": [{"tap": name, "bits": bits} for name, bits in row.lost[:3]],
                    "taps": {name: vars(found) for name, found in row.taps.items()},
                }
                for row in self.rows
            ],
        }
