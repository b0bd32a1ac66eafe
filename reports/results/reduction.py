"""Lays out what is left of a network that was reduced: the files, and a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from xbackend.reduction.reduction import Reduction

from ..wording.summation import summation_sentence


def render(reduction: Reduction, folder: Path, files: Sequence[Path]) -> str:
    """Return the files that were written, and how much of the network is left."""
    nodes, elements = len(reduction.case.model.graph.node), reduction.case.elements
    layer = reduction.layer
    sentence = (
        f"{nodes} of {reduction.nodes} nodes and {elements} of {reduction.elements} numbers show "
        f"the difference, which begins at layer {layer.layer} ({layer.operator}, '{layer.tap}'); "
        f"{reduction.trials} trials, verified anew. Next: {folder / 'README.md'}"
    )
    lines = [*map(str, files), sentence]
    if reduction.summation is not None:
        runs = [side.run.row for side in reduction.sides]
        words = [str(row["backend"]) for row in runs]
        alike = words[0] == words[1]
        one, other = ("side a", "side b") if alike else (words[0], words[1])
        lines.append(summation_sentence(reduction.summation, (one, other)))
    return "\n".join(lines)
