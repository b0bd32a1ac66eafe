"""Puts into words what a baseline says of runs, a sentence for each class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from xbackend.facts.baseline.entries import BaselineSection, MachineKind
from xbackend.facts.baseline.verdicts import (
    BaselineFinding,
    BaselineJudgement,
    BaselineVerdict,
    Nothing,
)
from xbackend.numerics.floats import FORMATS

from .formatting import pluralize, printable

V = BaselineVerdict
MOST_KINDS = 3
"""Kinds of machines that a sentence names."""
CURES = {
    V.FLIPS: "Look whose label is right: 'xbackend compare --reference float64'",
    V.BEYOND: "It is a fault of that layer: 'xbackend compare --certify' shows it",
    V.FEWER_BITS: "'xbackend compare --certify' tells whether rounding explains it",
    V.UNJUDGED: (
        "Add --certify, which tells whether rounding explains it, or say how near is near enough: "
        "--baseline-rule 'output: bits>=BITS'"
    ),
}
"""What to do about a verdict, without the full stop."""


def finding_sentence(found: BaselineFinding, others: int = 0) -> str:
    """Return what a finding says: where, what, by which numbers, on which machines.

    `others` is on how many further inputs the same runs were found so, and nearer.
    """
    if found.verdict is V.NOTHING:
        return _nothing(found)
    more = f"; likewise on {pluralize(others, 'further input')}" if others else ""
    return f"{place_text(found)}: {_what(found)}, given by {_who(found)}{more}."


def place_text(found: BaselineFinding) -> str:
    """Return which tensor of what a finding is about."""
    what = "Output" if found.is_output else "Layer"
    of = "" if found.section is None else f" of {section_text(found.section)}"
    return printable(f"{what} '{found.tensor}'{of}, input '{found.sample}'")


def section_text(section: BaselineSection) -> str:
    """Return what a section is called: `cifar10-small (float32)`."""
    told = f", {section.conversion}" if section.conversion else ""
    return printable(f"{section.model} ({section.precision}{told})")


def _what(found: BaselineFinding) -> str:
    digest = str(found.digest)[:8]
    return {
        V.KNOWN: lambda: f"known class {digest} on a known kind of machine",
        V.NEW_KIND: lambda: f"known class {digest} on a new kind of machine{_emulated(found)}",
        V.OTHER_CLASS: lambda: (
            f"known class {digest}, but this kind of machine gave another one before"
        ),
        V.WITHIN: lambda: f"new class {digest} {_within(found)}",
        V.WITHIN_RULE: lambda: f"new class {digest} {_within(found)}",
        V.UNJUDGED: lambda: f"new class {digest}, and nothing judged it: {_unjudged(found)}",
        V.FEWER_BITS: lambda: f"fewer bits in new class {digest}: {_fewer(found)}",
        V.BEYOND: lambda: (
            f"new class {digest} is beyond rounding: the certificate finds a fault in layer "
            f"'{printable(found.rounding.fault if found.rounding else '')}'"
        ),
        V.FLIPS: lambda: f"a label flips in new class {digest}: {_flip(found)}",
    }[found.verdict]()


def _emulated(found: BaselineFinding) -> str:
    return ", which only emulated machines gave before" if found.emulated_only else ""


def _within(found: BaselineFinding) -> str:
    near = f"{distance_text(found)} the nearest of {pluralize(found.known, 'known class')}"
    if found.rounding is None:
        return f"within the rule '{printable(found.decided_by)}': {near}"
    judged = f"{found.rounding.judged} of {pluralize(found.rounding.layers, 'layer')}"
    return f"within rounding by certificate ({judged} judged, none beyond rounding): {near}"


def distance_text(found: BaselineFinding) -> str:
    """Return how far a new class is from the nearest known one, before its name."""
    metrics = found.metrics
    if metrics is None:
        return "how far is not known from"
    mantissa = FORMATS[found.dtype].mantissa_bits if found.dtype in FORMATS else None
    bits = metrics.remaining_precision
    shared = [] if bits is None or mantissa is None else [f"{bits} of {mantissa} mantissa bits"]
    steps = "no finite distance" if metrics.max_ulp is None else f"{metrics.max_ulp} ULP"
    return f"{', '.join([*shared, steps])} from"


def _unjudged(found: BaselineFinding) -> str:
    known = pluralize(found.known, "known class")
    if found.metrics is None:
        return f"of {known} the baseline keeps the digest alone, so how far is not known"
    return f"it is {distance_text(found)} the nearest of {known}"


def _fewer(found: BaselineFinding) -> str:
    near = f"{distance_text(found)} the nearest of {pluralize(found.known, 'known class')}"
    if found.decided_by != "known classes":
        return f"{near}, which breaks the rule '{printable(found.decided_by)}'"
    theirs = found.known_metrics
    if theirs is None:
        return near
    if theirs.remaining_precision is None:
        return f"{near}, which are at most {theirs.max_ulp} steps from one another"
    return f"{near}, which share {theirs.remaining_precision} with one another"


def _flip(found: BaselineFinding) -> str:
    if found.labels is None:
        return "the label is another"
    row, label, known = found.labels
    return f"row {row} has label {label}, where the nearest known class has {known}"


def _who(found: BaselineFinding) -> str:
    shown = [kind_text(kind) for kind in found.kinds[:MOST_KINDS]]
    more = len(found.kinds) - len(shown)
    named = "; ".join([*shown, *([f"{more} more kinds of machines"] if more else [])])
    return f"{pluralize(len(found.runs), 'run')} ({named})"


def kind_text(kind: MachineKind) -> str:
    """Return what a kind of machine is called: `ort 1.31.1 on Intel Haswell, 2 threads`."""
    where = " ".join(filter(None, [kind.vendor, kind.microarchitecture])) or kind.machine
    version = f" {kind.version}" if kind.version else ""
    threads = f", {kind.threads} threads" if kind.threads != 1 else ""
    return printable(f"{kind.backend}{version} on {where or 'an unknown machine'}{threads}")


def _nothing(found: BaselineFinding) -> str:
    if found.nothing is Nothing.NO_RUN:
        return "Nothing to compare with the baseline: no run gave an output."
    section = "" if found.section is None else section_text(found.section)
    if found.nothing is Nothing.FAILED:
        row = found.runs[0].row
        error = row["error"] or {}
        return printable(
            f"Nothing to compare: {row['backend']} of {section} on {row['platform']} failed: "
            f"{error.get('message') or error.get('symptom')}"
        )
    if found.nothing is Nothing.NO_SECTION and found.section is not None:
        return (
            f"Nothing to compare: the baseline knows no class of {section} with model "
            f"{printable(found.section.model_digest[:8])} on inputs "
            f"{printable(found.section.inputs[:8])}. Add what was reviewed: --baseline-update all."
        )
    return (
        f"{place_text(found)}: nothing to compare, as the baseline knows no class of it. "
        "Add what was reviewed: --baseline-update all."
    )


def judgement_sentences(judgement: BaselineJudgement) -> list[str]:
    """Return the answer first, then what fails or is new, by tensor and runs, then what to do."""
    told = list(grouped(judgement.findings))
    cures = dict.fromkeys(CURES[each.verdict] for each, _ in told if each.verdict in CURES)
    return [
        answer_sentence(judgement),
        *(finding_sentence(each, others) for each, others in told),
        *_not_run(judgement),
        *(f"{cure}." for cure in cures),
    ]


def grouped(findings: Sequence[BaselineFinding]) -> Iterator[tuple[BaselineFinding, int]]:
    """Yield what is not simply known, worst verdicts first: of samples the one farthest off.

    With it how many further samples of the tensor the same runs were found so on.
    """
    order = {verdict: at for at, verdict in enumerate(reversed(V))}
    groups: dict[tuple[object, ...], list[BaselineFinding]] = {}
    for each in findings:
        if each.verdict is not V.KNOWN:
            ids = tuple(run.id for run in each.runs)
            key = (each.verdict, each.section, each.tensor, ids)
            groups.setdefault(key, []).append(each)
    for of in sorted(groups.values(), key=lambda of: order[of[0].verdict]):
        worst = min(of, key=_shared)
        yield worst, len(of) - 1


def _shared(found: BaselineFinding) -> float:
    metrics = found.metrics
    if metrics is None:
        return float("inf")
    ulp = metrics.max_ulp
    bits = metrics.remaining_precision or 0
    return bits + (0 if ulp is None else 1 / (1 + ulp))


def answer_sentence(judgement: BaselineJudgement) -> str:
    """Return in one line whether all is known, and what is not."""
    counts = Counter(each.verdict for each in judgement.findings)
    parts = [f"{counts[verdict]} × {verdict.value}" for verdict in V if counts[verdict]]
    result = "passes" if judgement.passes else "fails"
    return f"The baseline gate {result}: {', '.join(parts) or 'nothing to compare'}."


def _not_run(judgement: BaselineJudgement) -> list[str]:
    names = [section_text(section) for section in judgement.not_run]
    if not names:
        return []
    return [f"The baseline knows, and nothing ran: {_listed(names)}."]


def _listed(names: Sequence[str]) -> str:
    shown = list(dict.fromkeys(names))
    more = len(shown) - MOST_KINDS
    return ", ".join([*shown[:MOST_KINDS], *([f"{more} more"] if more > 0 else [])])
