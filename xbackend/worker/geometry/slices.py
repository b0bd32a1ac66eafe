"""Which elements of each axis Slice and Pad take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Dict, List, Optional, Sequence, Tuple

if TYPE_CHECKING:
    from xbackend.worker.geometry.sliding_window import Pads

PAD_MODES = ("constant", "edge", "reflect", "wrap")
"""What ONNX has, by NumPy's names too."""


def cuts(
    shape: Sequence[int],
    starts: Sequence[int],
    ends: Sequence[int],
    axes: Optional[Sequence[int]] = None,
    steps: Optional[Sequence[int]] = None,
) -> Dict[int, slice]:
    """Return what Slice takes of each axis, by its number from 0; bounds lie within the axis.

    >>> cuts([5], [-1], [-(2**63)], None, [-1])
    {0: slice(4, None, -1)}
    """
    named = range(len(starts)) if axes is None else axes
    strides = [1] * len(starts) if steps is None else steps
    places = [axis % len(shape) for axis in named]
    rows = zip(places, starts, ends, strides)
    return {axis: _within(slice(*bounds), shape[axis]) for axis, *bounds in rows}


def _within(cut: slice, extent: int) -> slice:
    start, end, step = cut.indices(extent)
    return slice(start, None if end < 0 else end, step)


def widths(rank: int, pads: Sequence[int], axes: Optional[Sequence[int]] = None) -> Pads:
    """Return what Pad puts before and after each axis; negative where it cuts.

    >>> widths(3, [1, 2, 3, 4], [-1, 0])
    ((2, 4), (0, 0), (1, 3))
    """
    named = [axis % rank for axis in (range(rank) if axes is None else axes)]
    pairs = dict(zip(named, zip(pads[: len(named)], pads[len(named) :])))
    return tuple(pairs.get(axis, (0, 0)) for axis in range(rank))


def cut_and_padded(shape: Sequence[int], pads: Pads) -> Tuple[Tuple[slice, ...], Pads]:
    """Split paddings of either sign into what they cut off each axis and what they put around.

    >>> cut_and_padded([5], ((-1, 2),))
    ((slice(1, 5, None),), ((0, 2),))
    """
    cut = (slice(max(-b, 0), n - max(-e, 0)) for (b, e), n in zip(pads, shape))
    return tuple(cut), tuple((max(b, 0), max(e, 0)) for b, e in pads)


def repeated(extent: int, begin: int, end: int, mode: str) -> List[int]:
    """Return which element stands at each place of an axis that is padded by its own elements.

    >>> repeated(3, 2, 1, "reflect"), repeated(3, 2, 1, "wrap")
    ([2, 1, 0, 1, 2, 1], [1, 2, 0, 1, 2, 0])
    """
    places = range(-begin, extent + end)
    if mode == "edge":
        return [min(max(place, 0), extent - 1) for place in places]
    if mode == "wrap":
        return [place % extent for place in places]
    period = max(2 * (extent - 1), 1)
    return [min(place % period, period - place % period) if extent > 1 else 0 for place in places]
