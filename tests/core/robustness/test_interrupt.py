"""Ctrl-C at awkward moments, and a hangup that nobody is to hear."""

from __future__ import annotations

import signal
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

START = "import sys; from xbackend.commands.start import main; sys.exit(main())"
INTERRUPTED = """
import builtins, os, signal, sys
within, real = {name!r}, builtins.__import__

def interrupt(name, *rest, **more):
    if name == within and "xbackend.commands.start" in sys.modules:
        builtins.__import__ = real
        os.kill(os.getpid(), signal.SIGINT)
    return real(name, *rest, **more)

builtins.__import__ = interrupt
sys.argv = ["xbackend", "backends"]
"""


def test_the_command_begins_where_an_interruption_is_heard() -> None:
    (script,) = entry_points(group="console_scripts", name="xbackend")
    assert script.value == "xbackend.commands.start:main"


@pytest.mark.parametrize(
    ("name", "statuses"),
    [
        ("xbackend.commands.main", {-signal.SIGINT}),
        ("argparse", {-signal.SIGINT}),
        ("xbackend.errors", {130}),
        ("xbackend.plugins", {130}),
    ],
)
def test_ctrl_c_while_python_is_being_read_leaves_no_traceback(
    environment: dict[str, str], tmp_path: Path, name: str, statuses: set[int]
) -> None:
    program = INTERRUPTED.format(name=name) + START
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=60
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode in statuses, done


def test_under_nohup_a_hangup_ends_nothing(environment: dict[str, str], tmp_path: Path) -> None:
    program = INTERRUPTED.replace("SIGINT", "SIGHUP").format(name="xbackend.plugins") + START
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    assert done.returncode == 0, done
    assert "good" in done.stdout
