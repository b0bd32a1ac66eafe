"""Rounding or fault, layer by layer, as tables and sentences for every format."""

from __future__ import annotations

from collections.abc import Sequence

from xbackend.comparison.findings import (
    NOT_JUDGED,
    NOT_NEUTRAL,
    ROUNDING,
    Certificate,
    LayerCertificate,
)
from xbackend.facts.certified import CertifiedLayer, certified_facts

from ..wording.formatting import format_percent, pluralize, printable
from ..wording.rounding import MOST_NAMED, named, overflow_sentence, place_text, rounding_sentences
from .isolation import name
from .tables import Table

TOUCHED = 0.995
"""Share of touched weights from which nothing is said of the others."""
MEANING = (
    "Error and bound are in units of u, half an ULP at 1, relative to the sum of the magnitudes of "
    "what is added up (of functions: to the result), against the layer in float64 on its recorded "
    "inputs; of whole numbers in steps."
)


def certificate_heading(found: Certificate) -> str:
    """Return which run is certified."""
    return f"Rounding or fault: {name(found.run)}"


def certificate_table(found: Certificate, most: int | None) -> tuple[Table, int]:
    """Return the layers that are not exact, and how many of these are left out.

    Where there are too many, faults, unusual layers and those of other formats come first.
    """
    rows = [each for each in found.layers if each.verdict != "exact"]
    shown = rows
    if most is not None and len(rows) > most:
        ranked = sorted(rows, key=lambda each: (_rank(found, each), each.layer))[:most]
        shown = [each for each in rows if each in ranked]
    headers = ("layer", "tap", "operator", "terms", "error / bound", "weights met", "verdict")
    numeric = (True, False, False, True, True, True, False)
    table = Table(headers, tuple(_row(each) for each in shown), numeric)
    return table, len(rows) - len(shown)


def _rank(found: Certificate, layer: LayerCertificate) -> int:
    order = (found.faults, found.unusual, found.other_arithmetics, found.overflows)
    return next((place for place, group in enumerate(order) if layer in group), len(order))


def _row(layer: LayerCertificate) -> tuple[str, ...]:
    one, met = layer.judgement, layer.weights_touched
    known = one is not None and one.limit > 0
    return (
        str(layer.layer),
        printable(layer.tap),
        printable(layer.operator),
        str(one.terms) if one is not None and one.terms > 1 else "",
        _ratio(layer) if known else "–",
        "" if met is None or met >= 1 else format_percent(met),
        verdict_text(layer),
    )


def _ratio(layer: LayerCertificate) -> str:
    one = layer.judgement
    return "" if one is None else f"{one.error:.2g} / {one.limit:.0f}"


def verdict_text(layer: LayerCertificate) -> str:
    """Return the verdict in words, with the format that a rounding speaks of."""
    one = layer.judgement
    if layer.verdict == ROUNDING and one is not None:
        unusual = ", unusual" if one.unusual else ""
        return f"{ROUNDING} in {one.arithmetic}{unusual}"
    if layer.is_fault and one is not None:
        return f"{layer.verdict}: {one.beyond} of {one.elements}"
    return layer.verdict


def verdict_sentences(certificates: Sequence[Certificate]) -> Sequence[str]:
    """Return the answer for all runs: rounding only, or the first fault of each that has one."""
    facts = certified_facts(certificates, [each.run for each in certificates])
    return [] if facts is None else rounding_sentences(facts)


def certificate_sentences(found: Certificate) -> Sequence[str]:
    """Return the answer for one run, and all that a reader must know to trust it."""
    sentences = [*verdict_sentences([found]), *_further_faults(found)]
    sentences += _nonfinite(found)
    sentences += [
        overflow_sentence(CertifiedLayer(found.run, layer))
        for layer in found.overflows[:MOST_NAMED]
    ]
    sentences += (
        _undefined(found) + _flushed(found) + _unusual(found) + _unknown(found) + _unseen(found)
    )
    sentences += [printable(note) for note in found.notes]
    return sentences


def meaning_sentence(certificates: Sequence[Certificate]) -> str:
    """Return by whom all was judged, and what the numbers are."""
    judges = dict.fromkeys(printable(each.evaluator) for each in certificates)
    return f"Judged by {' and '.join(judges)} in float64. {MEANING}"


def _further_faults(found: Certificate) -> list[str]:
    more = found.faults[1:]
    if not more:
        return []
    return [f"Beyond rounding on their own inputs, too: {_named(more)}."]


def _nonfinite(found: Certificate) -> list[str]:
    first = found.first_nonfinite
    if first is None or first.judgement is None:
        return []
    count = f"{first.judgement.not_finite} of {first.judgement.elements} elements"
    return [f"The first to make NaN or infinity of finite numbers is {place_text(first)}: {count}."]


def _undefined(found: Certificate) -> list[str]:
    layers = [one for one in found.layers if one.judgement and one.judgement.undefined]
    if not layers:
        return []
    count = sum(one.judgement.undefined for one in layers if one.judgement)
    where = f"{pluralize(count, 'element')} in {_named(layers)}"
    return [f"Not defined by ONNX, such as a whole number divided by zero, so not judged: {where}."]


def _flushed(found: Certificate) -> list[str]:
    layers = [each for each in found.layers if each.judgement and each.judgement.flushed]
    if not layers:
        return []
    count = sum(each.judgement.flushed for each in layers if each.judgement)
    return [f"Subnormal numbers are flushed to zero in {_named(layers)}: {count} elements."]


def _unusual(found: Certificate) -> list[str]:
    if not found.unusual:
        return []
    first = found.unusual[0].judgement
    assert first is not None
    names, sizes = _named(found.unusual), f"{first.error:.0f} u, usually up to {first.usual:.0f}"
    return [
        f"Within the bound, yet far above the usual size, so worth a look: {names} (first {sizes})."
    ]


def _unknown(found: Certificate) -> list[str]:
    layers = found.not_judged
    sentences = []
    if layers:
        reasons = _few_reasons(list(dict.fromkeys(each.reason for each in layers)))
        count = pluralize(len(layers), "layer")
        sentences.append(f"Not judged: {count}, {_named(layers)}: {printable(reasons)}.")
    blind = [each for each in found.layers if each.verdict == NOT_NEUTRAL]
    if blind:
        count = pluralize(len(blind), "layer")
        verb = "proves" if len(blind) == 1 else "prove"
        sentences.append(f"{count} {verb} nothing, as the recording was {NOT_NEUTRAL}.")
    return sentences


def _few_reasons(reasons: Sequence[str]) -> str:
    """Return a few reasons, and how many more there are."""
    more = len(reasons) - MOST_NAMED
    shown = "; ".join(reasons[:MOST_NAMED])
    return f"{shown}; and {pluralize(more, 'more reason')}" if more > 0 else shown


def _unseen(found: Certificate) -> list[str]:
    """Return what no certificate on these samples can have seen."""
    dead = [
        each
        for each in found.layers
        if each.weights_touched is not None and each.weights_touched < TOUCHED
        if each.verdict not in (NOT_JUDGED, NOT_NEUTRAL)
    ]
    if not dead:
        return []
    shown = ", ".join(
        f"'{printable(each.tap)}' {format_percent(1 - (each.weights_touched or 0))}"
        for each in dead[:MOST_NAMED]
    )
    more = f" and {len(dead) - MOST_NAMED} more layers" if len(dead) > MOST_NAMED else ""
    samples = pluralize(found.samples, "sample")
    return [
        f"Not seen: weights that met only zeros in {samples} could hold anything ({shown}{more})."
    ]


def _named(layers: Sequence[LayerCertificate]) -> str:
    return named([each.tap for each in layers])
