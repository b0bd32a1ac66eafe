"""Delta debugging: the smallest of something in which a difference still shows. Pure search.

After Zeller and Hildebrandt (2002), over several dimensions at once. Trials are judged in batches,
as starting a worker costs more than many trials in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Generic, TypeVar

Case = TypeVar("Case")
InterestingnessTest = Callable[[Sequence[Case]], Sequence[bool]]
"""Tells for each case whether the difference shows in it."""
KeepIndices = Callable[[Case, str, Sequence[int]], "Case | None"]
"""Returns a case with these indices of a dimension only; None where there is no such case."""


@dataclass
class Budget:
    """How much may be tried."""

    trials: int
    """Cases that may still be judged."""
    seconds: float
    began: float = field(default_factory=time.monotonic)
    log: Callable[[str], None] = lambda text: None
    """Told how it goes."""
    spent: int = 0
    refused: int = 0
    """Cases that were not judged, as the trials or the seconds were over."""

    @property
    def ended_by(self) -> str:
        """What the search stopped after: `600 s`, or `2000 trials`; empty if it did not."""
        if not self.refused:
            return ""
        return f"{self.trials} trials" if self.spent >= self.trials else f"{self.seconds:g} s"

    def reserve(self, count: int) -> int:
        """Return how many of so many trials may be made now, and count them."""
        late = time.monotonic() - self.began > self.seconds
        allowed = 0 if late else max(0, min(count, self.trials - self.spent))
        self.spent += allowed
        self.refused += count - allowed
        return allowed


@dataclass(frozen=True)
class Candidate(Generic[Case]):
    """One smaller case in which the difference shows."""

    case: Case
    dimension: str
    kept: tuple[int, ...]
    left_out: int
    """How many indices it has fewer."""


def evaluate(
    cases: Sequence[Case], interesting: InterestingnessTest[Case], budget: Budget
) -> list[bool]:
    """Test cases within the budget; those beyond it do not show the difference."""
    allowed = budget.reserve(len(cases))
    shown = list(interesting(cases[:allowed])) if allowed else []
    return [*shown, *[False] * (len(cases) - allowed)]


def shrink(
    case: Case,
    extents: Callable[[Case], Mapping[str, int]],
    keep: KeepIndices[Case],
    interesting: InterestingnessTest[Case],
    budget: Budget,
) -> Case:
    """Leave out indices of all dimensions as long as the difference shows.

    What comes out is minimal in each dimension: without any one more index the difference is gone,
    unless the budget ended before.
    """
    parts: dict[str, int] = {}
    while True:
        sizes = {name: n for name, n in extents(case).items() if n > 1}
        open_ = {name: n for name, n in sizes.items() if parts.get(name, 2) <= n}
        candidates = [each for name, n in open_.items() for each in _subsets(name, n, parts)]
        made = _make(case, candidates, sizes, keep)
        shown = evaluate([each.case for each in made], interesting, budget)
        good = [each for each, holds in zip(made, shown, strict=True) if holds]
        if good:
            case, changed = _together(good, extents, keep, interesting, budget)
            parts = {**parts, **dict.fromkeys(changed, 2)}
            wide = ", ".join(f"{name} {n}" for name, n in extents(case).items() if n > 1)
            budget.log(f"{budget.spent} trials; what is left: {wide or 'one number each'}")
        else:
            parts.update({name: _finer(parts.get(name, 2), n) for name, n in open_.items()})
        exhausted = not good and not any(parts.get(name, 2) <= n for name, n in sizes.items())
        if exhausted or budget.spent >= budget.trials or _late(budget):
            return case


def _late(budget: Budget) -> bool:
    return time.monotonic() - budget.began > budget.seconds


def _finer(parts: int, extent: int) -> int:
    """Return into how many parts to divide next: twice as many, at last one for each index."""
    return extent + 1 if parts >= extent else min(2 * parts, extent)


def _subsets(name: str, extent: int, parts: Mapping[str, int]) -> Iterable[tuple[str, list[int]]]:
    """Yield what is tried of a dimension.

    At first its two halves, and ever shorter beginnings and ends; then each of so many parts, and
    all but each.
    """
    count = min(parts.get(name, 2), extent)
    if count == 2:
        yield from ((name, [*range(extent // 2)]), (name, [*range(extent // 2, extent)]))
        size = extent // 4
        while size:
            yield from ((name, [*range(size)]), (name, [*range(extent - size, extent)]))
            size //= 2
        return
    bounds = [extent * place // count for place in range(count + 1)]
    chunks = [range(*bounds[place : place + 2]) for place in range(count)]
    yield from ((name, [*chunk]) for chunk in chunks)
    yield from ((name, [i for i in range(extent) if i not in chunk]) for chunk in chunks)


def _make(
    case: Case,
    candidates: Iterable[tuple[str, list[int]]],
    sizes: Mapping[str, int],
    keep: KeepIndices[Case],
) -> list[Candidate[Case]]:
    made = ((keep(case, name, kept), name, kept) for name, kept in candidates)
    return [
        Candidate(smaller, name, tuple(kept), sizes[name] - len(kept))
        for smaller, name, kept in made
        if smaller is not None
    ]


def _together(
    good: Sequence[Candidate[Case]],
    extents: Callable[[Case], Mapping[str, int]],
    keep: KeepIndices[Case],
    interesting: InterestingnessTest[Case],
    budget: Budget,
) -> tuple[Case, set[str]]:
    """Apply what was found in several dimensions together, and return the smallest case.

    Two chains are tried, of the largest steps and of the smallest; after each step the difference
    may show or not. Returned too are the dimensions that were touched.
    """
    by_size = sorted(good, key=lambda each: -each.left_out)
    steps = [*_chain(by_size, keep), *_chain(by_size[::-1], keep)]
    shown = evaluate([case for case, _ in steps], interesting, budget)
    held = [(each.case, {each.dimension}) for each in good]
    held += [step for step, holds in zip(steps, shown, strict=True) if holds]
    return min(held, key=lambda step: prod(extents(step[0]).values()))


def _chain(
    found: Iterable[Candidate[Case]], keep: KeepIndices[Case]
) -> Iterable[tuple[Case, set[str]]]:
    """Yield a case after the first two, three, … dimensions were cut, as far as it is sound."""
    chosen: dict[str, Candidate[Case]] = {}
    for each in found:
        chosen.setdefault(each.dimension, each)
    case: Case | None = None
    touched: set[str] = set()
    for each in chosen.values():
        case = each.case if case is None else keep(case, each.dimension, each.kept)
        touched = {*touched, each.dimension}
        if case is None:
            return
        if len(touched) > 1:
            yield case, touched


def simplify(
    case: Case,
    options: Sequence[Sequence[Callable[[Case], Case | None]]],
    interesting: InterestingnessTest[Case],
    budget: Budget,
) -> Case:
    """Replace parts of a case by the simplest form in which the difference still shows.

    `options` holds for each part its forms, the simplest first.
    """
    tried = [(part, make(case)) for part, forms in enumerate(options) for make in forms]
    cases = [(part, made) for part, made in tried if made is not None]
    shown = evaluate([made for _, made in cases], interesting, budget)
    makers = [make for forms in options for make in forms]
    places = [place for place, (_, made) in enumerate(tried) if made is not None]
    best: dict[int, Callable[[Case], Case | None]] = {}
    for (part, _), place, holds in zip(cases, places, shown, strict=True):
        if holds:
            best.setdefault(part, makers[place])
    steps: list[Case] = []
    for make in best.values():
        made = make(steps[-1] if steps else case)
        if made is not None:
            steps.append(made)
    together = evaluate(steps, interesting, budget)
    holding = [step for step, holds in zip(steps, together, strict=True) if holds]
    return holding[-1] if holding else case
