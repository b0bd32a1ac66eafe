"""Starts workers, watches them, and turns whatever becomes of them into a run's record."""

from __future__ import annotations

import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xbackend.errors import StoreError
from xbackend.execution.workers.channel import LineReader, WorkerOutput
from xbackend.execution.workers.iterations import layers_with_iterations
from xbackend.execution.workers.process import WorkerEnd, WorkerProcess
from xbackend.execution.workers.staged_job import StagedJob, Unreachable
from xbackend.execution.workers.staging import stage_job
from xbackend.platforms.emulation_taint import mark_emulated
from xbackend.platforms.platform import Platform
from xbackend.store.escaping import readable
from xbackend.store.store import Store
from xbackend.store.upkeep.lock import in_use
from xbackend.worker.contract import BackendSpec
from xbackend.worker.job import Job

Record = dict[str, Any]

DOCKER_REFUSES = 125
"""The status of `docker run` where it started nothing."""
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
    SystemExit the workers are killed; what has ended is kept. Meanwhile nobody prunes the store.
    """
    with in_use(store):
        return _run_workers(launches, store, jobs, timeout, on_start, on_end)


def _run_workers(
    launches: Sequence[Launch],
    store: Store,
    jobs: int,
    timeout: float,
    on_start: Callable[[Launch], None],
    on_end: Callable[[Record], None],
) -> list[Record]:
    waiting = deque(launches)
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
        self.processes: set[WorkerProcess] = set()
        self.records: list[Record] = []
        self.error: BaseException | None = None

    def work(self, waiting: deque[Launch], over: threading.Event) -> None:
        """Take launches until none is left or the pool is stopped, and say when that is over."""
        try:
            self._work(waiting)
        finally:
            over.set()

    def _work(self, waiting: deque[Launch]) -> None:
        while not self.stopped:
            try:
                launch = waiting.popleft()
            except IndexError:
                return
            try:
                self._one(launch)
            except _Stopped:
                return
            except BaseException as error:  # an interruption too: the main thread raises it again
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
                process.kill()

    def _launch(self, launch: Launch) -> Record:
        """Run one worker; whatever goes wrong with it is its record, and never the others' end."""
        try:
            return self._attempt(launch)
        except (OSError, Unreachable) as error:
            return _cannot_start(launch, error)
        except (_Stopped, StoreError):
            raise
        except Exception as error:  # of a stranger's answer anything may come
            import traceback

            traceback.print_exc()
            message = f"What the worker said could not be kept ({type(error).__name__}: {error})."
            return _failed(launch, "start", type(error).__name__, readable(message)[:500])

    def _attempt(self, launch: Launch) -> Record:
        started = time.perf_counter()
        log = self.store.folder / "logs" / f"{launch.record['id']}.txt"
        reader = LineReader()
        with (
            log.open("wb", buffering=0) as stream,
            stage_job(launch.platform, launch.worker, launch.job, self.timeout) as staged,
        ):
            process = WorkerProcess(staged.command)
            with self.lock:
                self.processes.add(process)
                if self.stopped:
                    process.kill()
            job = staged.job.to_json().encode()
            end = process.converse(job, self.timeout, reader.feed, stream)
            with self.lock:
                self.processes.discard(process)
            if self.stopped:
                raise _Stopped
            seconds = time.perf_counter() - started
            record = final_record(launch, reader.output, end, self.timeout, seconds)
            _fetch(staged, record)
        if not log.stat().st_size:
            log.unlink()
        return with_objects(record, launch, self.store)


def final_record(
    launch: Launch, answer: WorkerOutput, end: WorkerEnd, timeout: float, seconds: float
) -> Record:
    """Return the run's record from what the worker said and how it ended."""
    record = {**launch.record, **answer.known, "seconds": seconds}
    if answer.result is not None and not answer.fault and not end.flood:
        record.update(answer.result)
        record["layers"] = layers_with_iterations(record["layers"], record["results"])
    else:
        symptom, message = _failure(launch, answer, end, timeout)
        error = {"stage": answer.stage, "symptom": symptom, "message": message}
        record.update(status="failed", error=error)
    resolved = record.get("facts", {}).get("settings", {})
    record["settings"] = {**launch.record["settings"], **resolved}
    return mark_emulated(record, launch.spec.unfaithful if launch.spec else ())


def expected_objects(results: Sequence[Record]) -> dict[str, int]:
    """Return the digests of all tensors of a run, and how many bytes the object of each has."""
    from xbackend.store.schema.record import byte_count, tensors

    return {str(row["digest"]): byte_count(row) for row in tensors(results)}


def _fetch(staged: StagedJob, record: Record) -> None:
    """Bring a run's objects here; a run that has failed already keeps its own reason."""
    try:
        staged.fetch(expected_objects(record.get("results", [])))
    except Unreachable:
        if record["status"] == "ok":
            raise


def with_objects(record: Record, launch: Launch, store: Store) -> Record:
    """Return a run's record as it is if all its objects are in the store, as failed otherwise."""
    missing = [
        digest
        for digest, size in expected_objects(record.get("results", [])).items()
        if not _has_object(store, digest, size)
    ]
    if record["status"] != "ok" or not missing:
        return record
    message = (
        f"{len(missing)} of the tensors that the worker of '{launch.job.backend}' on "
        f"'{launch.platform.spec}' told of did not come, such as {missing[0][:12]}: run it again."
    )
    error = {"stage": "end", "symptom": "missing-objects", "message": message}
    return {**record, "status": "failed", "error": error, "results": []}


def _has_object(store: Store, digest: str, size: int) -> bool:
    try:
        return store.object_path(digest).lstat().st_size == size
    except OSError:
        return False


def _failed(launch: Launch, stage: str, symptom: str, message: str) -> Record:
    error = {"stage": stage, "symptom": symptom, "message": message}
    return {**launch.record, "status": "failed", "error": error}


def _failure(
    launch: Launch, answer: WorkerOutput, end: WorkerEnd, timeout: float
) -> tuple[str, str]:
    """Return the symptom and the sentence for a worker that ended without a sound result."""
    stage = answer.stage
    who = f"The worker of '{launch.job.backend}' on '{launch.platform.spec}'"
    if end.flood:
        return "flood", f"{who} was stopped at the stage '{stage}': it wrote {end.flood}."
    if answer.fault:
        return "malformed", f"{who} told what no worker tells: {answer.fault}."
    if end.late:
        late = f"{who} was stopped at the stage '{stage}' after {timeout:g} s."
        return "timeout", f"{late} Allow more with --timeout."
    name = signal_name(end.status)
    if name:
        why = SIGNAL_EXPLANATIONS.get(name, "a signal ended it")
        if name == "SIGILL":
            why = _lacking(launch, answer.known.get("hardware", {}).get("flags", ())) or why
        return name, f"{who} died with {name} at the stage '{stage}': {why}."
    where = f"what it printed is in the store's logs/{launch.record['id']}.txt"
    if end.status == DOCKER_REFUSES and launch.platform.transport.startswith("docker:"):
        cure = "See that its service runs and that the image is there"
        return f"exit {end.status}", f"{who} was not started by docker. {cure}; {where}."
    what = f"ended with exit status {end.status} at the stage '{stage}' and gave no result"
    return f"exit {end.status}", f"{who} {what}; {where}."


def signal_name(status: int) -> str:
    """Return the signal that ended a process, as its status or that of a shell around it tells.

    >>> signal_name(-11), signal_name(139), signal_name(-40), signal_name(77)
    ('SIGSEGV', 'SIGSEGV', 'signal 40', '')
    """
    number = -status if status < 0 else status - 128
    if number in {each.value for each in signal.Signals}:
        return signal.Signals(number).name
    return f"signal {number}" if status < 0 else ""


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
    return _failed(launch, "start", type(error).__name__, message)
