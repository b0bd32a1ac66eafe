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
from xbackend.numerics.bounds.arithmetic import largest
from xbackend.numerics.floats import FORMATS

from .formatting import format_percent, pluralize, printable
from .isolation import name
from .tables import Table

MOST_NAMED = 3
"""Layers that a sentence names, of several."""
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
    faulty = [each for each in certificates if each.faults]
    if faulty:
        return [f"Not rounding: {_fault(each, each.faults[0])}" for each in faulty]
    unproved = [each for each in certificates if not each.judged]
    if len(unproved) == len(certificates):
        return ["Rounding or fault is not known: no layer of any run could be judged."]
    return [_rounding_only(certificates), *_others(certificates)]


def _rounding_only(certificates: Sequence[Certificate]) -> str:
    judged = [layer for each in certificates for layer in each.judged]
    total = sum(len(each.layers) for each in certificates)
    formats = dict.fromkeys(
        layer.judgement.arithmetic
        for layer in judged
        if layer.verdict == ROUNDING and layer.judgement is not None
    )
    measured = [layer.judgement for layer in judged if layer.verdict == ROUNDING]
    worst = max(
        (one for one in measured if one is not None), key=lambda one: one.error, default=None
    )
    every = "every layer" if len(judged) == total else f"each of {len(judged)} of {total} layers"
    of = "of all runs" if len(certificates) > 1 else "of the run"
    if worst is None:
        return f"No fault: {every} {of} has the right bits."
    size = f"largest {worst.error:.1f} u of {worst.limit:.0f}"
    return f"Rounding only: {every} {of} stays within what {' and '.join(formats)} can do ({size})."


def _others(certificates: Sequence[Certificate]) -> list[str]:
    """Return which layers compute in another format than the run was asked for."""
    return [
        f"{_run(each)} was asked for {each.run.row['precision']}, but {_named(group)} "
        f"{'computes' if len(group) == 1 else 'compute'} in {arithmetic}."
        for each in certificates
        for arithmetic, group in _by_arithmetic(each).items()
    ]


def _by_arithmetic(found: Certificate) -> dict[str, list[LayerCertificate]]:
    groups: dict[str, list[LayerCertificate]] = {}
    for layer in found.other_arithmetics:
        assert layer.judgement is not None
        groups.setdefault(layer.judgement.arithmetic, []).append(layer)
    return groups


def _run(found: Certificate) -> str:
    row = found.run.row
    return printable(f"{row['backend']} {row['backend_version']} ({row['platform']})")


def _place(layer: LayerCertificate) -> str:
    return f"layer {layer.layer} ({printable(layer.operator)}, tap '{printable(layer.tap)}')"


def _fault(found: Certificate, layer: LayerCertificate) -> str:
    one = layer.judgement
    assert one is not None
    text = (
        f"{_place(layer)} of {_run(found)} is beyond any rounding in {one.beyond} of "
        f"{one.elements} elements"
    )
    if one.worst is None:
        return f"{text}."
    worst = one.worst
    return (
        f"{text}, most at {list(worst.index)} of input '{printable(layer.sample)}': "
        f"{worst.recorded:.9g} instead of {worst.exact:.9g}, where rounding can make "
        f"{worst.allowed:.2g}."
    )


def certificate_sentences(found: Certificate) -> Sequence[str]:
    """Return the answer for one run, and all that a reader must know to trust it."""
    sentences = [*verdict_sentences([found]), *_further_faults(found)]
    sentences += _nonfinite(found)
    sentences += [_overflow(found, layer) for layer in found.overflows[:MOST_NAMED]]
    sentences += _flushed(found) + _unusual(found) + _unknown(found) + _unseen(found)
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
    return [f"The first to make NaN or infinity of finite numbers is {_place(first)}: {count}."]


def _overflow(found: Certificate, layer: LayerCertificate) -> str:
    one = layer.judgement
    assert one is not None
    format_name = str(found.run.row["precision"])
    format_name = format_name if format_name in FORMATS else "float32"
    return (
        f"'{printable(layer.tap)}' overflows {format_name} in {one.overflowed} of {one.elements} "
        f"elements: {one.peak:.2g} > {largest(format_name):.5g}."
    )


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
        reasons = "; ".join(dict.fromkeys(each.reason for each in layers))
        count = pluralize(len(layers), "layer")
        sentences.append(f"Not judged: {count}, {_named(layers)}: {printable(reasons)}.")
    blind = [each for each in found.layers if each.verdict == NOT_NEUTRAL]
    if blind:
        count = pluralize(len(blind), "layer")
        verb = "proves" if len(blind) == 1 else "prove"
        sentences.append(f"{count} {verb} nothing, as the recording was {NOT_NEUTRAL}.")
    return sentences


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
    names = ", ".join(f"'{printable(each.tap)}'" for each in layers[:MOST_NAMED])
    more = len(layers) - MOST_NAMED
    return f"{names} and {more} more" if more > 0 else names
