"""Delta debugging: the smallest part of a set that still does what the whole does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")
Part = tuple[T, ...]


def ddmin(
    items: Part[T],
    holds: Callable[[Part[T]], bool],
    settle: Callable[[Part[T]], Part[T]] = lambda part: part,
) -> Part[T]:
    """Return a part for which `holds` is true and is not without any one piece of it.

    Zeller and Hildebrandt (2002), algorithm ddmin; it must hold for all items. `settle` gives the
    part that stands for one, such as all flags that must go when some do. What comes first is
    tried first.

    >>> ddmin((1, 2, 3, 4, 5, 6), lambda part: {2, 5} <= set(part))
    (2, 5)
    """
    current, pieces = items, 2
    while len(current) >= 2:
        found = next(
            (part for part in _candidates(current, pieces, settle) if holds(part)),
            None,
        )
        if found is not None:
            current, pieces = found, 2
        elif pieces >= len(current):
            break
        else:
            pieces = min(len(current), pieces * 2)
    return current


def _candidates(
    current: Part[T], pieces: int, settle: Callable[[Part[T]], Part[T]]
) -> Iterator[Part[T]]:
    """Yield each piece, then the rest without each, if they are smaller when they have settled."""
    size = -(-len(current) // pieces)
    chunks = [current[start : start + size] for start in range(0, len(current), size)]
    rests = [tuple(item for item in current if item not in chunk) for chunk in chunks]
    for part in [*chunks, *(rests if len(chunks) > 2 else [])]:
        settled = settle(part)
        if set(settled) < set(current):
            yield settled
