"""One process that sends case after case through a door, by atheris or by the own mutators."""

from __future__ import annotations

import hashlib
import importlib
import os
import random
import resource
import signal
import struct
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from mmap import mmap
from pathlib import Path
from typing import Any

from .door import Door, judged
from .mutate import LARGEST, change_bytes

HEAD = struct.Struct("<QQdI")
"""Cases done, findings, when the present case began (0 for none), bytes of it."""
SHARED = HEAD.size + 2 * LARGEST
GROWTH = 256 << 20
"""Bytes by which a case may raise the memory of the process."""
ROOM = {"own": 1 << 30, "atheris": 6 << 30}
"""Bytes of private memory that the process may have beyond what it has when it begins; libFuzzer
keeps a corpus of its own in it."""
KEPT = 400
"""Inputs with an outcome of their own that are mutated further."""


class TooSlowError(BaseException):
    """A case took more seconds of the processor than it may; no `except Exception` stops it."""


class TooLargeError(BaseException):
    """A case took more memory than it may."""


@dataclass
class Driver:
    """The state of one process: what it has seen, and where it tells it."""

    door: Door
    shared: mmap
    findings: Path
    slow: float
    """Seconds of the processor that a case may take."""
    folder: Path
    outcomes: dict[str, int] = field(default_factory=dict)
    corpus: list[bytes] = field(default_factory=list)
    done: int = 0
    found: int = 0
    own: int = 0
    """How many of the corpus are the door's own, in front."""
    limited: bool = False
    """Whether time and memory are watched: not before all that is needed was imported."""

    def case(self, data: bytes) -> None:
        """Send one case through the door; what is wrong is written down, and the next may come."""
        data = data[: 2 * LARGEST]
        self.tell(time.time(), data)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        signal.setitimer(signal.ITIMER_PROF, self.slow if self.limited else 0)
        try:
            outcome = judged(self.door, data, self.folder)
            self.note(outcome, data)
        except BaseException as error:
            signal.setitimer(signal.ITIMER_PROF, 0)
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            self.write(error, data)
        signal.setitimer(signal.ITIMER_PROF, 0)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if self.limited and (after - before) << 10 > GROWTH:
            self.write(TooLargeError(f"{(after - before) >> 10} MiB more"), data)
        self.done += 1
        self.tell(0.0, b"")

    def tell(self, began: float, data: bytes) -> None:
        """Tell the process that watches."""
        self.shared[HEAD.size : HEAD.size + len(data)] = data
        self.shared[: HEAD.size] = HEAD.pack(self.done, self.found, began, len(data))

    def note(self, outcome: str, data: bytes) -> None:
        """Keep an input whose outcome is new, to be mutated further."""
        seen = self.outcomes.get(outcome, 0)
        self.outcomes[outcome] = seen + 1
        if seen < 3 and len(self.corpus) < self.own + KEPT and len(data) < LARGEST // 4:
            self.corpus.append(data)

    def write(self, error: BaseException, data: bytes) -> None:
        """Write down a finding once for each place of the program that it comes from."""
        name = f"{type(error).__name__}-{place_of(error)}"
        path = self.findings / self.door.name / name
        if path.with_suffix(".input").exists():
            return
        self.found += 1
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".input").write_bytes(data)
        lines = traceback.format_exception(error)
        path.with_suffix(".txt").write_text("".join(lines), errors="backslashreplace")


def place_of(error: BaseException) -> str:
    """Return a short name of the innermost place in xbackend that an error came through."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "xbackend" in f.filename or "converters" in f.filename]
    last = (own or frames or [None])[-1]  # type: ignore[list-item]
    text = "unknown" if last is None else f"{Path(last.filename).stem}.{last.name}.{last.lineno}"
    said = hashlib.sha256(str(error)[:24].encode("utf-8", "replace")).hexdigest()[:4]
    return f"{text.replace('<', '').replace('>', '')}-{said}"


def drive(driver: Driver, seed: str, engine: str, cases: int) -> None:
    """Send cases through a door until the process is ended, or so many if there is a number."""
    warnings.simplefilter("ignore")
    with _instrumented(engine):
        _import()
    driver.door.prepare(driver.folder)
    driver.corpus = [bytes(each) for each in driver.door.corpus()]
    driver.own = len(driver.corpus)
    driver.done, driver.found, _, _ = HEAD.unpack(driver.shared[: HEAD.size])
    for data in driver.corpus[:]:
        driver.case(data)  # which imports all that it needs
    _limit(ROOM[engine])
    driver.limited = True
    if engine == "atheris":
        _by_atheris(driver, seed, driver.folder)
    else:
        _by_mutators(driver, random.Random(seed), cases)


def scratch_folder() -> tempfile.TemporaryDirectory[str]:
    """Return a folder, in memory if that can be, that goes with whoever asked for it."""
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    return tempfile.TemporaryDirectory(prefix="fuzz-", dir=place)


def _import() -> None:
    """Import what is to be watched by atheris, where that watches."""
    for name in (
        "xbackend.store.index", "xbackend.execution.workers.launcher", "xbackend.plugins.registry",
        "xbackend.preparation.numpy_file", "xbackend.preparation.inputs",
        "xbackend.converters.keras.safety", "xbackend.converters.tflite.file",
        "xbackend.converters.torch.pt2_archive", "xbackend.converters.onnx_to_graph",
        "xbackend.converters.keras.savedmodel_safety",
        "xbackend.converters.importers.unannticipated",
        "xbackend.platforms.parse", "xbackend.comparison.compare",
    ):  # fmt: skip
        importlib.import_module(name)


def _instrumented(engine: str) -> Any:
    if engine != "atheris":
        import contextlib

        return contextlib.nullcontext()
    import atheris  # type: ignore[import-not-found]

    return atheris.instrument_imports(include=["xbackend"])


def _limit(room: int) -> None:
    """Let a case that takes too much memory fail, and one that takes too long."""

    def stop(number: int, frame: object) -> None:
        raise TooSlowError(f"more than the seconds allowed, at {frame}")

    signal.signal(signal.SIGPROF, stop)
    used = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (used + room, hard))


def _by_mutators(driver: Driver, chance: random.Random, cases: int) -> None:
    for _ in range(cases or 1 << 62):
        driver.case(mutated(driver, chance, chance.choice(driver.corpus)))


def mutated(driver: Driver, chance: random.Random, data: bytes) -> bytes:
    """Return a changed input; what a mutator cannot take is changed as bytes."""
    try:
        return driver.door.mutate(chance, data, driver.corpus)
    except Exception:  # of odd input a mutator may raise anything
        return change_bytes(chance, data, driver.corpus)


def _by_atheris(driver: Driver, seed: str, scratch: Path) -> None:
    """Let libFuzzer choose what to mutate by what it reaches; this does not return."""
    import atheris

    seeds = scratch / "corpus"
    seeds.mkdir()
    for place, data in enumerate(driver.corpus):
        (seeds / str(place)).write_bytes(data)

    def mutator(data: bytes, most: int, number: int) -> bytes:
        chance = random.Random(number)
        if chance.random() < 0.2:
            return bytes(atheris.Mutate(data, most))
        return mutated(driver, chance, data)[:most]

    number = int(hashlib.sha256(seed.encode()).hexdigest()[:7], 16)
    options = [f"-seed={number}", "-timeout=0", "-rss_limit_mb=0", "-handle_segv=0", "-verbosity=0"]
    options += [f"-max_len={LARGEST}", "-print_final_stats=0", "-handle_abrt=0", "-detect_leaks=0"]
    one: Callable[[bytes], None] = driver.case
    atheris.Setup(["fuzz", *options, str(seeds)], one, custom_mutator=mutator)
    atheris.Fuzz()
