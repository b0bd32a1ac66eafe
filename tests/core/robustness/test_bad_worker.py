"""Workers that crash, hang, lie or are killed: a recorded run, the others kept, exit status 3."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


def records(store: Path) -> dict[str, dict[str, Any]]:
    found = [json.loads(path.read_text()) for path in sorted((store / "runs").iterdir())]
    return {record["backend"]: record for record in found}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def both(xbackend, sound: Path, store: Path):
    """Run the good and the bad backend; the good one must come to no harm."""

    def run(does: str, at: str = "run", status: int = 3, **options: Any) -> dict[str, Any]:
        settings = ["--set", f"bad.does={does}", "--set", f"bad.at={at}"]
        arguments = [*settings, *options.pop("arguments", ())]
        done = xbackend("run", sound, "--backends", "good,bad", *arguments, **options)
        assert done.status == status, done
        assert "Traceback" not in done.out + done.err, done.err
        kept = records(store)
        assert kept["good"]["status"] == "ok"
        assert kept["good"]["results"][0]["outputs"]
        compared = xbackend("compare", "--format", "json")
        assert compared.status == 0, compared
        shown = {run["backend"]: run["status"] for run in json.loads(compared.out)["runs"]}
        assert shown == {word: record["status"] for word, record in kept.items()}
        told = [line for line in done.err.splitlines() if "bad" in line.split(":")[0]]
        assert len(told) == 1, done.err
        return kept["bad"]

    return run


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("SIGSEGV", "prepare"),
        ("SIGSEGV", "run"),
        ("SIGSEGV", "tap"),
        ("SIGKILL", "run"),
        ("SIGILL", "prepare"),
        ("SIGABRT", "run"),
        ("SIGTERM", "tap"),
    ],
)
def test_a_worker_that_dies_by_a_signal(both, name: str, stage: str) -> None:
    record = both(f"signal={name}", stage)
    stages = {"prepare": "prepare", "run": "inference", "tap": "taps"}
    assert record["status"] == "failed"
    assert record["error"]["symptom"] == name
    assert record["error"]["stage"] == stages[stage]
    assert name in record["error"]["message"]


@pytest.mark.parametrize("status", [0, 77])
def test_a_worker_that_leaves_without_a_result(both, status: int) -> None:
    record = both(f"exit={status}")
    assert record["status"] == "failed"
    assert f"exit status {status}" in record["error"]["message"]


@pytest.mark.parametrize("does", ["sys.exit=3", "interrupt"])
def test_a_framework_that_asks_python_to_leave(both, does: str) -> None:
    record = both(does)
    assert record["status"] == "failed"
    assert record["error"]["message"]


@pytest.mark.parametrize("does", ["hang", "spin"])
def test_a_worker_that_hangs_is_killed_in_time_and_says_how_to_allow_more(both, does: str) -> None:
    started = time.monotonic()
    record = both(does, arguments=["--timeout", "3"])
    assert time.monotonic() - started < 20
    assert record["status"] == "failed"
    assert record["error"]["symptom"] == "timeout"
    assert "--timeout" in record["error"]["message"]


def test_an_exception_of_many_lines_is_one_sentence(both) -> None:
    record = both("raise=first line|second line|third")
    assert record["error"]["symptom"] == "RuntimeError"
    assert "first line" in record["error"]["message"]
    assert "\n" not in record["error"]["message"]


def test_an_exception_that_says_nothing_is_named(both) -> None:
    assert "RuntimeError" in both("raise=")["error"]["message"]


def test_a_huge_message_is_cut(both) -> None:
    assert len(both("raise=" + "x" * 50_000)["error"]["message"]) < 2000


def test_a_worker_without_memory_is_a_failed_run(both) -> None:
    assert both("memory")["error"]["symptom"] == "MemoryError"


def test_endless_recursion_is_a_failed_run(both) -> None:
    record = both("recurse")
    assert record["error"]["symptom"] in {"RecursionError", "SIGSEGV"}


def test_a_framework_that_went_missing_says_what_to_install(both) -> None:
    record = both("import", "prepare")
    assert record["error"]["symptom"] == "not-installed"
    assert "pip install 'xbackend[bad]'" in record["error"]["message"]


def test_what_a_backend_cannot_do_is_skipped_and_no_failure(both) -> None:
    record = both("unsupported=This fake cannot do it.", "prepare", status=0)
    assert record["status"] == "skipped"
    assert record["error"]["message"] == "This fake cannot do it."


def test_a_framework_that_floods_its_output_changes_nothing(both) -> None:
    record = both("chatter", "run", status=0)
    assert record["status"] == "ok"
    assert record["results"][0]["outputs"]


@pytest.mark.parametrize("does", ["raise=no taps", "unsupported=no taps", "memory"])
def test_outputs_survive_taps_that_fail(both, does: str) -> None:
    record = both(does, "tap", status=0)
    assert record["status"] == "ok"
    assert record["results"][0]["outputs"]
    assert record["error"]["stage"] == "taps"


def test_outputs_survive_facts_that_fail(both) -> None:
    record = both("raise=no facts", "facts")
    assert record["status"] == "failed"
    assert record["error"]["message"] == "no facts"


def test_an_interpreter_that_is_no_python_is_a_failed_run(
    xbackend, sound: Path, store: Path
) -> None:
    done = xbackend("run", sound, "--backends", "good", "--platform", "python:/bin/true")
    assert done.status == 3, done
    assert "Traceback" not in done.err
    assert records(store)["good"]["status"] == "failed"


def test_an_interpreter_that_is_no_program_is_a_failed_run(
    xbackend, sound: Path, store: Path, tmp_path: Path
) -> None:
    program = tmp_path / "python"
    program.write_bytes(b"\x7fELF not really")
    program.chmod(0o755)
    done = xbackend("run", sound, "--backends", "good", "--platform", f"python:{program}")
    assert done.status == 3, done
    assert "Traceback" not in done.err
    assert str(program) in records(store)["good"]["error"]["message"]


class Running:
    """A command that is under way, with a good run done and a bad one that hangs."""

    def __init__(self, sound: Path, environment: dict[str, str], folder: Path) -> None:
        program = "import sys; from xbackend.commands.main import main; sys.exit(main())"
        words = ["run", str(sound), "--backends", "good,bad", "--jobs", "1"]
        settings = ["--set", "bad.does=hang", "--set", "bad.at=run"]
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, *words, *settings],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=folder,
            preexec_fn=_hear_hangups,
        )
        self.runs = folder / "store" / "runs"
        limit = time.monotonic() + 60
        while not self._is_hanging() and time.monotonic() < limit:
            time.sleep(0.05)

    def _is_hanging(self) -> bool:
        logs = self.runs.parent / "logs"
        return any("hanging now" in path.read_text() for path in logs.glob("*bad*"))

    def workers(self) -> list[int]:
        """Return the process ids of the command's workers."""
        everything = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
        return [pid for pid in everything if _stat(pid)[1:2] == [str(self.process.pid)]]


@pytest.fixture
def running(sound: Path, environment: dict[str, str], tmp_path: Path) -> Iterator[Running]:
    command = Running(sound, environment, tmp_path)
    workers = command.workers()
    assert len(workers) == 1
    yield command
    for pid in filter(_runs, workers):
        os.kill(pid, signal.SIGKILL)
    command.process.kill()
    command.process.wait()


def test_an_interrupted_run_keeps_what_is_done_and_ends_its_workers(
    running: Running, xbackend, store: Path
) -> None:
    workers = running.workers()
    running.process.send_signal(signal.SIGINT)
    out, err = running.process.communicate(timeout=20)
    assert running.process.returncode == 130
    assert "Traceback" not in out + err
    assert "what was done is kept" in err
    assert records(store).keys() == {"good"}
    assert xbackend("compare").status == 0
    time.sleep(0.5)
    assert [pid for pid in workers if _runs(pid)] == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_terminated_run_ends_its_workers_and_keeps_what_is_done(
    running: Running, xbackend, store: Path, number: signal.Signals
) -> None:
    workers = running.workers()
    running.process.send_signal(number)
    out, err = running.process.communicate(timeout=20)
    assert running.process.returncode in (-number, 128 + number)
    assert "Traceback" not in out + err
    assert records(store).keys() == {"good"}
    assert xbackend("compare").status == 0
    time.sleep(0.5)
    assert [pid for pid in workers if _runs(pid)] == []


def test_a_killed_run_leaves_nothing_half_written(
    running: Running, xbackend, store: Path, sound: Path
) -> None:
    workers = running.workers()
    running.process.kill()
    running.process.communicate(timeout=20)
    assert records(store).keys() == {"good"}
    assert xbackend("compare").status == 0
    for pid in workers:
        if _runs(pid):
            os.kill(pid, signal.SIGKILL)
    done = xbackend("run", sound, "--backends", "good")
    assert done.status == 0, done


def _hear_hangups() -> None:
    """Undo what nohup did to the tests themselves: a signal that is ignored is inherited so."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def _runs(pid: int) -> bool:
    return _stat(pid)[:1] not in ([], ["Z"])


def _stat(pid: int) -> list[str]:
    """Return a process's state, its parent's id and more; nothing if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
