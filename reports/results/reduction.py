"""Lays out what is left of a network that was reduced: the files, and a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from xbackend.reduction.reduction import Reduction


def render(reduction: Reduction, folder: Path, files: Sequence[Path]) -> str:
    """Return the files that were written, and how much of the network is left."""
    nodes, elements = len(reduction.case.model.graph.node), reduction.case.elements
    layer = reduction.layer
    sentence = (
        f"{nodes} of {reduction.nodes} nodes and {elements} of {reduction.elements} numbers show "
        f"the difference, which begins at layer {layer.layer} ({layer.operator}, '{layer.tap}'); "
        f"{reduction.trials} trials, verified anew. Next: {folder / 'README.md'}"
    )
    return "\n".join([*map(str, files), sentence])
