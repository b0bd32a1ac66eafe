"""Starts a converter in a process of its own, in a sandbox and for a limited time."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from typing import Any

from xbackend.errors import ConversionError, ModelError, UnsupportedOperators
from xbackend.plugins.converter import ConversionRequest, ConverterSpec
from xbackend.preparation.conversion.process import COMMAND, UNEXPECTED, to_document
from xbackend.preparation.limits import SECONDS, Limits, limits
from xbackend.preparation.model import CALLABLE
from xbackend.store.escaping import readable

TELLING = (ModelError, UnsupportedOperators)
"""What a converter says that is of the model's making, not of its own."""
LAST_BYTES = 1 << 16
"""How much of what a converter printed is read."""
GRACE = 5.0
"""Seconds for a killed converter's pipes to close."""


def run_converter(spec: ConverterSpec, request: ConversionRequest) -> dict[str, Any]:
    """Run a converter in a fresh Python. Raises ModelError or ConversionError."""
    chosen = limits()
    confined = chosen.sandbox and request.source_format != CALLABLE
    with tempfile.TemporaryDirectory(
        prefix=".scratch-", dir=request.output, ignore_cleanup_errors=True
    ) as scratch:
        document = to_document(spec.convert, request, scratch if confined else "", chosen.memory)
        status, told, printed = _converse(spec, json.dumps(document, default=str), chosen)
    if status or not told:
        raise ConversionError(
            f"The converter {spec.name} died with {_symptom(status)}; its last words: "
            f"{_last_line(printed)}"
        )
    answer: dict[str, Any] = json.loads(told)
    if "error" in answer:
        kind, message = answer["error"]["kind"], readable(answer["error"]["message"])
        if kind == UNEXPECTED:
            message = (
                f"The converter {spec.name} cannot convert this model from {request.source_format} "
                f"to {request.target_format}; a package that it uses says: {message}"
            )
        raise next((c for c in TELLING if c.__name__ == kind), ConversionError)(message)
    result: dict[str, Any] = answer["result"]
    return result


def _converse(spec: ConverterSpec, document: str, chosen: Limits) -> tuple[int, str, bytes]:
    """Return the exit status, what the process answered, and the end of what it printed.

    Raises ConversionError when it is late.
    """
    process = subprocess.Popen(
        [sys.executable, *COMMAND],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "-1"},
    )
    printed = _Printed(process)
    try:
        told, _ = process.communicate(document.encode(), chosen.conversion_seconds)
    except subprocess.TimeoutExpired as error:
        raise ConversionError(
            f"The converter {spec.name} was stopped after {chosen.conversion_seconds:g} s. Allow "
            f"more by ${SECONDS}, in seconds."
        ) from error
    finally:
        _end(process)
    return process.returncode, told.decode(errors="replace"), printed.end()


class _Printed:
    """The last of what a process writes to standard error, read in a thread of its own."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.stream, process.stderr = process.stderr, None
        self.last = b""
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        if self.stream is not None:
            with self.stream as stream:
                while data := os.read(stream.fileno(), LAST_BYTES):
                    self.last = (self.last + data)[-LAST_BYTES:]

    def end(self) -> bytes:
        """Return it; what another process still holds open is waited for only so long."""
        self.thread.join(GRACE)
        return self.last


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of a converter and of all that it started in its session."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(GRACE)
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()


def _symptom(status: int) -> str:
    named = {each.value: each.name for each in signal.Signals}
    return named.get(-status, f"signal {-status}") if status < 0 else f"exit status {status}"


def _last_line(printed: bytes) -> str:
    """Return the last line that says something."""
    text = printed.decode(errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return readable(lines[-1][:300]) if lines else "none"
