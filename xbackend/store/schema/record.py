"""The one schema of a run's record: what a worker may say, and what a store's files may hold."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from xbackend.store.escaping import readable
from xbackend.store.files import WORD
from xbackend.store.schema.kinds import (
    MAX_ROWS,
    NAME,
    NAME_FORM,
    SHA256,
    UNICODE,
    WORD_FORM,
    Document,
    Integer,
    Kind,
    Mismatch,
    Nullable,
    Number,
    Rows,
    Table,
    Text,
    Truth,
)

Record = dict[str, Any]

SCHEMA_VERSION = 1
ITEM_BYTES = {
    "bool": 1, "int8": 1, "int16": 2, "int32": 4, "int64": 8,
    "uint8": 1, "uint16": 2, "uint32": 4, "uint64": 8,
    "float16": 2, "bfloat16": 2, "float32": 4, "float64": 8, "complex64": 8, "complex128": 16,
}  # fmt: skip
"""Formats of tensors, and the bytes of an element."""
MAX_BYTES = 2**48
"""Bytes of a tensor."""
KINDS = ("inputs", "outputs", "taps")
"""The lists of tensors that a run has for each sample."""

NAMED = Text(pattern=UNICODE, form="name in Unicode")
"""A name in a record: reports write control characters out."""
STRICT = Text(pattern=NAME, most=4096, form=NAME_FORM)
"""A name that a worker tells: it may not hold any."""
LINE = Text(most=16_384)
NUMBER = Nullable(Number())
FLAG = Nullable(Truth())
DIGEST = Text(pattern=SHA256, most=64, form="SHA-256")


class Tensor(Table):
    """A tensor: name, format, shape and the digest of its bytes."""

    def check(self, value: Any) -> None:
        """Raise Mismatch for what is no such tensor, or would be too large for any disk."""
        super().check(value)
        if byte_count(value) > MAX_BYTES:
            raise Mismatch(f"is a tensor of more than {MAX_BYTES} bytes")


def _results(name: Text) -> Rows:
    """Return the kind of `results`, whose samples and tensors have names of a kind."""
    tensor = Tensor(
        {
            "name": name,
            "dtype": Text(choices=tuple(ITEM_BYTES)),
            "shape": Rows(Integer(0, 2**48), most=64),
            "digest": DIGEST,
        }
    )
    rows = Rows(tensor)
    needs: dict[str, Kind] = {"input": name, "outputs": rows, "taps": rows}
    return Rows(Table(needs, {"inputs": rows, "taps_neutral": FLAG, "seconds": NUMBER}))


LAYER = Table(
    {"tap": NAMED, "layer": Integer(0), "operator": NAMED},
    {"inputs": Nullable(Rows(Text(pattern=f"({UNICODE})?", most=4096)))},
)
ERROR = Table({"stage": LINE, "symptom": LINE, "message": LINE})
HARDWARE = Table(
    may={
        **dict.fromkeys(("vendor", "device", "microarchitecture"), Nullable(LINE)),
        **dict.fromkeys(("hypervisor", "machine"), Nullable(LINE)),
        "cores": Nullable(Integer(0, 2**31)),
        "memory_bytes": Nullable(Integer(0)),
        "flags": Rows(Text(most=256)),
        "caches": Nullable(Table(others=Integer(0))),
    }
)
SETTINGS = Table(may={"threads": Integer(0, 2**31)})
SAMPLES = Table(may={"labels": Table(others=Integer(0, 2**31), most=MAX_ROWS)})
FACTS = Table(may={"settings": SETTINGS})
VERSIONS = Table(others=Nullable(LINE))

TOLD = {
    "status": Text(choices=("ok", "failed", "skipped")),
    "error": Nullable(ERROR),
    "taps_neutral": FLAG,
    "results": _results(STRICT),
    "facts": FACTS,
    "hardware": HARDWARE,
    "software": Table(),
    "versions": VERSIONS,
    "backend_version": Nullable(LINE),
}
"""What a worker may tell of its run; all else is the coordinator's to say."""

PARTIAL = Table(may=TOLD)
RESULT_MESSAGE = Table({"status": TOLD["status"]}, TOLD)
MESSAGES = {"stage": Text(most=256), "partial": PARTIAL, "result": RESULT_MESSAGE}
"""The kinds of lines that a worker writes."""

MODEL = Table(
    {"name": LINE, "digest": Text(pattern=WORD, form=WORD_FORM, most=128)},
    {"source": Nullable(LINE)},
)
ARTIFACT = Table({"digest": DIGEST, "format": Text(pattern=WORD, form=WORD_FORM, most=64)})

RECORD = Table(
    {
        "schema_version": Integer(SCHEMA_VERSION, SCHEMA_VERSION),
        "id": Text(pattern=WORD, form=WORD_FORM, most=200),
        "model": MODEL,
        "backend": NAMED,
        "backend_version": TOLD["backend_version"],
        "precision": NAMED,
        "settings": SETTINGS,
        "platform": NAMED,
        "repeat": Integer(0),
        "hardware": HARDWARE,
        "software": TOLD["software"],
        "status": TOLD["status"],
        "error": TOLD["error"],
        "seconds": NUMBER,
        "taps_neutral": FLAG,
        "layers": Rows(LAYER),
        "results": _results(NAMED),
    },
    {
        "created": LINE,
        "xbackend": LINE,
        "inputs_digest": Nullable(NAMED),
        "versions": VERSIONS,
        "samples": SAMPLES,
        "artifact": Nullable(ARTIFACT),
        "worker": LINE,
        "facts": FACTS,
        "conversion": Nullable(LINE),
        "quantizer": Nullable(LINE),
        "saturation": Rows(Table()),
        "emulation_unsafe": Nullable(Rows(NAMED)),
        "emulation_reasons": Nullable(Table(others=LINE)),
        "purpose": Nullable(Text(pattern=WORD, form=WORD_FORM, most=64)),
        "kept": Text(choices=("all", "differing", "none")),
    },
)
"""A file `runs/<id>.json`."""


def check_record(record: Record) -> None:
    """Raise Mismatch where a record is not sound."""
    RECORD.check(record)
    if record["status"] != "ok" and record["error"] is None:
        raise Mismatch(f"'error' is null, but 'status' is {record['status']}")


def check_message(word: str, told: Any) -> None:
    """Raise Mismatch where what a worker tells under a word is not sound."""
    MESSAGES[word].check(told)


def byte_count(tensor: Mapping[str, Any]) -> int:
    """Return how many bytes a tensor's object has.

    >>> byte_count({"dtype": "float16", "shape": [2, 3]})
    12
    """
    return int(math.prod(tensor["shape"])) * ITEM_BYTES[tensor["dtype"]]


def tensors(results: Sequence[Record]) -> Iterator[Record]:
    """Yield all tensors of the results of a run."""
    for result in results:
        for kind in KINDS:
            yield from result.get(kind, ())


def readable_values(value: Any) -> Any:
    """Return JSON values that can be shown: null for NaN, escapes for what moves a cursor."""
    if isinstance(value, str):
        return value if value.isprintable() else readable(value)
    if isinstance(value, dict):
        return {key: readable_values(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [readable_values(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def json_schema() -> Document:
    """Return the JSON Schema of a record, as docs/reference/record.schema.json publishes it."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A run of xbackend: runs/<id>.json of a store",
        **RECORD.document(),
        "if": {"properties": {"status": {"const": "ok"}}},
        "else": {"properties": {"error": {"not": {"type": "null"}}}},
    }
