"""The tables of an answer in a terminal: runs with their distances, layers that matter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from xbackend.comparison.findings import (
    BEYOND,
    EXACT,
    ROUNDING,
    Certificate,
    LayerCertificate,
)
from xbackend.comparison.layers import TapSummary
from xbackend.comparison.summary import RunGroup, Summary
from xbackend.facts.answer.distances import ClassDistance
from xbackend.facts.answer.notable import Fold, NotableLayer

from ..wording.formatting import (
    DAGGER,
    format_number,
    format_percent,
    name_row,
    pluralize,
    printable,
)
from .tables import MOST_INPUTS, Table

MANY_ROWS = 12
"""With more rows than these, runs of one backend and class are one row."""
FEW_PLATFORMS = 2
"""How many platforms such a row names."""
CLASSES = "class"
IMPLIED = ("processor=", "python=")
"""What tells runs apart that a platform usually implies."""


def glance_table(
    summary: Summary,
    distances: Sequence[ClassDistance],
    labels: Sequence[int],
    complete: bool = False,
) -> Table:
    """Return a row for runs that are alike: its class, and how far it is from class 1."""
    groups = [[row] for row in summary.rows]
    if len(groups) > MANY_ROWS and not complete:
        groups = _folded(summary)
    shared = {row.platform for row in summary.rows} == {"native"}
    by_input = _by_input(summary)
    several = len(summary.eqcs) > 1
    flips = {each.number: each.flips for each in distances}
    by_number = {each.number: each for each in distances}
    places = {name: number for number, ids in enumerate(summary.eqcs, 1) for name in ids}
    rows = []
    for group in groups:
        first, number = group[0], places[group[0].ids[0]]
        name = name_row(first, platform=not shared) if len(group) == 1 else _name(group)
        cells = [name, *_classes(summary, first, number, by_input)]
        if several:
            cells += [format_number(first.bits), *_apart(by_number.get(number), number)]
        if labels:
            cells.append(_labels(labels, number, flips.get(number, 0)))
        rows.append(tuple(cells))
    inputs = [_input(name) for name in summary.inputs] if by_input else [CLASSES]
    headers = ["run", *inputs, *(["bits", "max |diff|", "relative"] if several else [])]
    headers += ["labels"] if labels else []
    numeric = [False, *(True for _ in headers[1:])]
    return Table(tuple(headers), tuple(rows), tuple(numeric))


def _by_input(summary: Summary) -> bool:
    """Tell whether classes are shown for each input: where these differ, and are few."""
    few = 1 < len(summary.inputs) <= MOST_INPUTS
    return few and any(len(set(row.classes)) > 1 for row in summary.rows)


def _input(name: str) -> str:
    return f"input {name}" if name.isdigit() else printable(name)


def _classes(summary: Summary, row: RunGroup, number: int, by_input: bool) -> list[str]:
    if not by_input:
        return [_class(number, number in summary.emulation_doubt.classes)]
    return list(map(_class, row.classes, row.by_emulation))


def _class(place: int | None, by_emulation: bool) -> str:
    return format_number(place) + (DAGGER if by_emulation else "")


def _apart(found: ClassDistance | None, number: int) -> tuple[str, str]:
    """Return the distances of a class, nothing for the class that they are from."""
    if found is None or number == 1:
        return ("", "")
    return (format_number(found.max_abs), format_number(found.relative))


def _labels(labels: Sequence[int], number: int, flips: int) -> str:
    if number == 1:
        return " ".join(map(str, labels))
    return f"{flips} other" if flips else "same"


def _folded(summary: Summary) -> list[list[RunGroup]]:
    """Put rows of one backend with the same settings and classes together, whatever platform."""
    found: dict[tuple[object, ...], list[RunGroup]] = {}
    for row in summary.rows:
        own = tuple(each for each in row.distinguishing if not each.startswith(IMPLIED))
        key = (row.backend, row.version, own, row.classes, row.by_emulation, row.bits)
        found.setdefault(key, []).append(row)
    return list(found.values())


def _name(group: Sequence[RunGroup]) -> str:
    """Return what rows are called together: backend, version and the first platforms."""
    runs = sum(len(row.ids) for row in group)
    platforms = list(dict.fromkeys(row.platform for row in group))
    more = len(platforms) - FEW_PLATFORMS
    named = ", ".join(platforms[:FEW_PLATFORMS]) + (f" and {more} more" if more > 0 else "")
    own = [each for each in group[0].distinguishing if not each.startswith(IMPLIED)]
    head = ", ".join([f"{group[0].backend} {group[0].version}", *own])
    return printable(f"{head} ×{runs}: {named}")


def notable_table(
    summary: Summary,
    found: Sequence[NotableLayer | Fold],
    certificates: Sequence[Certificate] = (),
) -> Table:
    """Return a row for each layer that matters, and one for those that are folded between."""
    certified = _worst(summary, certificates)
    counted = any(tap.missing for tap in summary.taps)
    headers = ("layer", "tap", "operator", *(["runs"] if counted else []), "classes", "bits",
               "max |diff|", "error / bound" if certified else "deviating")  # fmt: skip
    rows = []
    for each in found:
        if isinstance(each, Fold):
            row = _fold_row(each)
            rows.append((*row[:3], *([""] if counted else []), *row[3:]))
            continue
        tap, last = each.tap, format_percent(each.tap.metrics.deviating_fraction)
        if certified:
            last = _error(certified.get(tap.tap))
        here = summary.run_count - len(tap.missing)
        rows.append(
            (
                format_number(tap.layer),
                printable(tap.tap) + (" (output)" if tap.is_output else ""),
                printable(tap.operator or "–"),
                *([f"{here}/{summary.run_count}"] if counted else []),
                f"{tap.eqc_count}{_signs(tap)}",
                format_number(tap.metrics.remaining_precision),
                format_number(tap.metrics.max_abs),
                last,
            )
        )
    numeric = (True, False, False, *(True for _ in headers[3:]))
    return Table(headers, tuple(rows), numeric)


def _signs(tap: TapSummary) -> str:
    return ("*" if tap.taps_not_neutral else "") + (DAGGER if tap.emulation_unsafe else "")


def _fold_row(fold: Fold) -> tuple[str, ...]:
    layers = [tap.layer for tap in fold.taps if tap.layer is not None]
    where = f"{min(layers)}–{max(layers)}" if layers else "–"
    count = pluralize(len(fold.taps), "layer")
    name = f"{printable(fold.stage)}: {count}" if fold.stage else f"… {count}"
    bits = [tap.metrics.remaining_precision for tap in fold.taps]
    known = [each for each in bits if each is not None]
    return (
        where, name, "", _range(fold.fewest_classes, fold.most_classes),
        _range(min(known), max(known)) if known else "–", "", "",
    )  # fmt: skip


def _range(least: int, most: int) -> str:
    return str(least) if least == most else f"{least}–{most}"


def _worst(summary: Summary, certificates: Sequence[Certificate]) -> Mapping[str, LayerCertificate]:
    """Return the worst certificate of each layer: a fault, or the largest share of its bound."""
    ids = {run.id for run in summary.cohort.runs}
    found: dict[str, LayerCertificate] = {}
    for each in certificates:
        for layer in each.layers if each.run.id in ids else ():
            if layer.judgement is not None and _rank(layer) >= _rank(found.get(layer.tap)):
                found[layer.tap] = layer
    return found


def _rank(layer: LayerCertificate | None) -> tuple[bool, float]:
    if layer is None or layer.judgement is None:
        return (False, -1.0)
    one = layer.judgement
    return (layer.verdict == BEYOND, one.error / one.limit if one.limit else 0.0)


def _error(layer: LayerCertificate | None) -> str:
    """Return a layer's error and its bound, or that it is a fault, or not judged."""
    if layer is None or layer.judgement is None:
        return "not judged"
    if layer.verdict == BEYOND:
        return "FAULT"
    if layer.verdict not in (EXACT, ROUNDING):
        return layer.verdict
    one = layer.judgement
    return f"{one.error:.2g} / {one.limit:.0f}" if one.limit else "exact"
