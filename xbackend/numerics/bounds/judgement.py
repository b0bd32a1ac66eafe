"""What is known of a layer's error, on one sample or some, and the element that is farthest out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

EXACT, ROUNDING, BEYOND = "exact", "rounding", "beyond rounding"
"""Verdicts: the right bits, within what rounding can do, or another function."""


@dataclass(frozen=True)
class Worst:
    """The element that is farthest out, as a share of what is allowed."""

    index: tuple[int, ...]
    recorded: float
    exact: float
    allowed: float

    def at(self, offset: tuple[int, ...]) -> Worst:
        """Return it with an index that counts from elsewhere."""
        return replace(self, index=tuple(map(sum, zip(self.index, offset, strict=True))))


@dataclass(frozen=True)
class Judgement:
    """What is known of a layer's error on some samples."""

    verdict: str
    arithmetic: str
    """The arithmetic that the error speaks of."""
    terms: int
    error: float
    """The error farthest out, in roundings of the run's own format relative to the bound's scale;
    of whole numbers in steps. It is within `limit` where, and only where, it is no fault."""
    limit: float
    """What is allowed of that element, in the same unit, with all that was allowed beside."""
    usual: float
    """The roundings that are seen as a rule there."""
    unusual: int
    """Elements far above the usual size, though within the bound."""
    beyond: int
    """Elements beyond the bound."""
    elements: int
    overflowed: int
    """Elements that are not finite although the right value is, or is too large for the format."""
    peak: float
    """The largest of the right values that overflowed, 0 where none did."""
    not_finite: int
    """Elements that are NaN or infinite, rightly or not."""
    flushed: int
    """Elements that are 0 where the right value is a subnormal number."""
    worst: Worst | None
    """None where every element has the right value."""
    undefined: int = 0
    """Elements that ONNX defines no value of, such as a whole number divided by zero."""


def merged(pieces: Sequence[Judgement]) -> Judgement:
    """Return one judgement of all pieces of a layer."""
    found = together(pieces)
    right = all(one.verdict == EXACT for one in pieces)
    verdict = BEYOND if found.beyond else EXACT if right else ROUNDING
    worst = [one.worst for one in pieces if one.worst is not None]
    return replace(found, verdict=verdict, worst=max(worst, key=_share, default=None))


def _rank(one: Judgement) -> tuple[bool, float, float]:
    """Order judgements by what is told of them: an unusual size, else how far out they are."""
    odd = bool(one.unusual) and not one.beyond
    return odd, one.error if odd else one.error / one.limit if one.limit else one.error, one.limit


def _share(worst: Worst) -> float:
    error = abs(worst.recorded - worst.exact)
    return error / max(worst.allowed, 1e-300) if math.isfinite(error) else math.inf


def together(judgements: Sequence[Judgement]) -> Judgement:
    """Return one judgement of a layer on several samples: the worst of each."""
    order = (EXACT, ROUNDING, BEYOND)
    worst = max(judgements, key=lambda one: (order.index(one.verdict), one.beyond, *_rank(one)))
    return replace(
        worst,
        unusual=sum(one.unusual for one in judgements),
        beyond=sum(one.beyond for one in judgements),
        elements=sum(one.elements for one in judgements),
        overflowed=sum(one.overflowed for one in judgements),
        peak=max(one.peak for one in judgements),
        not_finite=sum(one.not_finite for one in judgements),
        flushed=sum(one.flushed for one in judgements),
        undefined=sum(one.undefined for one in judgements),
    )
