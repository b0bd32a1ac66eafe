"""Where the windows of convolutions and poolings lie, for any number of spatial axes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Tuple

import numpy as np

if TYPE_CHECKING:
    from typing import Iterator, Sequence

    from xbackend.worker.graph import Node

    Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Window:
    """A window that moves over the spatial axes; each tuple has one entry for each of them."""

    kernel: Tuple[int, ...]
    strides: Tuple[int, ...]
    dilations: Tuple[int, ...]
    begins: Tuple[int, ...]
    """Padding before the first element, as the node asks for it."""
    ends: Tuple[int, ...]
    """Padding after the last element, as the node asks for it."""
    extents: Tuple[int, ...]
    """How many places the window takes: the output's spatial shape."""

    def pad(self, array: Array, value: float) -> Array:
        """Pad an array (N, C, …) so that every place of the window lies within it."""
        widths = [(0, 0), (0, 0)]
        for axis, size in enumerate(array.shape[2:]):
            reach = (self.extents[axis] - 1) * self.strides[axis] + self.span(axis)
            end = max(reach - size - self.begins[axis], 0)
            widths.append((self.begins[axis], end))
        return np.pad(array, widths, mode="constant", constant_values=value)

    def span(self, axis: int) -> int:
        """Return how many elements the window covers along an axis, the skipped ones too."""
        return (self.kernel[axis] - 1) * self.dilations[axis] + 1


def window_of(node: Node, spatial: Sequence[int], kernel: Sequence[int]) -> Window:
    """Read a node's window for an input with these spatial extents."""
    rank = len(kernel)
    strides = tuple(node.attributes.get("strides", [1] * rank))
    dilations = tuple(node.attributes.get("dilations", [1] * rank))
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations)]
    begins, ends = _pads(node, spatial, spans, strides)
    ceil = bool(node.attributes.get("ceil_mode", 0))
    sizes = zip(spatial, spans, strides, begins, ends)
    extents = tuple(_extent(*size, ceil=ceil) for size in sizes)
    return Window(tuple(kernel), strides, dilations, begins, ends, extents)


def kernel_positions(window: Window) -> Iterator[Tuple[Tuple[int, ...], Tuple[slice, ...]]]:
    """Yield each element of the kernel and the index of what it sees in a padded (N, C, …)."""
    whole = (slice(None), slice(None))
    for place in product(*(range(extent) for extent in window.kernel)):
        steps = zip(place, window.dilations, window.strides, window.extents)
        cuts = (slice(p * d, p * d + (n - 1) * s + 1, s) for p, d, s, n in steps)
        yield place, whole + tuple(cuts)


def _pads(
    node: Node, spatial: Sequence[int], spans: Sequence[int], strides: Sequence[int]
) -> Tuple[Tuple[int, ...], Tuple[int, ...]]:
    rank = len(spans)
    mode = node.attributes.get("auto_pad", "NOTSET")
    if mode == "NOTSET":
        pads = tuple(node.attributes.get("pads", [0] * 2 * rank))
        return pads[:rank], pads[rank:]
    if mode == "VALID":
        return (0,) * rank, (0,) * rank
    total = [max((-(-n // s) - 1) * s + k - n, 0) for n, k, s in zip(spatial, spans, strides)]
    less = tuple(t // 2 for t in total)
    more = tuple(t - t // 2 for t in total)
    return (less, more) if mode == "SAME_UPPER" else (more, less)


def _extent(size: int, span: int, stride: int, begin: int, end: int, ceil: bool) -> int:
    room = size + begin + end - span
    places = (-(-room // stride) if ceil else room // stride) + 1
    if ceil and (places - 1) * stride >= size + begin:
        places -= 1
    return places
