"""Lays out files that a model was converted into: which weights kept their bits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xbackend.execution.convert import ConvertedFile


def render(files: Sequence[ConvertedFile]) -> str:
    """Return a line for each file."""
    return "\n".join(f"{file.path}: {weights_sentence(file.steps)}" for file in files)


def weights_sentence(steps: Sequence[Mapping[str, Any]]) -> str:
    """Return a sentence on the weights that kept their bits in all steps."""
    parts = []
    for step in steps:
        same, changed = step["weights"]["identical"], step["weights"]["changed"]
        text = f"{step['converter']} kept the bits of {len(same)} of {len(same) + len(changed)}"
        shown = ", ".join(changed[:3]) + (", …" if len(changed) > 3 else "")
        parts.append(f"{text} weights" + (f" (changed: {shown})" if changed else ""))
    return "; ".join(parts) or "shipped with the model, or the source itself"
