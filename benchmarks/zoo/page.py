"""The table docs/models_tried.md, from what trials gave."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .trial import BACKENDS, Kept, Outcome, distance

HEAD = """\
# Models that were tried

Made by `python -m benchmarks.zoo`. Do not edit it.

Each model ran on random samples that fit it (see [inputs](guides/inputs.md)), in float32, with the
settings that each backend ships with. A number is the largest difference from the first backend of
the row that ran, relative to the output's largest value; *ok* is that backend itself, or one that
ran on other inputs than it; *same* is no difference at all. A detector that sees nothing in noise
gives numbers near 0 alone, of which 1e-7 is much. A number in brackets leads to the sentence with
which a backend refused or failed. *–* has not been run.
"""


Row = tuple[str, "Kept | None"]
"""A model's name, and what is kept of it."""


def page(parts: Mapping[str, Sequence[Row]]) -> str:
    """Return the page: a table for each part, then the sentences."""
    notes: dict[str, int] = {}
    tables = [_table(title, rows, notes) for title, rows in parts.items()]
    said = "\n".join(f"{number}. {_escaped(text)}" for text, number in notes.items())
    return "\n".join([HEAD, *tables, "## Refusals and failures\n", said or "None.", ""])


def _table(title: str, rows: Sequence[Row], notes: dict[str, int]) -> str:
    tried = sum(kept is not None for _, kept in rows)
    head = f"| model | {' | '.join(BACKENDS)} |\n|---|{'---|' * len(BACKENDS)}"
    lines = [f"| {name} | {' | '.join(_cells(kept, notes))} |" for name, kept in rows]
    return "\n".join([f"## {title}: {tried} of {len(rows)} tried\n", head, *lines, ""])


def _cells(kept: Kept | None, notes: dict[str, int]) -> list[str]:
    first: Mapping[str, np.ndarray[Any, Any]] | None = None
    fed = ""
    cells = []
    for word in BACKENDS:
        outcome = None if kept is None else kept.outcome(word)
        if kept is None or outcome is None:
            cells.append("–")
        elif outcome.status != "ok":
            cells.append(_refusal(outcome, notes))
        else:
            outputs = kept.outputs(word)
            same = first is not None and outcome.inputs == fed
            cells.append(_agreement(distance(first or {}, outputs)) if same else "ok")
            if first is None:
                first, fed = outputs, outcome.inputs
    return cells


def _refusal(outcome: Outcome, notes: dict[str, int]) -> str:
    number = notes.setdefault(_anonymous(outcome.message), len(notes) + 1)
    return f"{outcome.status} ({number})"


def _agreement(far: float) -> str:
    if far == 0:
        return "same"
    return "other shapes or NaN" if math.isinf(far) else f"{far:.1e}"


def _anonymous(text: str) -> str:
    """Return a sentence without the folders of the machine that said it.

    >>> _anonymous("/a/b-c/store-x1/artifacts/12ab/model.onnx has operators")
    'model.onnx has operators'
    """
    return re.sub(r"(?:/[\w.+=@-]+)+/([\w.+=@-]+)", r"\1", text)


def _escaped(text: str) -> str:
    return re.sub(r"([|*_<>`\[\]])", r"\\\1", " ".join(text.split()))
