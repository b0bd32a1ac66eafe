"""Baselines as text: valid JSON with one entry a line, sorted, so that git merges it.

The last entry is empty, so that no line changes when one is added behind it. Lines that stand
twice, or in another order, as a merge may leave them, mean the same.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from xbackend.errors import UsageError
from xbackend.facts.baseline.entries import (
    Baseline,
    BaselineSection,
    KnownClass,
    MachineKind,
    Sighting,
    canonical,
)
from xbackend.store.schema.kinds import (
    SHA256,
    Integer,
    Kind,
    Mismatch,
    Nullable,
    Rows,
    Table,
    Text,
    Truth,
)
from xbackend.store.schema.record import ITEM_BYTES, byte_count

Record = dict[str, Any]

SCHEMA_VERSION = 1
FORMAT = "xbackend baseline"
MAX_BYTES = 1 << 28
"""Bytes of a file: a thousand times what the largest that are known have."""

NAME = Text(pattern="[0-9a-f]{16}", most=16, form="name of an entry")
LINE = Text(most=65_536)
WORDS = Rows(Text(most=64), most=1024)
DIGEST = Text(pattern=SHA256, most=64, form="SHA-256")
SECTION = Table(
    {"section": NAME, "model": LINE, "model_digest": LINE, "precision": LINE, "inputs": LINE},
    {"conversion": Nullable(LINE), "quantizer": Nullable(LINE)},
)
KIND = Table(
    {
        "kind": NAME,
        "vendor": Nullable(LINE),
        "microarchitecture": Nullable(LINE),
        "machine": Nullable(LINE),
        "flags": WORDS,
        "backend": LINE,
        "version": Nullable(LINE),
        "settings": Table(may={"threads": Integer(0, 2**31)}, most=1024),
    }
)
CLASS = Table(
    {
        "class": NAME,
        "section": NAME,
        "tensor": LINE,
        "sample": LINE,
        "output": Truth(),
        "dtype": Text(choices=tuple(ITEM_BYTES)),
        "shape": Rows(Integer(0, 2**48), most=64),
        "digest": DIGEST,
    },
    {"data": LINE, "labels": Rows(Integer(0), most=65_536)},
)
SEEN = Table({"seen": NAME, "on": NAME}, {"emulated": Truth(), "unsafe": Truth()})
ENTRIES = {"class": CLASS, "seen": SEEN, "kind": KIND, "section": SECTION}
"""What an entry is told by, in the order in which a class is told from its section."""
ORDER = ("section", "kind", "class", "seen")


class Entry(Kind):
    """One of the kinds of entries, or the empty one that ends the list."""

    def check(self, value: Any) -> None:
        """Raise Mismatch for what is none."""
        if value == {}:
            return
        word = _word(value)
        ENTRIES[word].check(value)

    def document(self) -> Record:
        """Return the JSON Schema of this kind."""
        return {"anyOf": [*(kind.document() for kind in ENTRIES.values()), {"maxProperties": 0}]}


FILE = Table(
    {
        "schema_version": Integer(SCHEMA_VERSION, SCHEMA_VERSION),
        "format": Text(choices=(FORMAT,)),
        "entries": Rows(Entry()),
    }
)


def _word(entry: Any) -> str:
    """Return which kind of entry one is. Raises Mismatch for none."""
    found = next((word for word in ENTRIES if isinstance(entry, dict) and word in entry), None)
    if found is None:
        raise Mismatch(f"has none of the keys {', '.join(ORDER)}")
    return found


def json_schema() -> Record:
    """Return the JSON Schema of a baseline."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A baseline of xbackend: the known classes of a fleet",
        **FILE.document(),
    }


def baseline_text(baseline: Baseline) -> str:
    """Return the text of a baseline's file."""
    rows = sorted(_rows(baseline), key=lambda row: (ORDER.index(_word(row)), canonical(row)))
    head = f'{{"schema_version":{SCHEMA_VERSION},"format":{json.dumps(FORMAT)},"entries":['
    return "\n".join([head, *(f"{_line(row)}," for row in rows), "{}]}", ""])


def _line(row: Record) -> str:
    return json.dumps(row, separators=(",", ":"))


def _rows(baseline: Baseline) -> Iterator[Record]:
    yield from (each.to_dict() for each in baseline.sections.values())
    yield from (each.to_dict(name) for name, each in baseline.kinds.items())
    yield from map(_class_row, baseline.classes.values())
    for seen in baseline.sightings:
        marks = {key: True for key in ("emulated", "unsafe") if getattr(seen, key)}
        yield {"seen": seen.known_class, "on": seen.kind, **marks}


def _class_row(known: KnownClass) -> Record:
    kept: Record = {}
    if known.data is not None:
        kept = {"data": base64.b64encode(known.data).decode("ascii")}
    elif known.labels is not None:
        kept = {"labels": list(known.labels)}
    return {
        "class": known.id,
        "section": known.section,
        "tensor": known.tensor,
        "sample": known.sample,
        "output": known.is_output,
        "dtype": known.dtype,
        "shape": list(known.shape),
        "digest": known.digest,
        **kept,
    }


def read_baseline(path: Path) -> Baseline:
    """Read a baseline's file. Raises UsageError, in one sentence, for what is none."""
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(
            f"Cannot read the baseline {path}: {error.strerror or error}. "
            "Make one with 'xbackend baseline --output FILE'."
        ) from error
    if len(data) > MAX_BYTES:
        raise UsageError(f"{path} has more than {MAX_BYTES} bytes, which no baseline has.")
    try:
        return parse_baseline(data)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is no sound baseline: {_why(data, error)}.") from error


def _why(data: bytes, error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    if b"\n<<<<<<< " in data or data.startswith(b"<<<<<<< "):
        return "a merge left its marks in it; keep the lines of both sides and delete the marks"
    return str(error)


def parse_baseline(data: bytes | str) -> Baseline:
    """Return the baseline that a text holds. Raises ValueError for what is none."""
    value = json.loads(data)
    FILE.check(value)
    rows: dict[str, list[Record]] = {word: [] for word in ORDER}
    for row in value["entries"]:
        if row:
            rows[_word(row)].append(row)
    found = Baseline(
        dict(map(_section, rows["section"])),
        dict(map(_kind, rows["kind"])),
        dict(map(_class, rows["class"])),
        frozenset(map(_sighting, rows["seen"])),
    )
    _check_names(found)
    return found


def _section(row: Record) -> tuple[str, BaselineSection]:
    keys = ("model", "model_digest", "precision", "inputs", "conversion", "quantizer")
    found = BaselineSection(**{key: row.get(key) for key in keys})  # type: ignore[arg-type]  # checked
    return _named(row["section"], found.id, "section"), found


def _kind(row: Record) -> tuple[str, MachineKind]:
    keys = ("vendor", "microarchitecture", "machine", "backend", "version")
    found = MachineKind(
        **{key: row[key] for key in keys},
        flags=tuple(row["flags"]),
        settings=canonical(row["settings"]),
    )
    return _named(row["kind"], found.id, "kind"), found


def _class(row: Record) -> tuple[str, KnownClass]:
    try:
        data = base64.b64decode(row["data"], validate=True) if "data" in row else None
    except (binascii.Error, ValueError) as error:
        raise Mismatch(f"the data of class {row['class']} are no base64") from error
    right = data is None or (
        len(data) == byte_count(row) and hashlib.sha256(data).hexdigest() == row["digest"]
    )
    if not right:
        raise Mismatch(f"the data of class {row['class']} are not those of its digest")
    found = KnownClass(
        row["section"],
        row["tensor"],
        row["sample"],
        row["output"],
        row["dtype"],
        tuple(row["shape"]),
        row["digest"],
        data,
        tuple(row["labels"]) if "labels" in row else None,
    )
    return _named(row["class"], found.id, "class"), found


def _sighting(row: Record) -> Sighting:
    return Sighting(row["seen"], row["on"], row.get("emulated", False), row.get("unsafe", False))


def _named(said: str, right: str, word: str) -> str:
    """Return an entry's name, which follows from the rest of it. Raises Mismatch for another."""
    if said != right:
        raise Mismatch(f"the {word} {said} was changed by hand: by what it says it is {right}")
    return said


def _check_names(baseline: Baseline) -> None:
    """Raise Mismatch for an entry that names another one that is not there."""
    needed: Iterable[tuple[str, str, object]] = (
        *(("section", each.section, baseline.sections) for each in baseline.classes.values()),
        *(("class", each.known_class, baseline.classes) for each in baseline.sightings),
        *(("kind", each.kind, baseline.kinds) for each in baseline.sightings),
    )
    for word, name, there in needed:
        if name not in there:  # type: ignore[operator]  # a mapping
            raise Mismatch(f"an entry names the {word} {name}, which is not in it")
