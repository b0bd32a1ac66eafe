"""The process in which one converter runs: a request in JSON in, its result in JSON out."""

from __future__ import annotations

import json
import os
import sys
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

from xbackend.errors import XbackendError
from xbackend.plugins.converter import ConversionRequest, ConversionResult

COMMAND = (
    "-c",
    (
        "import sys; sys.path[:] = [p for p in sys.path if p]; "
        "from xbackend.preparation.conversion.process import main; main()"
    ),
)
"""Arguments of Python for this process; the current folder must not shadow a package."""


UNEXPECTED = "unexpected"
"""The kind of an error that no converter has foreseen."""


def main() -> None:
    """Run the conversion on standard input; what packages print goes to standard error."""
    from xbackend.worker.main import exit_on_hangup  # of no use to who starts this process

    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    document = json.loads(sys.stdin.read())
    sandbox = _enter_sandbox(document) if document["scratch"] else None
    exit_on_hangup(channel.fileno())  # a thread, which a sandbox would not hold
    channel.write(json.dumps(_answer(document, sandbox)))
    channel.flush()
    sys.stderr.flush()
    os._exit(0)


def _enter_sandbox(document: dict[str, Any]) -> dict[str, Any]:
    """Keep this process to the folder of what it makes, before a converter is imported."""
    from xbackend.worker.sandbox import confine
    from xbackend.worker.scratch import variables

    os.environ.update(variables(document["scratch"]))
    return confine([document["request"]["output"]], document["memory"])


def _answer(document: dict[str, Any], sandbox: dict[str, Any] | None) -> dict[str, Any]:
    """Convert, and say what was in force the while."""
    from xbackend.plugins.registry import load_object

    try:
        result: ConversionResult = load_object(document["convert"])(_request(document["request"]))
        kept = {key: sandbox[key] for key in ("files", "network")} if sandbox else None
        return {"result": {**asdict(result), "sandbox": kept}}
    except XbackendError as error:
        return {"error": {"kind": type(error).__name__, "message": str(error)}}
    except Exception as error:  # whatever a converter's packages raise is told in one sentence
        traceback.print_exc()
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        message = f"{type(error).__name__}: {lines[0][:500] if lines else '(no message)'}"
        return {"error": {"kind": UNEXPECTED, "message": message}}


def to_document(
    convert: str, request: ConversionRequest, scratch: str, memory: int
) -> dict[str, Any]:
    """Return what the process reads; without a scratch folder it enters no sandbox."""
    return {
        "convert": convert,
        "request": asdict(request),
        "scratch": scratch,
        "memory": memory,
    }


def _request(row: dict[str, Any]) -> ConversionRequest:
    paths = {key: None if row[key] is None else Path(row[key]) for key in ("inputs", "hub")}
    return ConversionRequest(
        source=Path(row["source"]),
        source_format=row["source_format"],
        target_format=row["target_format"],
        output=Path(row["output"]),
        options=row["options"],
        **paths,
    )
