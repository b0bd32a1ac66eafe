"""Lays out what was taken into a store from elsewhere, and what was written out of it."""

from __future__ import annotations

from pathlib import Path

from xbackend.exchange.array_export import ExportResult
from xbackend.exchange.importing import ImportResult
from xbackend.store.store import Store, store_option

from ..wording.formatting import pluralize, printable


def render_import(result: ImportResult, folder: Path) -> str:
    """Return how many runs were imported, and what to do next."""
    parts = [f"{pluralize(result.added, 'run')} imported"]
    were, are = ("was" if result.known == 1 else "were"), ("is" if result.refusals == 1 else "are")
    parts += [f"{result.known} {were} there already"] if result.known else []
    parts += [f"{pluralize(result.refusals, 'remark')} {are} above"] if result.refusals else []
    then = f"xbackend compare{store_option(Store(folder))}"
    return f"{', '.join(parts)}; they are in {folder}; next: {then}"


def render_export(result: ExportResult) -> str:
    """Return how many arrays were written, and which are of another format than recorded."""
    wide = printable(", ".join(result.widened))
    note = f"; bfloat16 widened to float32: {wide}" if wide else ""
    return f"{result.path}: {pluralize(len(result.names), 'array')}{note}"
