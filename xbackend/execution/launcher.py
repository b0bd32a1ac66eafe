"""Starts workers, watches them, and turns whatever becomes of them into a run's record."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from xbackend.execution.staging import StagedJob, Unreachable, stage_job
from xbackend.platforms.emulation_taint import mark_emulated
from xbackend.platforms.platform import Platform
from xbackend.store.store import Store
from xbackend.worker.contract import BackendSpec
from xbackend.worker.job import Job

Record = dict[str, Any]

SIGNAL_EXPLANATIONS = {
    "SIGILL": "the framework used an instruction that this processor does not have",
    "SIGSEGV": "the framework crashed on a bad memory access",
    "SIGKILL": "it was killed from outside, often for want of memory",
    "SIGABRT": "the framework gave up on its own",
    "SIGBUS": "the framework crashed on a bad memory access, often for a full disk",
    "SIGFPE": "the framework crashed on an integer division",
    "SIGTERM": "it was ended from outside",
}
"""What a signal that ended a worker means."""

CLEANUP_TIMEOUT = 20.0
"""Seconds that an interrupted command waits for other machines to be left as they were."""

WORKER_FIELDS: dict[str, tuple[type, ...]] = {
    "status": (str,),
    "error": (dict, type(None)),
    "taps_neutral": (bool, type(None)),
    "results": (list,),
    "facts": (dict,),
    "hardware": (dict,),
    "software": (dict,),
    "versions": (dict,),
    "backend_version": (str,),
}
"""What a worker may say of its run, and in which types; all else is the coordinator's to say."""


@dataclass(frozen=True)
class Launch:
    """One worker to start."""

    record: Record
    """The run's record so far; what the worker tells is added to a copy."""
    job: Job
    platform: Platform
    worker: Path
    key: str = ""
    """Digest of all that decides the bits, under which a run that is sound is remembered."""
    spec: BackendSpec | None = None
    """The backend's, which says what an emulator cannot be trusted with, and which instructions
    the framework cannot do without."""


class _Stopped(Exception):
    """Workers were told to end; what this one has computed is not fetched."""


@dataclass
class _WorkerOutput:
    """What a worker has said."""

    stage: str = "start"
    known: Record = field(default_factory=dict)
    result: Record | None = None


def run_workers(
    launches: Sequence[Launch],
    store: Store,
    jobs: int,
    timeout: float,
    on_start: Callable[[Launch], None],
    on_end: Callable[[Record], None],
) -> list[Record]:
    """Run workers, `jobs` at once, and keep each record as soon as its worker ends.

    `on_start` and `on_end` are called from several threads, one at a time. On KeyboardInterrupt or
    SystemExit the workers are killed; what has ended is kept.
    """
    waiting: queue.SimpleQueue[Launch] = queue.SimpleQueue()
    for launch in launches:
        waiting.put(launch)
    pool = _WorkerPool(store, timeout, on_start, on_end)
    over = [threading.Event() for _ in range(max(1, min(jobs, len(launches))))]
    for each in over:
        threading.Thread(target=pool.work, args=(waiting, each), daemon=True).start()
    try:
        for each in over:
            each.wait()
    except (KeyboardInterrupt, SystemExit):
        pool.stop()
        if any(launch.platform.transport for launch in launches):
            _wait_for(over)
        raise
    if pool.error is not None:
        raise pool.error
    return sorted(pool.records, key=lambda record: str(record["id"]))


def _wait_for(over: Sequence[threading.Event]) -> None:
    """Give threads the time to clear up elsewhere; a second interruption ends that too.

    A thread whose `join` was interrupted counts as ended before it is (bpo-45274): hence events.
    """
    until = time.monotonic() + CLEANUP_TIMEOUT
    for each in over:
        each.wait(max(0.0, until - time.monotonic()))


class _WorkerPool:
    """The threads' shared state."""

    def __init__(
        self,
        store: Store,
        timeout: float,
        on_start: Callable[[Launch], None],
        on_end: Callable[[Record], None],
    ) -> None:
        self.store, self.timeout, self.on_start, self.on_end = store, timeout, on_start, on_end
        self.lock = threading.Lock()
        self.stopped = False
        self.processes: set[subprocess.Popen[str]] = set()
        self.records: list[Record] = []
        self.error: Exception | None = None

    def work(self, waiting: queue.SimpleQueue[Launch], over: threading.Event) -> None:
        """Take launches until none is left or the pool is stopped, and say when that is over."""
        try:
            self._work(waiting)
        finally:
            over.set()

    def _work(self, waiting: queue.SimpleQueue[Launch]) -> None:
        while not self.stopped:
            try:
                launch = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                self._one(launch)
            except _Stopped:
                return
            except Exception as error:  # the main thread raises it again
                self.error = error
                self.stop()

    def _one(self, launch: Launch) -> None:
        with self.lock:
            self.on_start(launch)
        record = self._launch(launch)
        if self.stopped:
            raise _Stopped
        self.store.write_run(record)
        if launch.key and record["status"] == "ok" and record["error"] is None:
            self.store.write_key(launch.key, record["id"])
        with self.lock:
            self.records.append(record)
            self.on_end(record)

    def stop(self) -> None:
        """Kill all workers; no record is written for them."""
        self.stopped = True
        with self.lock:
            for process in self.processes:
                _kill(process)

    def _launch(self, launch: Launch) -> Record:
        started = time.perf_counter()
        log = self.store.folder / "logs" / f"{launch.record['id']}.txt"
        try:
            with (
                log.open("w", encoding="utf-8") as stream,
                stage_job(launch.platform, launch.worker, launch.job) as staged,
            ):
                process, answer, timed_out = self._communicate(staged, stream)
                if self.stopped:
                    raise _Stopped
        except (OSError, Unreachable) as error:
            return _cannot_start(launch, error)
        seconds = time.perf_counter() - started
        if not log.stat().st_size:
            log.unlink()
        return final_record(launch, answer, process.returncode, timed_out, self.timeout, seconds)

    def _communicate(
        self, staged: StagedJob, log: TextIO
    ) -> tuple[subprocess.Popen[str], _WorkerOutput, bool]:
        process = subprocess.Popen(
            staged.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        with self.lock:
            self.processes.add(process)
            if self.stopped:
                _kill(process)
        answer, timed_out = _communicate(process, staged.job.to_json(), self.timeout)
        with self.lock:
            self.processes.discard(process)
        return process, answer, timed_out


def _communicate(
    process: subprocess.Popen[str], job: str, timeout: float
) -> tuple[_WorkerOutput, bool]:
    """Hand over the job and listen until the worker ends; tell whether it had to be killed."""
    answer = _WorkerOutput()
    late = threading.Event()

    def kill() -> None:
        late.set()
        _kill(process)

    timer = threading.Timer(min(timeout, threading.TIMEOUT_MAX), kill)
    timer.daemon = True
    timer.start()
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(job)
            process.stdin.close()
        except OSError:
            pass  # It died before it read its job; its exit status tells.
        for line in process.stdout:
            _read_message(answer, line)
        process.wait()
    finally:
        timer.cancel()
        if process.stdout is not None:
            process.stdout.close()
    return answer, late.is_set() and answer.result is None


def _kill(process: subprocess.Popen[str]) -> None:
    """Kill a worker and whatever it has started, such as the Python of a script around it."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _read_message(answer: _WorkerOutput, line: str) -> None:
    """Take in one line; one cut off by a crash, or said by another program, is passed over."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return
    if not isinstance(message, dict):
        return
    answer.stage = str(message.get("stage", answer.stage))
    answer.known.update(_worker_fields(message.get("partial")))
    result = _worker_fields(message.get("result"))
    if "status" in result:
        answer.result = result


def _worker_fields(said: Any) -> Record:
    """Return what a worker says that is its to say: it may be a stranger's, on another machine."""
    if not isinstance(said, dict):
        return {}
    return {
        key: said[key]
        for key, types in WORKER_FIELDS.items()
        if isinstance(said.get(key, ...), types)
    }


def final_record(
    launch: Launch,
    answer: _WorkerOutput,
    status: int,
    timed_out: bool,
    timeout: float,
    seconds: float,
) -> Record:
    """Return the run's record from what the worker said and how it ended."""
    record = {**launch.record, **answer.known, "seconds": seconds}
    if answer.result is not None:
        record.update(answer.result)
    else:
        symptom, message = _failure(launch, answer, status, timed_out, timeout)
        error = {"stage": answer.stage, "symptom": symptom, "message": message}
        record.update(status="failed", error=error)
    resolved = record.get("facts", {}).get("settings", {})
    record["settings"] = {**launch.record["settings"], **resolved}
    return mark_emulated(record, launch.spec.unfaithful if launch.spec else ())


def _failure(
    launch: Launch, answer: _WorkerOutput, status: int, timed_out: bool, timeout: float
) -> tuple[str, str]:
    """Return the symptom and the sentence for a worker that ended without a result."""
    stage = answer.stage
    who = f"The worker of '{launch.job.backend}' on '{launch.platform.spec}'"
    if timed_out:
        late = f"{who} was stopped at the stage '{stage}' after {timeout:g} s."
        return "timeout", f"{late} Allow more with --timeout."
    number = -status if status < 0 else status - 128
    if status < 0 or number in {s.value for s in signal.Signals}:
        name = signal.Signals(number).name
        why = SIGNAL_EXPLANATIONS.get(name, "a signal ended it")
        if name == "SIGILL":
            why = _lacking(launch, answer.known.get("hardware", {}).get("flags", ())) or why
        return name, f"{who} died with {name} at the stage '{stage}': {why}."
    where = f"what it printed is in the store's logs/{launch.record['id']}.txt"
    what = f"ended with exit status {status} at the stage '{stage}' and gave no result"
    return f"exit {status}", f"{who} {what}; {where}."


def _lacking(launch: Launch, flags: Sequence[str]) -> str:
    """Return which instruction it may have been, from what is known of framework and processor."""
    needs = launch.spec.required_flags if launch.spec and flags else {}
    for flag, why in needs.items():
        if flag not in flags:
            return f"{why}, which this processor does not have"
    if "avx2" in flags and "fma" not in flags:
        return (
            "this processor has AVX2 without FMA, and few frameworks expect one without the other"
        )
    return ""


def _cannot_start(launch: Launch, error: OSError | Unreachable) -> Record:
    message = str(error)
    if isinstance(error, OSError):
        what = error.filename or launch.platform.command(launch.worker)[0]
        message = f"Cannot start '{what}': {error.strerror or error}."
    failure = {"stage": "start", "symptom": type(error).__name__, "message": message}
    return {**launch.record, "status": "failed", "error": failure}
