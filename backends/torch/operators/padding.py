"""Paddings in the order of `F.pad`: the last axis first, begin and end of each together."""

from __future__ import annotations

from typing import TYPE_CHECKING, List, Sequence

if TYPE_CHECKING:
    from xbackend.worker.geometry.sliding_window import Window


def torch_pads(begins: Sequence[int], ends: Sequence[int]) -> List[int]:
    """Put paddings before and after axes into that order.

    >>> torch_pads([1, 2], [3, 4])
    [2, 4, 1, 3]
    """
    pairs = list(zip(begins, ends))
    return [extent for pair in reversed(pairs) for extent in pair]


def fitting_pads(window: Window) -> List[int]:
    """Return the paddings with which a window's places just fit."""
    return torch_pads(window.begins, window.fitting_ends)
