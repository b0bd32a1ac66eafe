"""Lays out runs that have ended: what ran where, how it ended, which bits came out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Record = Mapping[str, Any]
ONE_RUN_ALONE = "One run alone: there is nothing to compare it with."
"""What `answer` says of one run, without NumPy, whose import would cost as much as the run."""


def render(records: Sequence[Record], folder: Path) -> str:
    """Return one line for each run, whether they agree, and where they are kept.

    The bits are the first eight digits of the SHA-256 of each sample's first output.
    """
    rows = [
        (
            record["backend"],
            record["precision"],
            record["platform"],
            f"{record['settings']['threads']} thread{'s'[: record['settings']['threads'] > 1]}",
            record["status"],
            _outcome(record),
        )
        for record in records
    ]
    widths = [max(len(str(row[column])) for row in rows) for column in range(5)] if rows else []
    lines = [
        "  ".join(
            [*(str(cell).ljust(width) for cell, width in zip(row, widths, strict=False)), row[5]]
        )
        for row in rows
    ]
    done = sum(record["status"] == "ok" for record in records)
    then = "; next: xbackend compare" if done else ""
    there = f"{done} of {len(records)} runs are in {folder}{then}"
    return "\n".join([*lines, _answer(records, folder), there])


def _answer(records: Sequence[Record], folder: Path) -> str:
    """Return whether the runs gave the same bits; what keeps that from being known, otherwise."""
    if [record["status"] for record in records] == ["ok"] and records[0]["results"]:
        return ONE_RUN_ALONE
    from xbackend.errors import StoreError
    from xbackend.facts.outcome import compare_outputs
    from xbackend.store.records import read_run
    from xbackend.store.store import Store

    from ..answer import render as render_answer

    try:
        runs = [read_run(dict(record)) for record in records]
        return render_answer(compare_outputs(Store(folder), runs)).rstrip("\n")
    except StoreError as error:
        return f"Whether they gave the same bits is not known. {error}"


def _outcome(record: Record) -> str:
    if record["status"] != "ok":
        return str(record["error"]["message"])
    shown = [row["outputs"][0]["digest"][:8] for row in record["results"][:3] if row["outputs"]]
    more = len(record["results"]) - 3
    note = f"  ({record['error']['message']})" if record["error"] else ""
    return " ".join(shown) + (f" and {more} more" if more > 0 else "") + note
