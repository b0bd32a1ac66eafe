"""kill -9 at random moments, a disk that is full at every write, a clock that is set back.

A few of each in every run of the tests; XBACKEND_TEST_CHAOS=200 kills so often, and lets every
single write fail.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

KILLS = int(os.environ.get("XBACKEND_TEST_CHAOS", "12"))
BYTES = {"float32": 4, "float64": 8, "int64": 8}
PROGRAM = "import sys; from xbackend.commands.start import main; sys.exit(main())"
PUBLISHED = {
    "prediction": {"bytes": "AAAAAAAAAAAAAAAA", "dtype": "float32", "shape": [3]},
    "model_type": "cifar10_small", "memory": {"total": 1 << 33}, "cpu_info": {"count": 2},
}  # fmt: skip

OPERATIONS: dict[str, list[str]] = {
    "run": ["run", "model.onnx", "--backends", "good,bad", "--repeats", "2"],
    "compare": ["compare"],
    "import": ["import", "unannticipated", "study"],
    "mitigate": ["mitigate", "model.onnx", "--backends", "good,bad", "--set", "bad.does=up=y"],
    "reduce": ["reduce", "--output", "reduced"],
    "check": ["store", "check"],
}
"""What is killed, in turn."""


def sound_store(folder: Path) -> int:
    """Look at a store with nothing of the project: records parse, objects hold what they promise.

    Returns the number of records.
    """
    count = 0
    for path in [p for p in folder.rglob("*") if p.is_file() and not p.name.endswith(".tmp")]:
        if path.parent.parent.name == "objects":
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            assert digest == path.parent.name + path.name, path
        if path.parent.name == "runs":
            record = json.loads(path.read_bytes())
            assert record["id"] == path.stem
            for result in record["results"]:
                for row in (*result["outputs"], *result["taps"]):
                    name = row["digest"]
                    held = folder / "objects" / name[:2] / name[2:]
                    assert held.stat().st_size == BYTES[row["dtype"]] * math.prod(row["shape"])
            count += 1
    return count


@pytest.fixture
def place(tmp_path: Path, sound: Path, environment: dict[str, str]) -> Path:
    """A folder with a model, a study and a store in which something differs."""
    (tmp_path / "model.onnx").write_bytes(sound.read_bytes())
    study = tmp_path / "study" / "race_conditions"
    study.mkdir(parents=True)
    for number in range(1, 9):
        (study / f"amd-rome-{number}.json").write_text(json.dumps(PUBLISHED))
    assert start(OPERATIONS["run"], tmp_path, environment).wait(120) == 0
    return tmp_path


def start(words: list[str], folder: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start a command in a group of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words], cwd=folder, env=environment,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def test_a_store_is_sound_whenever_a_command_was_killed(
    place: Path, environment: dict[str, str], xbackend: Any
) -> None:
    chance = random.Random(11)
    store, took = place / "store", dict.fromkeys(OPERATIONS, 4.0)
    before = sound_store(store)
    for number in range(KILLS):
        name = list(OPERATIONS)[number % len(OPERATIONS)]
        began = time.monotonic()
        process = start(OPERATIONS[name], place, environment)
        try:
            process.wait(chance.uniform(0.1, 1.0) * took[name])
            took[name] = time.monotonic() - began
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        count = sound_store(store)
        assert count >= before, name
        before = count
    checked = xbackend("store", "check", "--json")
    assert json.loads(checked.out)["faults"] == [], checked.out
    assert xbackend("compare").status == 0
    assert start(OPERATIONS["run"], place, environment).wait(120) == 0
    assert sound_store(store) >= before


FULL = '''
import builtins, errno, os, sys
store, left = os.path.abspath(sys.argv[1]), int(sys.argv[2])
real = {name: getattr(os, name) for name in ("replace", "rename", "mkdir", "fsync", "open")}
opened = builtins.open

def one(path):
    """Count a write of this process to the store, and let it fail where its number has come."""
    global left
    if isinstance(path, int):
        path = os.readlink(f"/proc/self/fd/{path}")
    if not os.path.abspath(os.fspath(path)).startswith(store):
        return
    left -= 1
    if left == 0:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(path))

def writing(path, mode="r", *rest, **more):
    if not isinstance(path, int) and set(mode) & set("wxa+"):
        one(path)
    return opened(path, mode, *rest, **more)

def guarded(name):
    def call(path, *rest, **more):
        if name != "open" or rest[0] & (os.O_WRONLY | os.O_RDWR):
            one(path)
        return real[name](path, *rest, **more)
    return call

builtins.open = writing
import io
io.open = writing
for name in real:
    setattr(os, name, guarded(name))
from xbackend.commands.main import main
status = main(sys.argv[3:])
print("writes left:", left, file=sys.stderr)
sys.exit(status)
'''


def full_at(number: int, folder: Path, environment: dict[str, str]) -> Any:
    """Run the fakes anew with a disk on which the write of that number finds no room."""
    words = [*OPERATIONS["run"], "--set", f"bad.depth={number + 10}"]
    command = [sys.executable, "-c", FULL, str(folder / "store"), str(number), *words]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )


def test_whichever_write_finds_the_disk_full_the_command_says_so_and_the_store_is_sound(
    place: Path, environment: dict[str, str]
) -> None:
    writes = 10_000 - int(full_at(10_000, place, environment).stderr.split()[-1])
    assert writes > 20
    chosen = range(1, writes + 1)
    if KILLS < 200:
        chosen = sorted(random.Random(5).sample(chosen, 6))
    for number in chosen:
        before = sound_store(place / "store")
        done = full_at(number, place, environment)
        assert "Traceback" not in done.stderr, (number, done.stderr)
        assert done.returncode in (0, 3), (number, done)
        if done.returncode:
            assert "No space left" in done.stderr, (number, done.stderr)
        assert sound_store(place / "store") >= before


BACK = """
import sys, time
real, back = time.time, float(sys.argv.pop(1))
time.time = lambda: real() - back
nanoseconds = time.time_ns
time.time_ns = lambda: nanoseconds() - int(back * 1e9)
gmtime = time.gmtime
time.gmtime = lambda seconds=None: gmtime(time.time() if seconds is None else seconds)
from xbackend.commands.main import main
sys.exit(main())
"""


def test_a_clock_that_is_set_back_or_far_ahead_loses_no_run(
    place: Path, environment: dict[str, str], xbackend: Any
) -> None:
    before = sound_store(place / "store")
    for back in (86400.0 * 400, -86400.0 * 400):
        words = [*OPERATIONS["run"], "--set", f"bad.depth={int(abs(back) + (back > 0))}"]
        command = [sys.executable, "-c", BACK, str(back), *words]
        done = subprocess.run(command, cwd=place, env=environment, capture_output=True, timeout=120)
        assert done.returncode == 0, done.stderr
    after = sound_store(place / "store")
    assert after > before
    for _ in range(2):  # without the index, then with what of it is kept
        compared = json.loads(xbackend("compare", "--format", "json").out)
        assert len(compared["runs"]) == after
    for path in (place / "store" / "runs").glob("*.json"):
        os.utime(path, (4e9, 4e9))  # in the year 2096
    assert len(json.loads(xbackend("compare", "--format", "json").out)["runs"]) == after
