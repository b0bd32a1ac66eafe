"""Progress on standard error: a live line on a terminal, one line for each run elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.status import Status

    from xbackend.launcher import Launch

Record = dict[str, Any]


class Lines:
    """One line for each conversion and for each run that has ended."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.total = 0
        self.done = 0

    def tell(self, message: str) -> None:
        """Say what is being done before workers start."""
        self._print(message)

    def start(self, total: int) -> None:
        """Say how many workers there are."""
        self.total += total

    def begun(self, launch: Launch) -> None:
        """Take note of a worker that starts."""

    def ended(self, record: Record) -> None:
        """Say how a run ended."""
        self._print(self.line(record))

    def line(self, record: Record) -> str:
        """Return the line for a run that has ended."""
        self.done += record["seconds"] is not None
        took = "" if record["seconds"] is None else f" in {record['seconds']:.2f} s"
        count = f"[{self.done}/{self.total}] " if record["seconds"] is not None else ""
        why = f": {record['error']['message']}" if record["error"] else ""
        return f"{count}{_who(record)}: {record['status']}{took}{why}"

    def _print(self, text: str) -> None:
        print(text, file=self.stream, flush=True)


class Live(Lines):
    """The same lines above one that shows what is running and for how long."""

    def __init__(self, stream: TextIO, status: Status) -> None:
        super().__init__(stream)
        self.status = status
        self.running: dict[str, tuple[str, float]] = {}

    def tell(self, message: str) -> None:
        """Show what is being done before workers start."""
        self.status.update(_plain(message))

    def begun(self, launch: Launch) -> None:
        """Show a worker that starts."""
        self.running[launch.record["id"]] = (_who(launch.record), time.monotonic())
        self._show()

    def ended(self, record: Record) -> None:
        """Print how a run ended and show the others."""
        self.running.pop(record["id"], None)
        super().ended(record)
        self._show()

    def _show(self) -> None:
        names = ", ".join(who for who, _ in self.running.values())
        self.status.update(_plain(f"{self.done} of {self.total} done; running: {names}"))

    def _print(self, text: str) -> None:
        self.status.console.print(text, markup=False, highlight=False, soft_wrap=True)


def _plain(text: str) -> str:
    """Return a text with nothing in it that rich takes for markup."""
    return text.replace("[", r"\[")


def _who(record: Record) -> str:
    threads = record["settings"]["threads"]
    repeat = f" repeat {record['repeat'] + 1}" if record["repeat"] else ""
    where = "" if record["platform"] == "native" else f" on {record['platform']}"
    plural = "" if threads == 1 else f" {threads} threads"
    return f"{record['backend']} {record['precision']}{where}{plural}{repeat}"


@contextmanager
def progress(stream: TextIO) -> Iterator[Lines]:
    """Give what shows progress on a stream; rich is imported only for a terminal."""
    if not stream.isatty():
        yield Lines(stream)
        return
    from rich.console import Console

    console = Console(file=stream)
    with console.status("planning") as status:
        yield Live(stream, status)
