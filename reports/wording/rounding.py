"""Turns facts on certificates into words: rounding only, a fault, or what is not known."""

from __future__ import annotations

import math
from collections.abc import Sequence

from xbackend.comparison.findings import LayerCertificate
from xbackend.facts.certified import (
    CertifiedFacts,
    CertifiedLayer,
    OtherArithmetic,
    RoundingVerdict,
    narrower,
)
from xbackend.numerics.bounds.arithmetic import largest, smallest_normal
from xbackend.numerics.floats import FORMATS
from xbackend.store.records import Run

from ..export import wrong_export_text
from .formatting import pluralize, printable

MOST_NAMED = 3
"""Layers or runs that a sentence names, of several."""
KEEP = "Which layers must stay in float32 'xbackend mixed-precision' finds and tries."
UNKNOWN = "Rounding or fault is not known: no layer of {} could be judged."


def rounding_sentences(facts: CertifiedFacts) -> list[str]:
    """Return the answer for all runs: rounding only, or the first fault of each that has one."""
    if facts.verdict is RoundingVerdict.UNKNOWN:
        return [UNKNOWN.format("the run" if facts.runs == 1 else "any run")]
    others = [_other_arithmetic(each) for each in facts.other_arithmetics]
    if facts.verdict is not RoundingVerdict.FAULT:
        return [_explained(facts), *others]
    exports = [wrong_export_text(each) for each in facts.wrong_exports[:1]]
    named = [f"Not rounding: {_fault(each)}" for each in facts.faults[:MOST_NAMED]]
    more = len(facts.faults) - MOST_NAMED
    more_runs = [f"Nor in {pluralize(more, 'more run')}."] if more > 0 else []
    return [*(f"Not rounding: {text}" for text in exports), *named, *more_runs]


def section_sentences(facts: CertifiedFacts) -> list[str]:
    """Return the answer for the runs of a section, with what overflows and what nobody judged."""
    found = rounding_sentences(facts)
    found += [overflow_sentence(each) for each in facts.overflows[:1]]
    found += [KEEP] if any(narrower(each.run) for each in facts.overflows) else []
    found += [flushed_sentence(each) for each in facts.flushed[:1]]
    return found + _gaps(facts)


def _explained(facts: CertifiedFacts) -> str:
    """Return that no layer that was judged is at fault, of how many that speaks, and how far."""
    complete = facts.verdict is not RoundingVerdict.PARTLY
    every = (
        "every layer"
        if facts.judged == facts.layers
        else f"each of {facts.judged} of {facts.layers} layers"
    )
    one = facts.largest
    if one is None:
        head = "No fault" if complete else "No fault where it could be judged"
        return f"{head}: {every} {_of_runs(facts)} has the right bits."
    head = "Rounding only" if complete else "No fault where it could be judged"
    if facts.overflows:
        head = "Rounding and overflow" if complete else f"{head}, but overflow"
    size = f"largest {one.error:.1f} u of {one.limit:.0f}"
    formats = " and ".join(map(_format_text, facts.formats))
    return f"{head}: {every} {_of_runs(facts)} stays within what {formats} can do ({size})."


def _format_text(arithmetic: str) -> str:
    """Put what qualifies a format in brackets, as several are joined in a sentence."""
    name, comma, more = arithmetic.partition(", ")
    return f"{name} ({more})" if comma else name


def _of_runs(facts: CertifiedFacts) -> str:
    if facts.runs == 1:
        return "of the run"
    known = facts.runs - len(facts.unjudged_runs)
    return f"of {known} of {facts.runs} runs" if facts.unjudged_runs else "of all runs"


def _gaps(facts: CertifiedFacts) -> list[str]:
    """Return how much of the runs proves nothing; nothing where that is all, as it is said."""
    if facts.verdict is RoundingVerdict.UNKNOWN:
        return []
    found = []
    if facts.not_judged:
        verb = "is" if facts.not_judged == 1 else "are"
        found.append(f"{pluralize(facts.not_judged, 'layer')} {verb} not judged.")
    if facts.not_neutral:
        verb = "proves" if facts.not_neutral == 1 else "prove"
        layers = pluralize(facts.not_neutral, "layer")
        found.append(f"{layers} {verb} nothing, as the recording changed bits.")
    if facts.unjudged_runs:
        runs = pluralize(len(facts.unjudged_runs), "run")
        found.append(f"Of {runs} no layer is judged.")
    return found


def _fault(found: CertifiedLayer) -> str:
    layer, one = found.layer, found.layer.judgement
    assert one is not None
    text = (
        f"{place_text(layer)} of {_run(found.run)} is beyond any rounding in {one.beyond} of "
        f"{one.elements} elements"
    )
    if one.worst is None:
        return f"{text}."
    worst = one.worst
    text += f", most at {list(worst.index)} of input '{printable(layer.sample)}'"
    if not (math.isfinite(worst.exact) and math.isfinite(worst.recorded)):
        return f"{text}: float64 gives {_value(worst.exact)}, the run {_value(worst.recorded)}."
    return (
        f"{text}: "
        f"{worst.recorded:.9g} instead of {worst.exact:.9g}{_by_whom(found.run)}, where rounding "
        f"can make {worst.allowed:.2g}."
    )


def _by_whom(run: Run) -> str:
    """Return what the right values of a model's source are: those of another graph."""
    return " of the exported nodes, so that the export may be at fault" if _is_source(run) else ""


def _is_source(run: Run) -> bool:
    return str((run.row.get("artifact") or {}).get("format")).startswith("source")


def _value(number: float) -> str:
    """Return a number in words where it is none or infinite."""
    if math.isnan(number):
        return "NaN"
    sign = "-" if number < 0 else ""
    return f"{sign}infinity" if math.isinf(number) else f"{number:.9g}"


def _format_of(found: CertifiedLayer) -> str:
    """Return the format of a run's numbers; of one that has none, that of its floats."""
    precision = str(found.run.row["precision"])
    return precision if precision in FORMATS else "float32"


def overflow_sentence(found: CertifiedLayer) -> str:
    """Return how much of a layer overflows its format."""
    one = found.layer.judgement
    assert one is not None
    format_name = _format_of(found)
    return (
        f"'{printable(found.layer.tap)}' overflows {format_name} in {one.overflowed} of "
        f"{one.elements} elements: {one.peak:.2g} > {largest(format_name):.5g}."
    )


def flushed_sentence(found: CertifiedLayer) -> str:
    """Return how many subnormal numbers a layer gives as zeros, which some processors are told."""
    one = found.layer.judgement
    assert one is not None
    format_name = _format_of(found)
    return (
        f"'{printable(found.layer.tap)}' of {_run(found.run)} is 0 in {one.flushed} of "
        f"{one.elements} elements whose right value is a subnormal number, below "
        f"{smallest_normal(format_name):.3g}: flushed to zero (FTZ or DAZ)."
    )


def _other_arithmetic(found: OtherArithmetic) -> str:
    """Return which layers compute in another format than the run was asked for."""
    verb = "computes" if len(found.taps) == 1 else "compute"
    return (
        f"{_run(found.run)} was asked for {found.run.row['precision']}, but "
        f"{named(found.taps)} {verb} in {found.arithmetic}."
    )


def _run(run: Run) -> str:
    source = ", graph=source" if _is_source(run) else ""
    name = f"{run.row['backend']} {run.row['backend_version']}{source} ({run.row['platform']})"
    return printable(name)


def place_text(layer: LayerCertificate) -> str:
    """Return where a layer is in the graph."""
    return f"layer {layer.layer} ({printable(layer.operator)}, tap '{printable(layer.tap)}')"


def named(taps: Sequence[str]) -> str:
    """Return the names of a few layers, and how many more there are."""
    names = ", ".join(f"'{printable(each)}'" for each in taps[:MOST_NAMED])
    more = len(taps) - MOST_NAMED
    return f"{names} and {more} more" if more > 0 else names
