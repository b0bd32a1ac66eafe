"""What odd workers say and do: each ends as one failed run, in time, within bounds, alone."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from xbackend.execution.workers import channel, process
from xbackend.execution.workers.launcher import Launch, run_workers, signal_name
from xbackend.execution.workers.process import FAMILY
from xbackend.platforms.platform import Platform
from xbackend.store.records import read_run
from xbackend.store.store import Store
from xbackend.worker.job import Job

Record = dict[str, Any]
Odd = Callable[..., Record]

DIGEST = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
TENSOR = {"name": "y", "dtype": "float32", "shape": [2], "digest": DIGEST}
RESULT = {"input": "0", "outputs": [TENSOR], "taps": [], "taps_neutral": None, "seconds": 0.1}
SOUND = {"status": "ok", "error": None, "results": [], "facts": {}, "taps_neutral": None}
"""What a worker says whose run is sound, with no tensors."""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "store")
    store.create()
    return store


@pytest.fixture
def odd(store: Store, tmp_path: Path) -> Odd:
    """Run Python statements as a worker, beside a sound one, and return the odd one's record."""

    def launch(name: str, program: str) -> Launch:
        job = Job("fake", "fake:Adapter", {}, "", {}, (), "layers", str(store.folder), "")
        record = {
            "schema_version": 1, "id": name, "model": {"name": "m", "digest": "0" * 64},
            "backend": "fake", "backend_version": None, "precision": "float32", "repeat": 0,
            "settings": {"threads": 1}, "platform": "here", "hardware": {}, "software": {},
            "status": "failed", "error": None, "seconds": None, "taps_neutral": None,
            "layers": [], "results": [],
        }  # fmt: skip
        worker = tmp_path / f"{name}.py"
        worker.write_text(program)
        return Launch(record, job, Platform("here", python=sys.executable), worker)

    def run(program: str, timeout: float = 30.0) -> Record:
        sound = f"print({json.dumps(json.dumps({'result': SOUND}))})"
        launches = [launch("odd", f"import os, sys, time\n{program}\n"), launch("sound", sound)]
        records = run_workers(launches, store, 1, timeout, lambda each: None, lambda each: None)
        found = {record["id"]: record for record in records}
        assert found["sound"]["status"] == "ok"
        for path in store.run_files():
            read_run(store.read_run(path), path)
        return found["odd"]

    return run


def say(**message: Any) -> str:
    """Return a statement that writes a message."""
    return f"print({json.dumps(json.dumps(message))}, flush=True)"


@pytest.mark.parametrize("number", [signal.SIGRTMIN, 50, signal.SIGRTMAX, 33])
def test_a_signal_without_a_name_is_a_failed_run(odd: Odd, number: int) -> None:
    record = odd(f"os.kill(os.getpid(), {int(number)}); time.sleep(60)")
    name = signal_name(-int(number))
    assert (record["status"], record["error"]["symptom"]) == ("failed", name)
    assert str(int(number)) in name or name.startswith("SIGRT")


def result(**changes: Any) -> Record:
    """A message's `result` with one sample whose tensor is changed."""
    return {**SOUND, "results": [{**RESULT, "outputs": [{**TENSOR, **changes}]}]}


@pytest.mark.parametrize(
    ("told", "where"),
    [
        ({**SOUND, "results": 3}, "results"),
        ({**SOUND, "results": [None]}, "results.0"),
        ({**SOUND, "facts": []}, "facts"),
        ({**SOUND, "facts": {"settings": 3}}, "facts.settings"),
        ({**SOUND, "facts": {"settings": {"threads": "x"}}}, "facts.settings.threads"),
        ({**SOUND, "hardware": {"flags": 3}}, "hardware.flags"),
        ({**SOUND, "hardware": {"cores": {}}}, "hardware.cores"),
        ({**SOUND, "error": {"stage": 1, "symptom": "", "message": ""}}, "error.stage"),
        ({**SOUND, "error": "text"}, "error"),
        ({**SOUND, "status": "great"}, "status"),
        (result(dtype="object"), "results.0.outputs.0.dtype"),
        (result(dtype=None), "results.0.outputs.0.dtype"),
        (result(shape=[-1]), "results.0.outputs.0.shape.0"),
        (result(shape=[2**40, 2**40]), "results.0.outputs.0"),
        (result(shape="ab"), "results.0.outputs.0.shape"),
        (result(digest="../../../../dev/zero"), "results.0.outputs.0.digest"),
        (result(digest=["a"]), "results.0.outputs.0.digest"),
        (result(name="a\x1b[2Jb"), "results.0.outputs.0.name"),
        (result(name="a\nb"), "results.0.outputs.0.name"),
        (result(name={}), "results.0.outputs.0.name"),
        ({"results": []}, "status"),
    ],
)
@pytest.mark.parametrize("word", ["result", "partial"])
def test_what_no_worker_tells_is_a_failed_run_that_says_where(
    odd: Odd, told: Record, where: str, word: str
) -> None:
    if word == "partial" and where == "status" and "status" not in told:
        pytest.skip("A part need not have a status.")
    record = odd(say(**{word: told}))
    assert (record["status"], record["error"]["symptom"]) == ("failed", "malformed")
    assert where in record["error"]["message"]
    assert record["results"] == []


def test_a_value_that_is_nested_too_deep_is_a_failed_run(odd: Odd) -> None:
    text = '{"result": {"status": "ok", "facts": {"a": ' + "[" * 500 + "]" * 500 + "}}}"
    assert odd(f"print({text!r})")["error"]["symptom"] == "malformed"


def test_a_line_that_python_cannot_read_is_passed_over(odd: Odd) -> None:
    record = odd(f"print('[' * 200_000 + ']' * 200_000)\n{say(result=SOUND)}")
    assert record["status"] == "ok"


def test_what_is_not_a_workers_word_is_passed_over(odd: Odd) -> None:
    record = odd(f"{say(result={'status': 3}, more=1)}\n{say(results=3)}\n{say(result=SOUND)}")
    assert record["status"] == "ok"


def test_control_characters_in_a_message_are_kept_as_escapes(odd: Odd) -> None:
    error = {"stage": "run", "symptom": "X", "message": "\x1b[2Jgone"}
    record = odd(say(result={**SOUND, "status": "failed", "error": error}))
    assert record["error"]["message"] == "\\x1b[2Jgone"


def test_an_endless_line_is_a_flood_and_no_memory(
    odd: Odd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "LINE_LIMIT", 1 << 20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.monotonic()
    record = odd("while True:\n    os.write(1, b'a' * 65536)")
    assert (record["status"], record["error"]["symptom"]) == ("failed", "flood")
    assert "a line of more than 1 MiB" in record["error"]["message"]
    assert time.monotonic() - started < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10


def test_lines_without_end_are_a_flood(odd: Odd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "ANSWER_LIMIT", 4 << 20)
    record = odd("while True:\n    os.write(1, b'no message\\n' * 4096)")
    assert record["error"]["symptom"] == "flood"


def test_what_is_printed_without_end_is_cut_in_the_log(
    odd: Odd, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "LOG_LIMIT", 1 << 20)
    record = odd(f"for _ in range(400):\n    os.write(2, b'x' * 65536)\n{say(result=SOUND)}")
    assert record["status"] == "ok"
    log = store.folder / "logs" / "odd.txt"
    assert log.stat().st_size < (1 << 20) + 100
    assert log.read_text().endswith("[xbackend keeps no more than this]\n")


HIDING = """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(600)
    os._exit(0)
"""


def family(token: str = "") -> list[int]:
    """Return the processes that a worker of this process may have left."""
    mark = f"{FAMILY}={token}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark in path.read_bytes() and b"test_worker_process" in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def test_a_grandchild_that_keeps_the_pipe_neither_outlives_nor_delays(odd: Odd) -> None:
    started = time.monotonic()
    record = odd(f"{HIDING}\n{say(result=SOUND)}")
    assert record["status"] == "ok"
    assert time.monotonic() - started < 20
    assert family() == []


def test_the_time_holds_whatever_a_worker_has_started(odd: Odd) -> None:
    started = time.monotonic()
    record = odd(f"{HIDING}\ntime.sleep(600)", timeout=2.0)
    assert record["error"]["symptom"] == "timeout"
    assert time.monotonic() - started < 20
    assert family() == []


def test_a_worker_that_closes_its_pipes_and_stays_is_stopped(odd: Odd) -> None:
    record = odd("os.close(1); os.close(2); time.sleep(600)", timeout=2.0)
    assert record["error"]["symptom"] == "timeout"


def test_a_run_whose_objects_never_came_is_a_failed_run(odd: Odd) -> None:
    record = odd(say(result=result()))
    assert (record["status"], record["error"]["symptom"]) == ("failed", "missing-objects")
    assert DIGEST[:12] in record["error"]["message"]
    assert record["results"] == []


def test_an_object_of_another_size_than_its_tensor_did_not_come(odd: Odd, store: Store) -> None:
    path = store.object_path(DIGEST)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"abc")
    assert odd(say(result=result()))["error"]["symptom"] == "missing-objects"
    assert odd(say(result=result(dtype="int8", shape=[3])))["status"] == "ok"


def test_a_worker_that_never_reads_its_job_is_no_hindrance(odd: Odd) -> None:
    assert odd(f"os.close(0)\n{say(result=SOUND)}")["status"] == "ok"


def test_the_token_is_no_part_of_this_process() -> None:
    assert FAMILY not in os.environ
