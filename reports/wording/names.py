"""Names of tensors in few characters, so that those of one table stay apart."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .formatting import shorten

NODE = re.compile(r"/([A-Za-z]+)(_\d+)?_output_(\d+)$")
"""How PyTorch's exporter ends a tensor's name: the node's operator, its number, the output's."""


def short_names(names: Sequence[str], width: int) -> list[str]:
    """Return names in at most a width, different ones for different names where that can be.

    >>> short_names(
    ...     ["/layer1/layer1.0/conv1/Conv_output_0", "/layer1/layer1.1/conv1/Conv_output_0"], 16
    ... )
    ['layer1.0/conv1', 'layer1.1/conv1']
    """
    if all(len(name) <= width for name in names):
        return list(names)
    plain = _apart([_without_repetition(name) for name in names], names)
    short = _apart([shorten(name, width) for name in plain], plain)
    return [
        each if len(each) <= width else kept
        for each, kept in zip(short, _windows(plain, width), strict=True)
    ]


def _apart(shorter: Sequence[str], longer: Sequence[str]) -> list[str]:
    """Return the shorter form of each name, the longer where another name has that form, too."""
    of: dict[str, set[str]] = {}
    for short, long in zip(shorter, longer, strict=True):
        of.setdefault(short, set()).add(long)
    return [
        short if len(of[short]) == 1 else long for short, long in zip(shorter, longer, strict=True)
    ]


def _without_repetition(name: str) -> str:
    """Leave out what a path says twice, and the operator, which has a column of its own.

    >>> _without_repetition("/layer1/layer1.0/conv1/Conv_output_0")
    'layer1.0/conv1'
    >>> _without_repetition("/layer1/layer1.0/relu/Relu_1_output_0"), _without_repetition("conv1")
    ('layer1.0/relu_1', 'conv1')
    """
    found = NODE.search(name)
    if found and found.start() > 0:
        name = (
            name[: found.start()] + (found[2] or "") + ("" if found[3] == "0" else f":{found[3]}")
        )
    parts = [part for part in name.split("/") if part]
    kept = [
        part
        for part, inner in zip(parts, [*parts[1:], ""], strict=True)
        if not inner.startswith((f"{part}.", f"{part}_"))
    ]
    return "/".join(kept) or name


def _windows(names: Sequence[str], width: int) -> list[str]:
    """Return the part of each name in which it differs from those that look like it."""
    found = []
    for name in names:
        alike = [other for other in names if other != name]
        place = max((_first_difference(name, other) for other in alike), default=0)
        start = min(max(0, place - width // 2), max(0, len(name) - width + 1))
        end = start + width - (start > 0)
        text = ("…" if start else "") + name[start:end]
        found.append(text if end >= len(name) else f"{text[: width - 1]}…")
    return found


def _first_difference(one: str, other: str) -> int:
    pairs = zip(one, other, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
