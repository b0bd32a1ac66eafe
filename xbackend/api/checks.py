"""Puts together what every rule comes to, for the formats that CI services read."""

from __future__ import annotations

from collections.abc import Sequence

from xbackend.api.arguments import texts
from xbackend.api.comparison import Comparison
from xbackend.facts.baseline.verdicts import BaselineJudgement
from xbackend.facts.checks import Checks, check
from xbackend.facts.gates import needs_pairs, parse_gate
from xbackend.facts.pairs import with_pairs


def checks(
    comparison: Comparison,
    rules: str | Sequence[str] = (),
    *,
    fail_under: int | None = None,
    max_eqcs: int | None = None,
    baseline: BaselineJudgement | None = None,
) -> Checks:
    """Return a case for each rule on each tensor that it is about, and what was measured.

    Raises UsageError for what is no rule. The rule `rounding` is about certificates that are there.
    """
    gates = [parse_gate(rule) for rule in texts(rules, "rules=")]
    result = with_pairs(comparison.result) if needs_pairs(gates) else comparison.result
    return check(result, gates, fail_under, max_eqcs, baseline)
