"""Says of runs that another tool gave that they were told, and what is known of them."""

from __future__ import annotations

from xbackend.facts.told import ToldRun

from .formatting import printable


def told_sentence(run: ToldRun) -> str:
    """Return what is said of where a run's tensors come from."""
    known = [each for each in (run.version, run.device, *run.notes) if each]
    said = f", by what was said {'; '.join(known)}" if known else ""
    return printable(f"{run.name} is told by {run.file}, not measured here{said}.")
