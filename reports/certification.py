"""The report of certificates alone: rounding or fault, run by run, and the answer for all."""

from __future__ import annotations

import shutil

from xbackend.comparison.comparison import Comparison

from .certificates import meaning_sentence, verdict_sentences
from .terminal import NARROWEST, certificate_part, wrap


def render(comparison: Comparison) -> str:
    """Lay out the certificates of a comparison for the terminal's width, the answer first."""
    width = max(NARROWEST, shutil.get_terminal_size((80, 24)).columns)
    if not comparison.certificates:
        return "No run was certified: pass --certify.\n"
    parts = ["\n".join(wrap(text, width) for text in verdict_sentences(comparison.certificates))]
    parts += [certificate_part(found, width) for found in comparison.certificates]
    parts.append(wrap(meaning_sentence(comparison.certificates), width))
    return "\n\n".join(parts) + "\n"
