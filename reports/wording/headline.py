"""The first words of an answer, a tolerance that holds, and where layers add to a difference."""

from __future__ import annotations

from xbackend.facts.answer.tolerance import Tolerance
from xbackend.facts.certified import CertifiedFacts, RoundingVerdict
from xbackend.facts.changes import ChangeFacts
from xbackend.facts.cohorts import CohortFacts
from xbackend.facts.outcome import Outcome

from .sentences import NOTHING_COMPARED, name_place, quoted


def headline(facts: CohortFacts, certified: CertifiedFacts | None, emulated: int = 0) -> str:
    """Return the answer in a few capital words: rounding, a fault, other bits, the same bits.

    `emulated` is how many classes rest on emulation alone. Empty where nothing was compared.
    """
    if certified is not None and certified.verdict is RoundingVerdict.FAULT:
        return "FAULT."
    if facts.outcome in NOTHING_COMPARED:
        return ""
    if facts.outcome is Outcome.SAME_BITS:
        return "SAME BITS."
    if facts.classes - emulated < 2:
        return "OTHER BITS by emulation alone."
    known = (RoundingVerdict.ROUNDING, RoundingVerdict.EXACT)
    if certified is not None and certified.verdict in known:
        return "ROUNDING and overflow." if certified.overflows else "ROUNDING, no fault."
    if certified is not None and certified.verdict is RoundingVerdict.PARTLY:
        return "OTHER BITS, no fault seen."
    return "OTHER BITS; rounding or a fault is not judged."


def tolerance_sentence(found: Tolerance) -> str:
    """Return what a test of the outputs passes with."""
    return (
        f"A test of these outputs passes with numpy.testing.assert_allclose(…, "
        f"rtol={found.rtol:g}, atol={found.atol:g})."
    )


def where_sentences(facts: CohortFacts, changes: ChangeFacts) -> list[str]:
    """Return what layers make of the bits that they get, where anything is known of that."""
    if facts.outcome is not Outcome.DIFFERENT_BITS or facts.first is None:
        return []
    first = facts.first
    bears = any(each.tap == first.place.tap for each in changes.born)
    found = []
    if bears:
        found.append(f"It begins at {name_place(first.place)}: the same input, other output bits.")
    born = [each.tap for each in changes.born if each.tap != first.place.tap]
    own = tuple(dict.fromkeys([*born, *changes.own_elsewhere]))
    if own:
        others = "others, too" if bears else "these layers"
        found.append(f"Errors of their own are seen in {others}: {quoted(own)}.")
    return found
