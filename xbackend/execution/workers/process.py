"""A worker's process: fed, listened to, and ended with all that it has started."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from xbackend.execution.workers.channel import FloodError

CHUNK = 1 << 16
TICK = 0.1
"""Seconds between two looks at whether a process has ended that keeps its pipes open."""
GRACE = 3.0
"""Seconds for what a process left in its pipes, or others still hold, once it has ended."""
LOG_LIMIT = 16 << 20
"""Bytes of what a framework prints that are kept."""
CUT = b"\n[xbackend keeps no more than this]\n"
FAMILY = "XBACKEND_WORKER"
"""A variable that all processes inherit which a worker starts: by it they are found and ended."""


@dataclass(frozen=True)
class WorkerEnd:
    """How a worker ended."""

    status: int
    """Its exit status, negative for a signal."""
    late: bool = False
    """Whether its time was over."""
    flood: str = ""
    """What it said too much of, for which it was killed; empty where it did not."""


class WorkerProcess:
    """One process in a session of its own."""

    def __init__(self, command: Sequence[str]) -> None:
        self.token = os.urandom(16).hex()
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            bufsize=0,
            env={**os.environ, FAMILY: self.token},
        )
        self.lock = threading.Lock()

    def kill(self) -> None:
        """Kill the process and its group, unless its number is no longer its own."""
        with self.lock:
            if self.process.returncode is None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.process.pid, signal.SIGKILL)

    def converse(
        self, job: bytes, timeout: float, take: Callable[[bytes], None], log: BinaryIO
    ) -> WorkerEnd:
        """Hand over the job, listen until the end, and leave nothing behind that still runs."""
        deadline = time.monotonic() + timeout
        in_time, flood = False, ""
        try:
            _Pipes(self.process, job, take, _Log(log)).listen(deadline)
            in_time = _wait(self.process, deadline - time.monotonic())
        except FloodError as error:
            flood = str(error)
        finally:
            status = self._end()
        return WorkerEnd(status, not (in_time or flood), flood)

    def _end(self) -> int:
        """End all that is left of the process and its family, and return its exit status."""
        for pid in descendants(self.process.pid):
            _kill(pid)
        self.kill()
        end_family(self.token)
        _wait(self.process, GRACE)
        with self.lock:
            for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
                if stream is not None:
                    stream.close()
            try:
                return self.process.wait(GRACE)
            except subprocess.TimeoutExpired:  # the kernel does not let it go
                return -signal.SIGKILL


class _Log:
    """A file that takes so many bytes and no more."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.room = LOG_LIMIT

    def write(self, data: bytes) -> None:
        if self.room <= 0:
            return
        kept = data[: self.room]
        self.room -= len(kept)
        with contextlib.suppress(OSError):  # a full disk: the records will say so
            self.file.write(kept if self.room else kept + CUT)
            self.file.flush()


class _Pipes:
    """The three pipes of a process, until the two that it writes to are at their end."""

    def __init__(
        self, process: subprocess.Popen[bytes], job: bytes, take: Callable[[bytes], None], log: _Log
    ) -> None:
        self.process, self.job, self.take, self.log = process, memoryview(job), take, log
        self.selector = selectors.DefaultSelector()
        self.heard: set[IO[bytes]] = set()

    def listen(self, deadline: float) -> None:
        """Serve the pipes until their end or the deadline, or a moment after the process's end."""
        process, until = self.process, deadline
        with self.selector:
            self._register(process.stdin, selectors.EVENT_WRITE, self._feed)
            for stream, serve in ((process.stdout, self._hear), (process.stderr, self._note)):
                self.heard.add(self._register(stream, selectors.EVENT_READ, serve))
            while self.heard and (left := until - time.monotonic()) > 0:
                for key, _ in self.selector.select(min(left, TICK)):
                    key.data(key.fileobj)
                if until == deadline and _has_ended(process):
                    until = min(deadline, time.monotonic() + GRACE)

    def _register(
        self, stream: IO[bytes] | None, event: int, serve: Callable[[IO[bytes]], None]
    ) -> IO[bytes]:
        assert stream is not None
        os.set_blocking(stream.fileno(), False)
        self.selector.register(stream, event, serve)
        return stream

    def _feed(self, stream: IO[bytes]) -> None:
        try:
            sent = os.write(stream.fileno(), self.job[:CHUNK])
            self.job = self.job[sent:]
        except BlockingIOError:
            return
        except OSError:
            self.job = self.job[:0]  # It died before it read its job; its exit status tells.
        if not self.job:
            self.selector.unregister(stream)
            stream.close()

    def _hear(self, stream: IO[bytes]) -> None:
        for data in self._read(stream):
            self.take(data)

    def _note(self, stream: IO[bytes]) -> None:
        for data in self._read(stream):
            self.log.write(data)

    def _read(self, stream: IO[bytes]) -> Iterator[bytes]:
        try:
            data = os.read(stream.fileno(), CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            yield data
        else:
            self.selector.unregister(stream)
            self.heard.discard(stream)


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Tell whether a process has ended, without giving its number back where that can be."""
    if not hasattr(os, "waitid"):
        return process.poll() is not None
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def _wait(process: subprocess.Popen[bytes], patience: float) -> bool:
    """Wait until a process has ended; tell whether it has."""
    until, pause = time.monotonic() + patience, 0.0005
    while not _has_ended(process):
        if time.monotonic() > until:
            return False
        time.sleep(pause)
        pause = min(2 * pause, 0.05)
    return True


def descendants(pid: int) -> frozenset[int]:
    """Return a process's children and theirs, as far as /proc tells."""
    parents: dict[int, int] = {}
    for each in _processes():
        with contextlib.suppress(OSError, ValueError, IndexError):
            stat = Path(f"/proc/{each}/stat").read_text(encoding="utf-8", errors="replace")
            parents[each] = int(stat.rpartition(")")[2].split()[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return frozenset(found - {pid})


def end_family(token: str) -> None:
    """Kill all processes that inherited a worker's token, in whatever session they hide."""
    mark = f"{FAMILY}={token}".encode()
    for _ in range(3):  # one that is killed may just have started another
        left = [pid for pid in _processes() if mark in _environment(pid)]
        for pid in left:
            _kill(pid)
        if not left:
            return


def _kill(pid: int) -> None:
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGKILL)


def _processes() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    except OSError:
        return []  # a system without it


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []
