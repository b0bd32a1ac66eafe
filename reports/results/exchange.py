"""Lays out what was taken into a store from elsewhere."""

from __future__ import annotations

from pathlib import Path

from xbackend.exchange.importing import ImportResult


def render_import(result: ImportResult, folder: Path) -> str:
    """Return how many runs were imported, and what to do next."""
    parts = [f"{result.added} runs imported"]
    parts += [f"{result.known} were there already"] if result.known else []
    parts += [f"{result.refusals} remarks are above"] if result.refusals else []
    return f"{', '.join(parts)}; they are in {folder}; next: xbackend compare"
