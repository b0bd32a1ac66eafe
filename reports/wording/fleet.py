"""Puts into words what tables of machines, threads, flags and switches come to."""

from __future__ import annotations

from collections.abc import Sequence

from xbackend.facts.fleet import CurveFacts, ThreadFacts
from xbackend.platforms.emulation_doubt import join_names

from .formatting import pluralize, printable

OVERSUBSCRIBED_MARK = "*"
"""Behind the class of runs with more threads than cores."""
UNSAFE_MARK = "?"
"""Behind a class that rests on what an emulator may compute unlike a real processor."""


def curve_text(facts: CurveFacts) -> str:
    """Return how many classes how many machines fall into."""
    parts = [f"{pluralize(facts.classes, 'class')} on {pluralize(facts.machines, 'machine')}"]
    if facts.emulated:
        operators = printable(join_names(list(facts.operators)))
        parts.append(f"{facts.emulated} of them by emulated {operators} alone")
    if facts.unsteady:
        others = pluralize(facts.unsteady, "machine")
        parts.append(f"not counting other bits that repeats gave on {others}")
    return ", ".join(parts)


def thread_sentences(facts: ThreadFacts, several: bool) -> list[str]:
    """Return what the numbers in a table are and what they say.

    `several` tells whether it has several numbers of threads.
    """
    said = ["Columns are numbers of threads. The same number in two cells is the same bits."]
    if facts.oversubscribed:
        said.append(f"{OVERSUBSCRIBED_MARK} more threads than cores")
    if facts.unsafe:
        said.append(
            f"{UNSAFE_MARK} computed by an emulator, perhaps unlike a real processor: class a "
            "layer before it with --tap; 'xbackend compare' names the operators"
        )
    if several and facts.compared:
        rows = f"{facts.varying} of {pluralize(facts.compared, 'row')}"
        said.append(f"The number of threads changes the class in {rows}.")
    elif several:
        said.append(
            "No row has two numbers of threads that gave bits, so nothing is known of them."
        )
    if facts.unsteady:
        said.append("Two numbers in one cell: repeats gave other bits, so it is not deterministic.")
    return said


def judged_by_layers_text(operators: Sequence[str]) -> str:
    """Return what is judged instead of outputs that an emulator made."""
    return (
        f"Judged by the layers that do not rest on emulated {printable(join_names(operators))}, as "
        "the outputs do, whose bits are perhaps those of no real processor."
    )
