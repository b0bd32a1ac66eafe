"""Runs all public ONNX tests of single operators in one backend and writes what became of them.

`python -m xbackend.testing.record_suite WORD FILE` appends one JSON line for each test, first one
with versions. Called again, it goes on after the last line, so a test that killed the process can
be noted by whoever called and passed over.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from xbackend.plugins import registry
from xbackend.worker.contract import BackendSpec

from .artifacts import default_settings, load_backend
from .expected_failures import CaseOutcome
from .onnx_suite import run_case
from .suite_cases import SuiteCase, node_cases

Row = dict[str, Any]


def main(word: str, file: str) -> None:
    """Append the rows that a file still lacks."""
    spec = registry.backend(word)
    path = Path(file)
    done = len(path.read_text("utf-8").splitlines()) if path.exists() else 0
    with path.open("a", encoding="utf-8") as stream:
        if done == 0:
            write(stream, header(spec))
        for row in rows(spec, node_cases()[max(done - 1, 0) :]):
            write(stream, row)


def header(spec: BackendSpec) -> Row:
    """Return what the rows were made with."""
    import onnx

    return {"word": spec.word, "versions": load_backend(spec).versions(), "onnx": onnx.__version__}


def rows(spec: BackendSpec, cases: tuple[SuiteCase, ...]) -> Iterator[Row]:
    """Run tests one after the other."""
    settings = default_settings(spec, "float32" if "float32" in spec.formats else None)
    for case in cases:
        with tempfile.TemporaryDirectory() as folder:
            yield row_of(case, run_case(spec, case, Path(folder), settings))


def row_of(case: SuiteCase, outcome: CaseOutcome) -> Row:
    """Return one test and its outcome as JSON values."""
    return {
        "name": case.name,
        "operator": case.operator,
        "strict": case.strict,
        "kind": outcome.kind,
        "message": outcome.message.splitlines()[0][:300] if outcome.message else "",
    }


def write(stream: TextIO, row: Row) -> None:
    """Write one line at once, so that it survives what the next test may do."""
    stream.write(json.dumps(row) + "\n")
    stream.flush()


if __name__ == "__main__":
    main(*sys.argv[1:3])
