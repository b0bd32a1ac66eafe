"""What mitigations leave, gain and cost: the frontier of classes, error and time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xbackend.facts.explanation import CohortExplanation, Grade
from xbackend.facts.outcome import Outcome
from xbackend.plugins import registry
from xbackend.plugins.mitigation import MitigationContext

from ...explain import Statement
from ...wording.formatting import format_number, pluralize, printable

Record = dict[str, Any]
AS_IT_IS = "as it is"
UNTRIED = "What removes the difference, and what that costs, was not tried."


def frontier(tried: Sequence[Record]) -> list[Record]:
    """Return for each file of `xbackend mitigate --json` its rows, best first, with what to paste.

    A row is on the frontier if no other of its backend has as few classes, as small an error and as
    short a time, and is better in one of them.
    """
    return [_of_file(each) for each in tried]


def removal_statements(found: CohortExplanation, tried: Sequence[Record]) -> list[Statement]:
    """Return what removes a cohort's difference and what that costs, or that nobody tried."""
    if found.facts.outcome is not Outcome.DIFFERENT_BITS:
        return []
    model = found.summary.cohort.model
    advice = [printable(each["advice"]) for each in tried if each["model"] == model]
    if not advice:
        return [Statement(UNTRIED, Grade.NOT_JUDGED)]
    return [Statement(text, Grade.SWITCHED) for text in advice]


def _of_file(found: Record) -> Record:
    lines = _user_code(found)
    rows = [row for row in found["rows"] if row["after"] is not None]
    return {
        "title": printable(f"{found['model']} on {', '.join(map(str, found['platforms']))}"),
        "advice": printable(found["advice"]),
        "rows": [_row(row, lines, all(not _beats(other, row) for other in rows)) for row in rows],
    }


def _row(row: Record, lines: Mapping[tuple[str, str], str], best: bool) -> Record:
    before, after = row["before"], row["after"]
    name = row["mitigation"]
    return {
        "backend": printable(row["backend"]),
        "mitigation": printable(name or AS_IT_IS),
        "classes": after["classes"],
        "left": pluralize(after["classes"], "class"),
        "before": None if before is None or not name else before["classes"],
        "error": _error(row),
        "error_text": format_number(_error(row)),
        "time": _time(row),
        "time_text": format_number(_time(row)),
        "fidelity": format_number(row["fidelity"]),
        "best": best,
        "paste": lines.get((row["backend"], name), ""),
        "notes": printable("; ".join(row["notes"])),
    }


def _error(row: Record) -> float | None:
    """Return how far the worst run is from the model in float64."""
    error: float | None = (row["correctness"] or {}).get("relative")
    return error


def _time(row: Record) -> float | None:
    time: float | None = row["time"] if row["mitigation"] else 1.0
    return time


def _beats(other: Record, row: Record) -> bool:
    """Tell whether another row is nowhere worse and somewhere better; what is unknown is worst."""
    if other["backend"] != row["backend"]:
        return False
    far = float("inf")
    one, two = (
        [
            each["after"]["classes"],
            far if _error(each) is None else _error(each),
            far if _time(each) is None else _time(each),
        ]
        for each in (other, row)
    )
    return one != two and all(a <= b for a, b in zip(one, two, strict=True))


def _user_code(found: Record) -> dict[tuple[str, str], str]:
    """Return by backend and mitigation the lines that a user pastes, as far as they are known."""
    backends = tuple(dict.fromkeys(str(row["backend"]) for row in found["rows"]))
    platforms = tuple(map(str, found["platforms"]))
    context = MitigationContext(backends, platforms, frozenset(), (1,))
    return {
        (backend, each.name): "\n".join(change.user_code)
        for each in registry.mitigations(context)
        for backend, change in each.changes.items()
    }
