"""Lays out runs that have ended: what ran where, how it ended, which bits came out."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xbackend.store.store import Store, store_option

from ..wording.formatting import pluralize, printable

Record = Mapping[str, Any]
NARROWEST = 40
ONE_RUN_ALONE = "One run alone: there is nothing to compare it with."
"""What `answer` says of one run, without NumPy, whose import would cost as much as the run."""


def render(records: Sequence[Record], folder: Path, notes: Sequence[str] = ()) -> str:
    """Return one line for each run, where they are kept, notes, and last whether they agree.

    The bits are the first eight digits of the SHA-256 of each sample's first output.
    """
    lines = _lines(records)
    done = sum(record["status"] == "ok" for record in records)
    then = f"; next: xbackend compare{store_option(Store(folder))}" if done else ""
    there = f"{done} of {len(records)} runs are in {folder}{then}"
    width = max(NARROWEST, shutil.get_terminal_size((80, 24)).columns)
    said = "\n".join([*notes, _answer(records, folder)]).splitlines()
    folded = [textwrap.fill(each, width, subsequent_indent="  ") for each in said]
    return "\n".join([*lines, there, *folded])


def _lines(records: Sequence[Record]) -> list[str]:
    """Return a line for each run, with the settings that alone tell it from another one."""
    names = [_name(record) for record in records]
    told = [
        _distinguishing(
            record, [each for each, other in zip(records, names, strict=True) if other == name]
        )
        for record, name in zip(records, names, strict=True)
    ]
    rows = [
        (*name, *([text] if any(told) else []), str(record["status"]), _outcome(record))
        for record, name, text in zip(records, names, told, strict=True)
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join([*map(str.ljust, row[:-1], widths), row[-1]]) for row in rows]


def _name(record: Record) -> tuple[str, ...]:
    threads = record["settings"]["threads"]
    place = (record["backend"], record["precision"], record["platform"])
    return (*map(str, place), pluralize(threads, "thread"))


def _distinguishing(record: Record, alike: Sequence[Record]) -> str:
    """Return the settings of a run that differ among runs of one name: `graph=source`."""
    return ", ".join(
        printable(f"{key}={value}")
        for key, value in record["settings"].items()
        if any(other["settings"].get(key) != value for other in alike)
    )


def _answer(records: Sequence[Record], folder: Path) -> str:
    """Return whether the runs gave the same bits; what keeps that from being known, otherwise."""
    if [record["status"] for record in records] == ["ok"] and records[0]["results"]:
        return ONE_RUN_ALONE
    from xbackend.errors import StoreError
    from xbackend.facts.outcome import compare_outputs
    from xbackend.store.records import read_run

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
