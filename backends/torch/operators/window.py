"""Where a sliding window lies on its input: paddings, strides and the extent of the result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, List, Sequence, Tuple

if TYPE_CHECKING:
    from xbackend.worker.graph import Node


@dataclass(frozen=True)
class Window:
    """A sliding window over the spatial axes."""

    kernel: Tuple[int, ...]
    strides: Tuple[int, ...]
    dilations: Tuple[int, ...]
    begins: Tuple[int, ...]
    """Elements of padding before each axis."""
    ends: Tuple[int, ...]
    """Elements of padding after each axis."""

    @property
    def extents(self) -> Tuple[int, ...]:
        """How far the window reaches along each axis, its gaps included."""
        return tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations))

    @property
    def symmetric(self) -> bool:
        """Whether each axis has the same padding at both ends."""
        return self.begins == self.ends


def window_of(node: Node, kernel: Sequence[int], spatial: Sequence[int]) -> Window:
    """Read a node's window over an input of these spatial extents, `auto_pad` resolved."""
    axes = len(kernel)
    strides = tuple(node.attributes.get("strides") or [1] * axes)
    dilations = tuple(node.attributes.get("dilations") or [1] * axes)
    pads = list(node.attributes.get("pads") or [0] * 2 * axes)
    how = node.attributes["auto_pad"]
    if how == "VALID":
        pads = [0] * 2 * axes
    elif how != "NOTSET":
        extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilations)]
        totals = [
            max((-(-n // stride) - 1) * stride + extent - n, 0)
            for n, stride, extent in zip(spatial, strides, extents)
        ]
        pads = split_pads(totals, how == "SAME_UPPER")
    return Window(tuple(kernel), strides, dilations, tuple(pads[:axes]), tuple(pads[axes:]))


def split_pads(totals: Sequence[int], more_after: bool) -> List[int]:
    """Split each axis's padding in two; an odd element goes after the axis, or before it.

    >>> split_pads([3, 4], more_after=True)
    [1, 2, 2, 2]
    """
    less = [total // 2 for total in totals]
    more = [total - half for total, half in zip(totals, less)]
    return [*less, *more] if more_after else [*more, *less]


def result_extents(window: Window, spatial: Sequence[int], ceil_mode: bool) -> List[int]:
    """Return how many windows fit along each axis.

    With `ceil_mode` the last may reach beyond the padding, but begins within input or left padding.
    """
    results = []
    axes = zip(spatial, window.extents, window.strides, window.begins, window.ends)
    for n, extent, stride, begin, end in axes:
        room = n + begin + end - extent
        count = (-(-room // stride) if ceil_mode else room // stride) + 1
        if ceil_mode and (count - 1) * stride >= n + begin:
            count -= 1
        results.append(count)
    return results


def torch_pads(begins: Sequence[int], ends: Sequence[int]) -> List[int]:
    """Return paddings in the order of `F.pad`: the last axis first, begin and end together.

    >>> torch_pads([1, 2], [3, 4])
    [2, 4, 1, 3]
    """
    pairs = list(zip(begins, ends))
    return [extent for pair in reversed(pairs) for extent in pair]


def exact_pads(window: Window, spatial: Sequence[int], counts: Sequence[int]) -> List[int]:
    """Return the paddings, in the order of `F.pad`, with which so many windows just fit."""
    axes = zip(counts, window.strides, window.extents, spatial, window.begins)
    ends = [(c - 1) * stride + extent - n - begin for c, stride, extent, n, begin in axes]
    return torch_pads(window.begins, ends)
