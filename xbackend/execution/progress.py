"""Progress on standard error: a live line on a terminal, one line for each run elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from xbackend.execution.durations import duration_key

if TYPE_CHECKING:
    from rich.status import Status

    from xbackend.execution.workers.launcher import Launch

Record = dict[str, Any]


@dataclass(frozen=True)
class RunningWorker:
    """A worker that is at work."""

    label: str
    started: float
    """By the monotonic clock."""
    past: float | None
    """Seconds that the same run took last time, None for the first."""

    def text(self, now: float) -> str:
        """Return what is running, for how long, and how long it took last time.

        >>> RunningWorker("ort float32", 100.0, 16.3).text(104.2)
        'ort float32 4 s (last time 16 s)'
        """
        last = "" if self.past is None else f" (last time {_seconds(self.past)})"
        return f"{self.label} {_seconds(now - self.started)}{last}"


class ProgressLines:
    """One line for each conversion and for each run that has ended."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.total = 0
        self.done = 0
        self.past: Mapping[str, float] = {}

    def log(self, message: str) -> None:
        """Say what is being done before workers start."""
        self._print(message)

    def start(self, total: int, past: Mapping[str, float]) -> None:
        """Say how many more workers there are, and how long each kind of run took last time."""
        self.total += total
        self.past = past

    def on_start(self, launch: Launch) -> None:
        """Take note of a worker that starts."""

    def on_end(self, record: Record) -> None:
        """Say how a run ended."""
        self._print(self.line(record))

    def line(self, record: Record) -> str:
        """Return the line for a run that has ended."""
        self.done += record["seconds"] is not None
        took = "" if record["seconds"] is None else f" in {record['seconds']:.2f} s"
        count = f"[{self.done}/{self.total}] " if record["seconds"] is not None else ""
        why = f": {record['error']['message']}" if record["error"] else ""
        return f"{count}{_label(record)}: {record['status']}{took}{why}"

    def _print(self, text: str) -> None:
        print(text, file=self.stream, flush=True)


class LiveProgress(ProgressLines):
    """The same lines above one that shows what is running, for how long, and how long last time."""

    def __init__(self, stream: TextIO, status: Status) -> None:
        super().__init__(stream)
        self.status = status
        self.running: dict[str, RunningWorker] = {}

    def log(self, message: str) -> None:
        """Show what is being done before workers start."""
        self.status.update(_plain(message))

    def on_start(self, launch: Launch) -> None:
        """Show a worker that starts."""
        record = launch.record
        running = RunningWorker(
            _label(record), time.monotonic(), self.past.get(duration_key(record))
        )
        self.running = {**self.running, record["id"]: running}
        self.status.update(self)

    def on_end(self, record: Record) -> None:
        """Print how a run ended and show the others."""
        self.running = {name: one for name, one in self.running.items() if name != record["id"]}
        super().on_end(record)
        self.status.update(self)

    def __rich__(self) -> str:
        """Return the live line; rich asks for it at each refresh, from a thread of its own."""
        now = time.monotonic()
        names = ", ".join(one.text(now) for one in self.running.values())
        return _plain(
            f"{self.done} of {self.total} done" + (f"; running: {names}" if names else "")
        )

    def _print(self, text: str) -> None:
        self.status.console.print(text, markup=False, highlight=False, soft_wrap=True)


@dataclass(frozen=True)
class ProgressEvent:
    """Something that happened while runs were carried out."""

    kind: str
    """`note`: something is said, such as what is converted; `plan`: the number of workers to start
    is known; `start`: a worker starts; `end`: a run has ended, or cannot be."""
    text: str
    """One line for a person."""
    done: int
    """How many workers have ended."""
    total: int
    """How many were to be started, as far as it is known."""
    run: Mapping[str, Any] | None = None
    """The record of the run that starts or has ended; read only."""


class ProgressCallback(ProgressLines):
    """Tells a function, or nobody, how runs go on."""

    def __init__(self, callback: Callable[[ProgressEvent], None] | None) -> None:
        self.callback = callback
        self.total = 0
        self.done = 0
        self.past = {}

    def log(self, message: str) -> None:
        """Tell what is being done before workers start."""
        self._tell("note", message)

    def start(self, total: int, past: Mapping[str, float]) -> None:
        """Tell how many more workers there are."""
        super().start(total, past)
        self._tell("plan", f"{total} workers to start")

    def on_start(self, launch: Launch) -> None:
        """Tell of a worker that starts."""
        self._tell("start", f"{_label(launch.record)}: starts", launch.record)

    def on_end(self, record: Record) -> None:
        """Tell how a run ended."""
        self._tell("end", self.line(record), record)

    def _tell(self, kind: str, text: str, run: Record | None = None) -> None:
        if self.callback is not None:
            self.callback(ProgressEvent(kind, text, self.done, self.total, run))


def _seconds(number: float) -> str:
    """Return a number of seconds, with a digit behind the point where it is small.

    >>> _seconds(0.61), _seconds(16.3)
    ('0.6 s', '16 s')
    """
    return f"{number:.0f} s" if number >= 1 else f"{number:.1f} s"


def _plain(text: str) -> str:
    """Return a text with nothing in it that rich takes for markup."""
    return text.replace("[", r"\[")


def _label(record: Record) -> str:
    threads = record["settings"]["threads"]
    repeat = f" repeat {record['repeat'] + 1}" if record["repeat"] else ""
    where = "" if record["platform"] == "native" else f" on {record['platform']}"
    plural = "" if threads == 1 else f" {threads} threads"
    return f"{record['backend']} {record['precision']}{where}{plural}{repeat}"


@contextmanager
def progress(stream: TextIO) -> Iterator[ProgressLines]:
    """Give what shows progress on a stream; rich is imported only for a terminal."""
    if not stream.isatty():
        yield ProgressLines(stream)
        return
    from rich.console import Console

    console = Console(file=stream)
    with console.status("planning") as status:
        yield LiveProgress(stream, status)
