"""Watches the process that sends cases: what hangs or dies is a finding, and the next begins."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass
from importlib.util import find_spec
from mmap import mmap
from pathlib import Path

from .door import Door
from .drive import HEAD, SHARED, Driver, drive, scratch_folder

TICK = 0.1
PATIENCE = 60.0
"""How many times its seconds of the processor a case may take on the clock of a busy machine."""
START = 180.0
"""Seconds for the imports."""


@dataclass(frozen=True)
class Campaign:
    """How a door fared."""

    name: str
    cases: int
    seconds: float
    """On the clock."""
    cpu: float
    """Of the processor."""
    findings: tuple[str, ...]

    def to_dict(self) -> dict[str, object]:
        """Return JSON values."""
        return {**vars(self), "findings": list(self.findings)}


def missing(door: Door) -> list[str]:
    """Return the modules that a door needs and that are not installed."""
    return [name for name in door.modules if find_spec(name) is None]


def watch(
    door: Door, seconds: float, seed: int, engine: str, findings: Path, slow: float, cases: int = 0
) -> Campaign:
    """Send cases through a door for so many seconds, or as many as `cases`."""
    shared = mmap(-1, SHARED)
    began, before, starts = time.monotonic(), os.times(), 0
    while time.monotonic() - began < seconds:
        with scratch_folder() as folder:
            driver = Driver(door, shared, findings, slow, Path(folder))
            process = os.fork()
            if not process:
                _child(driver, f"{seed}:{starts}", engine, cases)
            starts += 1
            status = _watched(process, shared, began + seconds, slow)
        if status is None or (cases and status == 0):
            break
        _write_end(door, shared, findings, status)
    after = os.times()
    cpu = after.children_user + after.children_system
    cpu -= before.children_user + before.children_system
    done = HEAD.unpack(shared[: HEAD.size])[0]
    folder = findings / door.name
    names = sorted(path.stem for path in folder.glob("*.input")) if folder.is_dir() else []
    return Campaign(door.name, done, time.monotonic() - began, cpu, tuple(names))


def _child(driver: Driver, seed: str, engine: str, cases: int) -> None:
    status = 1
    try:
        os.setpgid(0, 0)
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        if engine == "atheris":
            driver.findings.mkdir(parents=True, exist_ok=True)
            log = os.open(
                driver.findings / f"{driver.door.name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND
            )
            os.dup2(log, 2)
        drive(driver, seed, engine, cases)
        status = 0
    except KeyboardInterrupt:
        status = 130
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(status)


def _watched(process: int, shared: mmap, until: float, slow: float) -> int | None:
    """Wait for the end of a process; None where its time was over, which is none of its faults."""
    begun = time.monotonic()
    try:
        while True:
            ended, status = os.waitpid(process, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            cases, _, since, _ = HEAD.unpack(shared[: HEAD.size])
            hangs = since and time.time() - since > max(slow * PATIENCE, START * (cases == 0))
            if time.monotonic() > until or hangs:
                _kill(process)
                return -signal.SIGXCPU if hangs else None
            if not cases and time.monotonic() - begun > START:
                print("fuzz: it does not begin", file=sys.stderr)
            time.sleep(TICK)
    except BaseException:
        _kill(process)
        raise


def _kill(process: int) -> None:
    for kill in (os.killpg, os.kill):
        try:
            kill(process, signal.SIGKILL)
        except OSError:
            continue
    try:
        os.waitpid(process, 0)
    except ChildProcessError:
        return


def _write_end(door: Door, shared: mmap, findings: Path, status: int) -> None:
    """Write down the case that a process died of."""
    _, _, since, size = HEAD.unpack(shared[: HEAD.size])
    if not since:
        print(f"fuzz: {door.name} ended with {status} between two cases", file=sys.stderr)
        return
    name = signal.Signals(-status).name if status < 0 else f"exit-{status}"
    folder = findings / door.name
    folder.mkdir(parents=True, exist_ok=True)
    number = len(list(folder.glob(f"{name}-*.input")))
    (folder / f"{name}-{number}.input").write_bytes(shared[HEAD.size : HEAD.size + size])
    head = HEAD.unpack(shared[: HEAD.size])
    shared[: HEAD.size] = HEAD.pack(head[0] + 1, head[1] + 1, 0.0, 0)
