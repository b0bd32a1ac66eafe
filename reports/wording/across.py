"""Says of a section of different files that they are different, and in what."""

from __future__ import annotations

from xbackend.comparison.across.files import AcrossSection, FileLayers
from xbackend.comparison.across.weights import (
    OTHER,
    QUANTIZED,
    ROUNDED,
    SAME,
    WeightComparison,
    WeightPair,
)
from xbackend.comparison.comparison import Comparison
from xbackend.comparison.summary import Summary
from xbackend.platforms.emulation_doubt import join_names

from .formatting import format_number, pluralize, printable

MOST_NAMES = 4
"""So many layers or weights are named."""


def across_sentences(comparison: Comparison, summary: Summary) -> list[str]:
    """Return that files are different, which weights differ, and how layers were matched."""
    found = next((each for each in comparison.across if each.key == summary.cohort.key), None)
    if found is None:
        return []
    return [_files(found), *_weights(found), *_layers(found)]


def _files(section: AcrossSection) -> str:
    names = [printable(each.name) for each in section.files]
    return f"These are {len(names)} different files: {join_names(names)}."


def _weights(section: AcrossSection) -> list[str]:
    first = printable(section.files[0].name)
    found = []
    for file, weights in zip(section.files[1:], section.weights, strict=True):
        name = printable(file.name)
        if weights is None:
            found.append(f"Weights of {name} are not compared: the store has no graph of it.")
        else:
            found.append(_weight_sentence(first, name, weights))
    return found


def _weight_sentence(first: str, name: str, weights: WeightComparison) -> str:
    total = len(weights.pairs) + len(weights.missing)
    kinds = {kind: weights.of_kind(kind) for kind in (SAME, ROUNDED, QUANTIZED, OTHER)}
    if total and len(kinds[SAME]) == total and not weights.extra:
        return f"{name} holds all {pluralize(total, 'weight')} of {first} with the same bits."
    parts = [f"{len(kinds[SAME])} with the same bits"] if kinds[SAME] else []
    parts += [
        f"{len(pairs)} {kind} to {join_names(list(dict.fromkeys(p.format for p in pairs)))}"
        for kind, pairs in kinds.items()
        if kind in (ROUNDED, QUANTIZED) and pairs
    ]
    if kinds[OTHER]:
        parts.append(f"{len(kinds[OTHER])} with other numbers ({_worst(kinds[OTHER])})")
    if weights.missing:
        parts.append(f"{len(weights.missing)} not at all ({_few(weights.missing)})")
    said = f"Of the {pluralize(total, 'weight')} of {first}, {name} holds {join_names(parts)}"
    more = f"; and {len(weights.extra)} more ({_few(weights.extra)})" if weights.extra else ""
    return f"{said}{more}."


def _worst(pairs: tuple[WeightPair, ...]) -> str:
    far = max(pairs, key=lambda pair: pair.distance)
    return f"'{printable(far.name)}' by {format_number(100 * far.distance)} % by norm"


def _few(names: tuple[str, ...]) -> str:
    shown = ", ".join(f"'{printable(name)}'" for name in names[:MOST_NAMES])
    return shown if len(names) <= MOST_NAMES else f"{shown}, …"


def _layers(section: AcrossSection) -> list[str]:
    return [_layer_sentence(each) for each in section.layers if each.matched or each.left_out]


def _layer_sentence(found: FileLayers) -> str:
    ways = [
        f"{count} by {by}"
        for count, by in (
            (found.by_name, "name"),
            (found.by_values, "values"),
            (found.by_part, "a part of the name alone"),
        )
        if count
    ]
    how = f" ({', '.join(ways)})" if ways else ""
    said = [f"Of {printable(found.file.name)} {pluralize(found.matched, 'layer')} compared{how}"]
    if found.turned:
        said.append(f"{found.turned} turned from another layout")
    if found.integers:
        said.append(f"{found.integers} as the reals that their integers stand for")
    if found.left_out:
        said.append(f"left out {len(found.left_out)} ({_few(found.left_out)})")
    return f"{'; '.join(said)}."
