"""What is said of one cohort: its verdict, and what must be known before its tables are trusted."""

from __future__ import annotations

from collections.abc import Sequence

from xbackend.comparison.comparison import Comparison
from xbackend.comparison.summary import RunGroup, Summary
from xbackend.facts.agreement import OutputAgreement, output_agreement
from xbackend.facts.certified import cohort_certified
from xbackend.facts.cohorts import facts_of
from xbackend.facts.label_accuracy import LabelAccuracy, label_accuracies
from xbackend.facts.told import told_runs
from xbackend.platforms.emulation_doubt import join_names

from . import sentences
from .across import across_sentences
from .formatting import format_percent, name_row, name_run, name_tap, pluralize, printable
from .rounding import section_sentences
from .told import told_sentence

MOST_NOTES = 8
"""So many runs are named one by one in the notes."""


def verdict(summary: Summary, comparison: Comparison) -> str:
    """Return what is known of a cohort: rounding or fault, its classes, how far apart they are."""
    certified = cohort_certified(comparison, summary.cohort)
    return " ".join(
        [
            *([] if certified is None else section_sentences(certified)),
            *across_sentences(comparison, summary),
            sentences.verdict(facts_of(summary)),
            *agreement_sentences(summary, output_agreement(summary, comparison.store)),
            *accuracy_sentences(summary, label_accuracies(summary, comparison.store)),
            *emulation_sentences(summary),
        ]
    )


def agreement_sentences(summary: Summary, found: OutputAgreement | None) -> list[str]:
    """Return how far outputs agree by norm, and where they are widest apart, with the values."""
    if found is None or found.worst is None:
        return []
    several = len({output.tap for each in summary.samples for output in each.outputs}) > 1
    tap = f"'{printable(found.tap)}', " if several else ""
    names = {run.id: str(run.row["backend"]) for run in summary.cohort.runs}
    numbers = {name: place for place, ids in enumerate(summary.eqcs, 1) for name in ids}
    one, other = (printable(names[each]) for each in found.runs)
    left, right = found.worst.text
    values = f"{one} {left}, {other} {right}"
    if one == other:
        values = f"{left} in class {numbers[found.runs[0]]}, {right} in {numbers[found.runs[1]]}"
    where = f"{tap}input {printable(found.input)}, {list(found.worst.index)}"
    apart = f"idest apart: {where}: {values}."
    if found.bits is None:
        return [f"W{apart}"]
    bits = pluralize(int(found.bits), "bit")
    return [f"By norm outputs agree to {bits}; w{apart}"]


def accuracy_sentences(summary: Summary, found: Sequence[LabelAccuracy]) -> list[str]:
    """Return how many labels are right: of all runs, or of each row where that differs."""
    if not found:
        return []
    shares = {(each.right, each.labelled) for each in found}
    if len(shares) == 1:
        whose = "all runs" if len(summary.cohort.runs) > 1 else "the run"
        return [f"Labels are right for {_share(found[0])} in {whose}."]
    names = {row.ids: name_row(row) for row in summary.rows}
    told = _few([f"{_share(each)} in {names[each.runs]}" for each in found])
    return [f"Labels are right for {'; '.join(told)}."]


def _share(found: LabelAccuracy) -> str:
    samples = pluralize(found.labelled, "sample")
    return f"{found.right} of {samples} ({format_percent(found.right / found.labelled)})"


def emulation_sentences(summary: Summary) -> Sequence[str]:
    """Return a sentence on the classes that are no findings, if there are any."""
    numbers, safe = [str(number) for number in summary.emulation_doubt.classes], summary.last_safe
    if not numbers:
        return []
    who = (
        f"Class {numbers[0]} rests" if len(numbers) == 1 else f"Classes {join_names(numbers)} rest"
    )
    what = "is no finding" if len(numbers) == 1 else "are no findings"
    operators = printable(join_names(summary.emulation_doubt.operators))
    sentence = f"{who} on emulated {operators} alone and {what}"
    if safe is None:
        return [f"{sentence}; no layer before was recorded, see --taps."]
    classes = pluralize(safe.eqc_count, "class")
    return [f"{sentence}; at {name_tap(safe)}, the last before, the runs fall into {classes}."]


def notes(summary: Summary) -> list[str]:
    """Return what a reader must know before trusting a cohort's tables."""
    facts = facts_of(summary)
    random = {each.run: each for each in facts.random}
    changed = [row for row in summary.rows if row.taps_neutral is False]
    found = [
        f"{name}: recording its layers changed the bits of its outputs, so its layers may not be "
        "those of the untapped run."
        for name in _few([name_row(row) for row in changed if row.ids[0] not in random])
    ]
    found += _few(
        [
            f"{name_row(row)} {sentences.random_text(random[row.ids[0]])}"
            for row in summary.rows
            if row.ids[0] in random
        ]
    )
    if summary.nondeterministic:
        names = "; ".join(_few([_name_once(row) for row in summary.nondeterministic]))
        found.append(f"Not deterministic, as repeats gave other bits: {names}.")
    found += _few(
        [
            f"{name_run(run)}: {printable(run.row['error']['message'])}"
            for run in summary.cohort.runs
            if run.row["error"] is not None
        ]
    )
    found += _few([told_sentence(each) for each in told_runs(summary.cohort.runs)])
    return [*found, *sentences.cohort_notes(facts)]


def _few(texts: Sequence[str]) -> list[str]:
    """Return texts without repetition; of many the first ones, and how many more there are."""
    found = list(dict.fromkeys(texts))
    more = len(found) - MOST_NOTES
    return found if more < 2 else [*found[:MOST_NOTES], f"{more} more runs likewise"]


def _name_once(row: RunGroup) -> str:
    name = name_row(row)
    return name.rpartition(" ×")[0] if len(row.ids) > 1 else name
