"""The tensors of a cohort, layer by layer, over all its samples: the paper's Figure 5."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from xbackend.comparison.class_changes import ClassChange
from xbackend.comparison.comparison import SampleComparison, TapComparison
from xbackend.comparison.operator_kinds import operator_kind
from xbackend.numerics.metrics import Metrics


@dataclass(frozen=True)
class TapSummary:
    """One tensor over all samples of a cohort."""

    tap: str
    layer: int | None
    operator: str | None
    is_output: bool
    eqc_count: int
    """The most classes that it falls into on any sample."""
    metrics: Metrics
    """The worst over the samples; `deviating_fraction` is the mean."""
    run_count: int
    """The most runs that have it."""
    missing: tuple[str, ...]
    """Ids of runs that computed a sample without recording it."""
    taps_not_neutral: tuple[str, ...]
    emulation_unsafe: tuple[str, ...]
    """Ids of runs that computed it from what an emulator computes unlike a real processor."""
    origin: ClassChange
    """The most classes that its layer bears on any sample, and the most that collapse."""

    @property
    def kind(self) -> str | None:
        """`activation` or `pooling`, None for other operators."""
        return operator_kind(self.operator)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "tap": self.tap,
            "layer": self.layer,
            "operator": self.operator,
            "kind": self.kind,
            "is_output": self.is_output,
            "eqc_count": self.eqc_count,
            **vars(self.metrics),
            "run_count": self.run_count,
            "taps_not_neutral": list(self.taps_not_neutral),
            "emulation_unsafe": list(self.emulation_unsafe),
            **self.origin.to_dict(),
        }


def summarise_taps(samples: Sequence[SampleComparison]) -> tuple[TapSummary, ...]:
    """Return every tensor of a cohort, in graph order."""
    found: dict[str, list[TapComparison]] = {}
    for sample in samples:
        for tap in sample.taps:
            found.setdefault(tap.tap, []).append(tap)
    return tuple(_summarise(taps) for taps in found.values())


def _summarise(taps: Sequence[TapComparison]) -> TapSummary:
    first = taps[0]
    return TapSummary(
        tap=first.tap,
        layer=first.layer,
        operator=first.operator,
        is_output=first.is_output,
        eqc_count=max(tap.eqc_count for tap in taps),
        metrics=worst_metrics([tap.metrics for tap in taps]),
        run_count=max(sum(map(len, tap.eqcs)) for tap in taps),
        missing=_union(tap.missing for tap in taps),
        taps_not_neutral=_union(tap.taps_not_neutral for tap in taps),
        emulation_unsafe=_union(tap.emulation_unsafe for tap in taps),
        origin=_most([tap.origin for tap in taps]),
    )


def _most(origins: Sequence[ClassChange]) -> ClassChange:
    """Return the most of each count, None where no sample has one."""
    born = [each.born for each in origins if each.born is not None]
    collapsed = [each.collapsed for each in origins if each.collapsed is not None]
    return ClassChange(
        born=max(born, default=None),
        collapsed=max(collapsed, default=None),
        born_by_emulation=max(each.born_by_emulation for each in origins),
        through=_union(each.through for each in origins),
        unknown=_union(each.unknown for each in origins),
        compared_within_subgraphs=any(each.compared_within_subgraphs for each in origins),
    )


def _union(names: Iterable[Iterable[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for each in names for name in each))


def worst_metrics(metrics: Sequence[Metrics]) -> Metrics:
    """Return the worst of each metric; None, which is worse than any number, stays None.

    `deviating_fraction` is the mean, `not_finite` the sum.
    """
    kept = [each.remaining_precision for each in metrics]
    shares = [each.deviating_fraction for each in metrics]
    known = [share for share in shares if share is not None]
    return Metrics(
        remaining_precision=extreme_or_none(min, kept),
        max_ulp=extreme_or_none(max, [each.max_ulp for each in metrics]),
        max_abs=extreme_or_none(max, [each.max_abs for each in metrics]),
        deviating_fraction=sum(known) / len(known) if known and known == shares else None,
        not_finite=sum(each.not_finite for each in metrics),
    )


def extreme_or_none(choose: Any, values: Sequence[Any]) -> Any:
    """Return the least or the greatest, None where one is None or there is none."""
    return choose(values) if values and None not in values else None
