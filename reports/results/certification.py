"""Lays out certificates alone: rounding or fault, run by run, and the answer for all."""

from __future__ import annotations

from xbackend.comparison.comparison import Comparison

from ..terminal import certificate_parts, terminal_width


def render(comparison: Comparison) -> str:
    """Lay out the certificates of a comparison for the terminal's width."""
    return "\n\n".join(certificate_parts(comparison.certificates, terminal_width()))
