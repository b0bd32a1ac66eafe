"""Lays out certificates alone: rounding or fault, run by run, and the answer for all."""

from __future__ import annotations

from xbackend.comparison.comparison import Comparison
from xbackend.comparison.export import export_judgements
from xbackend.facts.certified import certified_facts

from ..terminal import certificate_parts, terminal_width, wrap
from ..wording.rounding import section_sentences


def render(comparison: Comparison) -> str:
    """Lay out the certificates of a comparison for the terminal's width."""
    width, certificates = terminal_width(), comparison.certificates
    *parts, meaning = certificate_parts(certificates, width) or [""]
    runs = [run for run in comparison.runs if run.ok] or [each.run for each in certificates]
    facts = certified_facts(certificates, runs, export_judgements(comparison))
    if facts is not None and len(runs) > 1:
        parts.append(wrap(" ".join(section_sentences(facts)), width))
    return "\n\n".join([*parts, meaning])
