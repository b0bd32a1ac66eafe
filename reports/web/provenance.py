"""What was run: models, digests, settings, versions, hardware, and commands to run it again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from xbackend.comparison.comparison import Comparison
from xbackend.store.cohort import number_format
from xbackend.store.records import Run

from ..machines import name_device
from ..sections.tables import unsuccessful_table
from ..wording.formatting import name_run, pluralize, printable
from .paste import command_of

Record = dict[str, Any]
IMPORTED = "# what was imported is not run here: {name}"


def provenance(comparison: Comparison) -> Record:
    """Return what the last part of the page lays out."""
    subjects: dict[str, list[Run]] = {}
    for run in comparison.runs:
        subjects.setdefault(_subject(run), []).append(run)
    stopped = comparison.unsuccessful
    place = {run.id: at for at, run in enumerate(comparison.runs)}
    return {
        "sentence": _sentence(comparison),
        "stopped": unsuccessful_table(stopped) if stopped else None,
        "subjects": [_subject_of(runs, place) for runs in subjects.values()],
        "verify": "xbackend verify report.html",
    }


def _sentence(comparison: Comparison) -> str:
    runs = pluralize(len(comparison.runs), "run")
    chosen = ", ".join(map(printable, comparison.filters))
    text = f"{runs} of the store" + (f" with {chosen}" if chosen else "") + "."
    if comparison.left_out:
        text += f" {pluralize(len(comparison.left_out), 'record')} could not be read."
    return text


def _subject(run: Run) -> str:
    told = [run.row[key] for key in ("model", "model_digest", "precision")]
    return json.dumps([*told, run.conversion, run.row.get("inputs_digest")])


def _subject_of(runs: Sequence[Run], place: Mapping[str, int]) -> Record:
    row = runs[0].row
    precision = number_format({"precision": str(row["precision"]), **runs[0].conversion})
    commands = dict.fromkeys(
        IMPORTED.format(name=printable(run.row["model_source"] or run.row["model"]))
        if "imported" in (run.row.get("facts") or {})
        else printable(command_of(run))
        for run in runs
    )
    return {
        "model": printable(row["model"]),
        "precision": printable(precision),
        "model_digest": printable(row["model_digest"]),
        "inputs_digest": printable(row.get("inputs_digest") or "not recorded"),
        "runs": [_run(run, place[run.id]) for run in runs],
        "commands": "\n".join(commands),
    }


def _run(run: Run, place: int) -> Record:
    row, hardware = run.row, run.row["hardware"]
    versions = {**(row.get("versions") or {})}
    versions.setdefault(str(row["backend"]), row["backend_version"])
    memory = hardware.get("memory_bytes")
    parts = [
        name_device(hardware.get("device")),
        hardware.get("microarchitecture"),
        pluralize(hardware["cores"], "core") if hardware.get("cores") else None,
        f"{memory / 2**30:.1f} GiB" if memory else None,
    ]
    return {
        "place": place,
        "id": printable(run.id),
        "name": name_run(run),
        "platform": printable(row["platform"]),
        "versions": _pairs(versions),
        "settings": _pairs(row["settings"]),
        "hardware": printable(", ".join(part for part in parts if part)),
    }


def _pairs(values: Mapping[str, Any]) -> str:
    said = (f"{key}={_text(value)}" for key, value in values.items() if value is not None)
    return printable(", ".join(said))


def _text(value: Any) -> str:
    return shlex.quote(value) if isinstance(value, str) else json.dumps(value)
