"""Where the output of a transposed convolution lies within all that its kernels reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Tuple

from .sliding_window import halves, spans_of

if TYPE_CHECKING:
    from typing import Sequence

    from xbackend.worker.graph import Node


@dataclass(frozen=True)
class Spread:
    """A transposed convolution; each tuple has one entry for each spatial axis."""

    strides: Tuple[int, ...]
    dilations: Tuple[int, ...]
    spans: Tuple[int, ...]
    """How many elements the kernel covers, the skipped ones too."""
    added: Tuple[int, ...]
    """What `output_padding` puts after all that the kernels reach."""
    full: Tuple[int, ...]
    """Extents of what the kernels reach, with what is added."""
    begins: Tuple[int, ...]
    """How much of its beginning is cut away; negative where zeros are put before it."""
    extents: Tuple[int, ...]
    """The output's."""

    @property
    def ends(self) -> Tuple[int, ...]:
        """How much is cut away at its end; negative where zeros are put after it."""
        axes = zip(self.full, self.begins, self.extents)
        return tuple(full - begin - extent for full, begin, extent in axes)


def spread_of(
    node: Node, spatial: Sequence[int], kernel: Sequence[int], both_ways: bool = False
) -> Spread:
    """Read a node of ConvTranspose for an input with these spatial extents.

    An output that is wider than all that is reached grows at its end, or `both_ways`.
    """
    rank = len(kernel)
    attributes = node.attributes
    strides = tuple(attributes.get("strides") or [1] * rank)
    dilations = tuple(attributes.get("dilations") or [1] * rank)
    spans = spans_of(kernel, dilations)
    added = tuple(attributes.get("output_padding") or [0] * rank)
    axes = zip(spatial, strides, spans, added)
    full = tuple((n - 1) * step + span + more for n, step, span, more in axes)
    word = attributes.get("auto_pad", "NOTSET")
    wanted = tuple(attributes.get("output_shape") or ())[-rank:]
    if not wanted and word.startswith("SAME"):
        wanted = tuple(n * step for n, step in zip(spatial, strides))
    if wanted:
        cuts = [have - want for have, want in zip(full, wanted)]
        cuts = cuts if both_ways else [max(cut, 0) for cut in cuts]
        begins = tuple(halves(cut, word == "SAME_UPPER")[0] for cut in cuts)
        return Spread(strides, dilations, spans, added, full, begins, wanted)
    none = [0] * 2 * rank
    pads = tuple(none if word == "VALID" else attributes.get("pads") or none)
    sizes = zip(full, pads[:rank], pads[rank:])
    extents = tuple(have - begin - end for have, begin, end in sizes)
    return Spread(strides, dilations, spans, added, full, pads[:rank], extents)
