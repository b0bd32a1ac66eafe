"""Where the windows of convolutions and poolings lie, for any number of spatial axes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, List, Tuple

import numpy as np

if TYPE_CHECKING:
    from typing import Iterator, Optional, Sequence

    from xbackend.worker.graph import Node

    Array = np.ndarray[Any, Any]

Pads = Tuple[Tuple[int, int], ...]
"""For each spatial axis, how many elements are put before it and after it."""


@dataclass(frozen=True)
class Window:
    """A window that moves over the spatial axes; each tuple has one entry for each of them."""

    spatial: Tuple[int, ...]
    """The input's extents."""
    kernel: Tuple[int, ...]
    strides: Tuple[int, ...]
    dilations: Tuple[int, ...]
    begins: Tuple[int, ...]
    """Padding before the first element, as the node asks for it."""
    ends: Tuple[int, ...]
    """Padding after the last element, as the node asks for it."""
    extents: Tuple[int, ...]
    """How many places the window takes: the output's spatial shape."""

    @property
    def spans(self) -> Tuple[int, ...]:
        """How many elements the window covers along each axis, the skipped ones too."""
        return spans_of(self.kernel, self.dilations)

    @property
    def symmetric(self) -> bool:
        """Whether each axis has the same padding at both ends."""
        return self.begins == self.ends

    @property
    def fitting_ends(self) -> Tuple[int, ...]:
        """Padding after each axis with which the places just fit; negative where some is left."""
        axes = zip(self.extents, self.strides, self.spans, self.spatial, self.begins)
        return tuple((count - 1) * step + span - n - b for count, step, span, n, b in axes)

    @property
    def pads(self) -> Pads:
        """The padding that the node asks for, and what `ceil_mode` needs beyond it."""
        ends = (max(asked, fits) for asked, fits in zip(self.ends, self.fitting_ends))
        return tuple(zip(self.begins, ends))

    def pad(self, array: Array, value: float) -> Array:
        """Pad an array (N, C, …) so that every place of the window lies within it."""
        ends = (max(end, 0) for end in self.fitting_ends)
        widths = [(0, 0), (0, 0), *zip(self.begins, ends)]
        return np.pad(array, widths, mode="constant", constant_values=value)

    def counts(self, with_pads: bool) -> List[int]:
        """Return how many elements of the input each place sees, in C order.

        With pads those count too that the node asks for; what lies beyond them never does.
        """
        totals = [1]
        for axis, count in enumerate(self.extents):
            begin, end = self.begins[axis], self.begins[axis] + self.spatial[axis]
            if with_pads:
                begin, end = 0, end + self.ends[axis]
            steps = [i * self.dilations[axis] for i in range(self.kernel[axis])]
            firsts = [i * self.strides[axis] for i in range(count)]
            seen = [sum(begin <= first + step < end for step in steps) for first in firsts]
            totals = [total * number for total in totals for number in seen]
        return totals


def window_of(
    node: Node, spatial: Sequence[int], kernel: Sequence[int], ceil: Optional[bool] = None
) -> Window:
    """Read a node's window for an input with these spatial extents.

    `ceil` says whether the last place may reach beyond the padding; left out, the node says it.
    Such a place begins within the input or the padding before it.
    """
    rank = len(kernel)
    strides = tuple(node.attributes.get("strides") or [1] * rank)
    dilations = tuple(node.attributes.get("dilations") or [1] * rank)
    spans = spans_of(kernel, dilations)
    begins, ends = _pads(node, spatial, spans, strides)
    upwards = bool(node.attributes.get("ceil_mode", 0)) if ceil is None else ceil
    sizes = zip(spatial, spans, strides, begins, ends)
    extents = tuple(_extent(*size, ceil=upwards) for size in sizes)
    return Window(tuple(spatial), tuple(kernel), strides, dilations, begins, ends, extents)


def spans_of(kernel: Sequence[int], dilations: Sequence[int]) -> Tuple[int, ...]:
    """Return how many elements a kernel covers along each axis, the skipped ones too.

    >>> spans_of([3, 2], [1, 4])
    (3, 5)
    """
    return tuple((size - 1) * step + 1 for size, step in zip(kernel, dilations))


def kernel_positions(window: Window) -> Iterator[Tuple[Tuple[int, ...], Tuple[slice, ...]]]:
    """Yield each element of the kernel and the index of what it sees in a padded (N, C, …)."""
    whole = (slice(None), slice(None))
    for place in product(*(range(extent) for extent in window.kernel)):
        steps = zip(place, window.dilations, window.strides, window.extents)
        cuts = (slice(p * d, p * d + (n - 1) * s + 1, s) for p, d, s, n in steps)
        yield place, whole + tuple(cuts)


def same_pads(
    spatial: Sequence[int], spans: Sequence[int], strides: Sequence[int], upper: bool = True
) -> Pads:
    """Return the padding with which there is a place for each stride of the input.

    Of an odd number the greater part comes after an axis, or before it if not `upper`.

    >>> same_pads([5, 5], [3, 2], [2, 1])
    ((1, 1), (0, 1))
    """
    axes = zip(spatial, spans, strides)
    totals = (max((-(-n // step) - 1) * step + span - n, 0) for n, span, step in axes)
    return tuple(halves(total, upper) for total in totals)


def halves(total: int, upper: bool) -> Tuple[int, int]:
    """Split a number in two; of an odd one the second is the greater, or the first if not `upper`.

    >>> halves(3, True), halves(3, False)
    ((1, 2), (2, 1))
    """
    less, more = total // 2, total - total // 2
    return (less, more) if upper else (more, less)


def _pads(
    node: Node, spatial: Sequence[int], spans: Sequence[int], strides: Sequence[int]
) -> Tuple[Tuple[int, ...], Tuple[int, ...]]:
    rank = len(spans)
    mode = node.attributes.get("auto_pad", "NOTSET")
    if mode == "NOTSET":
        pads = tuple(node.attributes.get("pads") or [0] * 2 * rank)
        return pads[:rank], pads[rank:]
    if mode == "VALID":
        return (0,) * rank, (0,) * rank
    pairs = same_pads(spatial, spans, strides, mode == "SAME_UPPER")
    return tuple(before for before, _ in pairs), tuple(after for _, after in pairs)


def _extent(size: int, span: int, stride: int, begin: int, end: int, ceil: bool) -> int:
    room = size + begin + end - span
    places = (-(-room // stride) if ceil else room // stride) + 1
    if ceil and (places - 1) * stride >= size + begin:
        places -= 1
    return places
