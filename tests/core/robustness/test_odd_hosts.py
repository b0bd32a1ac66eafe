"""Hosts that greet, cut what they send, or send without end: one failed run at most, in time."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

SSH = '''#!{python}
"""Does what `ssh HOST SCRIPT` would on this machine, as a host of a given manner."""
import os, subprocess, sys
manner, script = {manner!r}, sys.argv[-1]
sends = "tar cf -" in script
def say(data):
    os.write(1, data)
if manner == "greets":
    say(b"Welcome to the server\\n\\n* 3 updates *\\n")
if manner == "greets without end of line":
    say(b"Welcome to the server")
if manner == "greets for ever":
    while True:
        say(b"Welcome to the server\\n" * 1000)
if sends and manner == "says nothing":
    sys.exit(0)
if sends and manner in ("cuts", "endless", "lies", "sends zeros"):
    done = subprocess.run(["/bin/sh", "-c", script], stdin=0, stdout=subprocess.PIPE)
    start = done.stdout.index(b"\\n", 1) + 1  # after the mark
    data = done.stdout
    if manner == "cuts":
        say(data[: start + 700])
    elif manner == "lies":
        body = bytearray(data)
        body[start + 512] ^= 1  # the first byte of the first object
        say(bytes(body))
    elif manner == "endless":
        say(data[:-1024])
        while True:
            say(data[start:-10240] or b"x" * 1024)
    else:
        say(data[:start])
        while True:
            say(bytes(1 << 16))
    sys.exit(0)
if sends and manner == "hangs":
    import time
    time.sleep(600)
sys.exit(subprocess.run(["/bin/sh", "-c", script], stdin=0).returncode)
'''


@pytest.fixture
def over_ssh(xbackend, sound: Path, tmp_path: Path):
    """Run the good backend here and on a host of a manner, and return the host's record."""

    def run(manner: str, timeout: int = 60) -> dict[str, Any]:
        program = tmp_path / "ssh.py"
        program.write_text(SSH.format(python=sys.executable, manner=manner))
        program.chmod(0o755)
        platform = f"ssh:host+python:{sys.executable}"
        options = ["--platform", "native", "--platform", platform, "--timeout", str(timeout)]
        done = xbackend(
            "run", sound, "--backends", "good", *options, env={"XBACKEND_SSH": str(program)}
        )
        assert "Traceback" not in done.out + done.err, done
        texts = [path.read_text() for path in (tmp_path / "store" / "runs").iterdir()]
        found = {record["platform"]: record for record in map(json.loads, texts)}
        assert found["native"]["status"] == "ok"
        assert xbackend("compare").status == 0
        assert xbackend("store", "check").status == 0
        remote: dict[str, Any] = found[platform]
        return remote

    return run


@pytest.mark.parametrize("manner", ["sound", "greets", "greets without end of line"])
def test_a_host_that_greets_loses_nothing(over_ssh, manner: str) -> None:
    record = over_ssh(manner)
    assert record["status"] == "ok", record["error"]
    assert record["hardware"]["machine"]
    assert record["results"][0]["outputs"]


@pytest.mark.parametrize("manner", ["cuts", "endless", "lies", "sends zeros", "says nothing"])
def test_what_a_host_sends_is_kept_only_if_it_is_whole(over_ssh, manner: str) -> None:
    started = time.monotonic()
    record = over_ssh(manner)
    assert time.monotonic() - started < 50
    if manner != "endless":  # which sends all that is wanted before it goes on
        assert record["status"] == "failed"
        assert record["results"] == []


@pytest.mark.parametrize("manner", ["hangs", "greets for ever"])
def test_a_host_that_does_not_end_is_left_in_time(over_ssh, manner: str) -> None:
    started = time.monotonic()
    record = over_ssh(manner, timeout=3)
    assert time.monotonic() - started < 50
    assert record["status"] == "failed"
