"""The table of operators: how each ONNX operator's rounding is bounded."""

from __future__ import annotations

from collections.abc import Mapping

from . import elements, movement, normalisations, quantized, sums
from .bound import Rule

RULES: Mapping[str, Rule] = {
    **movement.RULES,
    **elements.RULES,
    **sums.RULES,
    **normalisations.RULES,
    **quantized.RULES,
}
"""By the operator's name; ONNX's own domain, and `com.microsoft` for what begins with QLinear."""
LIPSCHITZ = frozenset(("Relu", "Clip", "Identity"))
"""Operators of single elements that no error grows in: a kernel may compute them with the node
before them, of which nothing is recorded then."""


def rule_for(operator: str, domain: str = "") -> Rule | None:
    """Return how an operator is judged; None where no bound is known.

    >>> rule_for("Conv") is not None, rule_for("Conv", "com.example") is None
    (True, True)
    """
    own = domain in ("", "ai.onnx") or (domain == "com.microsoft" and operator[:7] == "QLinear")
    return RULES.get(operator) if own or (domain, operator) in ALIASES else None


ALIASES = frozenset(
    (
        ("com.microsoft", "Gelu"),
        ("com.microsoft", "QGemm"),
        ("com.microsoft", "QuantizeLinear"),
        ("com.microsoft", "DequantizeLinear"),
    )
)
"""Operators of ONNX Runtime that mean what those of ONNX do."""
