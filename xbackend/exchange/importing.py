"""Takes runs that others made into a store: finds the importer, checks and keeps what it gives."""

from __future__ import annotations

import hashlib
import json
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xbackend.comparison.machines import sort_key
from xbackend.errors import UsageError, XbackendError
from xbackend.plugins import registry
from xbackend.plugins.importer import (
    ImportedRun,
    ImportedSample,
    ImporterSpec,
    ImportIssue,
    ImportItems,
)
from xbackend.store.escaping import quoted
from xbackend.store.schema.kinds import Mismatch
from xbackend.store.schema.record import check_record
from xbackend.store.store import Store
from xbackend.worker.objects import write_tensor
from xbackend.worker.version import VERSION

Record = dict[str, Any]

MAX_WORD_LENGTH = 40
"""The longest part of an id that is a name of the files' own."""


@dataclass(frozen=True)
class ImportResult:
    """How an import ended."""

    added: int
    """Runs that the store did not have."""
    known: int
    """Runs that it had, bit for bit and word for word."""
    refusals: int


def print_warning(sentence: str) -> None:
    """Say on standard error what was not imported."""
    print(f"xbackend: {sentence}", file=sys.stderr)


def import_from(
    store: Store, importer: str, path: Path, warn: Callable[[str], None] = print_warning
) -> ImportResult:
    """Import what an importer finds at a path; `warn` is told of each thing that was not.

    Raises UsageError if there was nothing to import.
    """
    spec = registry.importer(importer)
    if not path.exists():
        raise UsageError(f"There is nothing at {path}. Name a folder that has {spec.title}.")
    store.create()
    done = import_runs(store, spec.name, _read(spec, path), warn)
    if not done.added + done.known:
        raise UsageError(
            f"Nothing in {path} could be imported as '{spec.name}'. It reads {spec.title}."
        )
    return done


def _read(spec: ImporterSpec, path: Path) -> ImportItems:
    """Yield what an importer finds; whatever it raises is told in one sentence."""
    try:
        yield from registry.load_object(spec.read)(path)
    except XbackendError:
        raise
    except Exception as error:  # a stranger's importer raises anything
        said = " ".join(str(error).split())[:300].rstrip(".") or "it says nothing"
        raise XbackendError(
            f"The importer '{spec.name}' failed at {path} ({type(error).__name__}: {said}). What "
            "it gave before is kept; mend or uninstall the package that brings it."
        ) from error


def import_runs(
    store: Store, name: str, found: ImportItems, warn: Callable[[str], None] = print_warning
) -> ImportResult:
    """Keep the runs of an importer; `warn` is told of each refusal in one line."""
    added: set[str] = set()
    known: set[str] = set()
    refusals = 0
    for each in found:
        if isinstance(each, ImportIssue):
            refusals += 1
            warn(_one_line(each.message))
            continue
        record = imported_record(store, name, each)
        fault = record_fault(record)
        if fault:
            refusals += 1
            warn(fault)
            continue
        if record["id"] not in added:
            (known if store_if_new(store, record) else added).add(record["id"])
    return ImportResult(len(added), len(known), refusals)


def record_fault(record: Record) -> str:
    """Return why a record cannot be kept; empty where it can."""
    try:
        check_record(record)
    except Mismatch as error:
        return f"A run of {quoted(record['model']['name'])} cannot be kept: {error}."
    return ""


def _one_line(text: str) -> str:
    """Return text without what would break a line or move a cursor: names come from files."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def store_if_new(store: Store, record: Record) -> bool:
    """Keep a record; tell whether one of its id was there already."""
    if (store.folder / "runs" / f"{record['id']}.json").exists():
        return True
    store.write_run(record)
    return False


def imported_record(store: Store, name: str, run: ImportedRun) -> Record:
    """Keep a run's tensors and return its record, whose id comes from all that it holds.

    Ids sort as `comparison.machines.order` does, so that classes are numbered in that order.
    """
    told: Record = {
        "schema_version": 1,
        "model": {
            "name": run.model,
            "digest": record_digest(["model", name, run.source, run.model]),
            "source": run.source,
        },
        "inputs_digest": record_digest(["inputs", name, run.source, run.inputs]),
        "backend": run.backend,
        "backend_version": run.backend_version,
        "precision": run.precision,
        "settings": dict(run.settings),
        "platform": run.platform,
        "repeat": run.repeat,
        "hardware": dict(run.hardware),
        "software": dict(run.software),
        "status": "ok",
        "error": None,
        "seconds": None,
        "taps_neutral": None,
        "artifact": None,
        "layers": [],
        "results": [_result(store, sample) for sample in run.samples],
        "facts": {"imported": name, **run.facts},
    }
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {**told, "id": _name(name, told), "created": when, "xbackend": VERSION}


def _result(store: Store, sample: ImportedSample) -> Record:
    outputs = [
        {"name": name, **write_tensor(str(store.folder), tensor)}
        for name, tensor in sample.outputs.items()
    ]
    return {
        "input": sample.input,
        "seconds": None,
        "inputs": [],
        "outputs": outputs,
        "taps": [],
        "taps_neutral": None,
    }


def record_digest(value: Any) -> str:
    """Return the SHA-256 of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _name(name: str, told: Record) -> str:
    vendor, age, _, cores = sort_key(told["hardware"])
    words = (
        slug(name),
        slug(vendor),
        f"{age:02}",
        f"{cores:04}",
        slug(told["platform"]),
        slug(told["model"]["name"]),
        f"{told['repeat']:03}",
        record_digest(told)[:16],
    )
    return "-".join(words)


def slug(text: str) -> str:
    """Return letters, digits, dots and underscores alone.

    >>> slug("aws:t2.xlarge")
    'aws_t2.xlarge'
    """
    return re.sub(r"[^a-z0-9.]+", "_", text.lower())[:MAX_WORD_LENGTH]
