"""Odd files and words through every door, for seconds; `python -m tests.fuzz` goes on for hours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CASES = 150
"""For each door; with the same seed it is the same ones each time."""


def fuzz(root: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the program that sends odd input through doors, as one types it."""
    command = [sys.executable, "-m", "tests.fuzz", "--engine", "own", "--seed", "7"]
    command += ["--findings", str(folder / "findings"), *options]
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    return subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, timeout=600
    )


def test_every_door_gives_a_value_or_one_sentence(root: Path, tmp_path: Path) -> None:
    done = fuzz(root, tmp_path, "--cases", str(CASES), "--minutes", "9")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) >= 16
    for line in lines:
        assert int(line.split()[1]) >= CASES, line
        assert line.endswith(": nothing"), line


HARNESS = """
from pathlib import Path
from tests.fuzz.door import Door, texts
from tests.fuzz.mutate import change_text
from tests.fuzz.watch import watch
import os, time
def enter(data, folder):
    if data.startswith(b"a"):
        DOES
door = Door("bad", "bad", enter, texts("b"), change_text(("a",)))
print(watch(door, 12, 1, "own", Path("found"), 0.1, 100).findings)
"""


@pytest.mark.parametrize(
    ("does", "named"),
    [
        ("raise KeyError(data)", "KeyError"),
        ("os.kill(os.getpid(), 11)", "SIGSEGV"),
        ("exec('while True: pass')", "TooSlowError"),
        ("time.sleep(1000)", "SIGXCPU"),
        ("folder.joinpath('x').write_bytes(b'x' * (400 << 20))", "TooLargeError"),
        ("bytearray(3 << 30)", "MemoryError"),
        ("from xbackend.errors import UsageError; raise UsageError('No.')", "BadSentenceError"),
    ],
)
def test_what_goes_wrong_at_a_door_is_found_and_its_input_is_kept(
    root: Path, tmp_path: Path, does: str, named: str
) -> None:
    program = f"import sys; sys.path.append({str(root)!r})\n" + HARNESS.replace("DOES", does)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert named in done.stdout, done.stdout + done.stderr
    kept = [path.read_bytes() for path in (tmp_path / "found" / "bad").glob("*.input")]
    assert {data[:1] for data in kept} == {b"a"}
