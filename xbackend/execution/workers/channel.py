"""What a worker says, line by line: every word is checked against the schema before it is used."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from xbackend.store.escaping import readable

Record = dict[str, Any]

LINE_LIMIT = 64 << 20
"""Bytes of one line: a hundred thousand tensors' digests take a third of it."""
ANSWER_LIMIT = 1 << 30
"""Bytes of all that a worker writes to standard output."""


class FloodError(Exception):
    """A worker says more than anybody would keep."""


@dataclass
class WorkerOutput:
    """What a worker has said."""

    stage: str = "start"
    known: Record = field(default_factory=dict)
    result: Record | None = None
    fault: str = ""
    """What is wrong with the first message that was not sound; empty while all are."""


@dataclass
class LineReader:
    """Puts the bytes that arrive together to lines, and takes in each message."""

    output: WorkerOutput = field(default_factory=WorkerOutput)
    pending: bytearray = field(default_factory=bytearray)
    total: int = 0

    def feed(self, data: bytes) -> None:
        """Take in bytes. Raises FloodError where there are too many of them."""
        self.total += len(data)
        if self.total > ANSWER_LIMIT:
            raise FloodError(f"more than {ANSWER_LIMIT >> 20} MiB on standard output")
        *whole, rest = data.split(b"\n")
        for part in whole:
            self._check(part)
            self.pending += part
            take_line(self.output, bytes(self.pending))
            self.pending.clear()
        self._check(rest)
        self.pending += rest

    def _check(self, part: bytes) -> None:
        if len(self.pending) + len(part) > LINE_LIMIT:
            raise FloodError(f"a line of more than {LINE_LIMIT >> 20} MiB")


def take_line(output: WorkerOutput, line: bytes) -> None:
    """Take in one line; one cut off by a crash, or said by another program, is passed over.

    A message is an object of the worker's words alone, each with a text or an object. The schema is
    imported while the worker imports its framework.
    """
    from xbackend.store.schema.record import MESSAGES

    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return
    if not isinstance(message, dict) or not message.keys() <= MESSAGES.keys():
        return
    for word, told in message.items():
        if isinstance(told, str if word == "stage" else dict):
            _take(output, word, told)


def _take(output: WorkerOutput, word: str, told: Any) -> None:
    from xbackend.store.schema.kinds import Mismatch
    from xbackend.store.schema.record import TOLD, check_message, readable_values

    try:
        check_message(word, told)
    except Mismatch as error:
        output.fault = output.fault or f"'{word}': {error}"
        return
    if word == "stage":
        output.stage = readable(told)
        return
    sound = readable_values({key: told[key] for key in TOLD if key in told})
    if word == "partial":
        output.known.update(sound)
    else:
        output.result = sound
