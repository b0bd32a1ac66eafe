"""What a coordinator needs of its system, where that is not Linux: hidden, and done without."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

HIDDEN = """
import builtins, ctypes, io, os, sys
for name in ("sched_getaffinity", "sched_setaffinity", "waitid", "P_PID", "WNOWAIT"):
    if hasattr(os, name):
        delattr(os, name)
sys.platform = "darwin"
class Hiding:  # no function, of which a class that holds it makes a method: pathlib of Python 3.10
    def __init__(self, real):
        self.real = real
    def __call__(self, path=".", *rest, **more):
        if isinstance(path, (str, bytes, os.PathLike)):
            text = os.fsdecode(path)
            if text.startswith(("/proc", "/sys/", "/dev/shm")):
                raise FileNotFoundError(2, "No such file or directory", text)
        return self.real(path, *rest, **more)
for module, name in ((builtins, "open"), (io, "open"), (os, "open"), (os, "listdir"), (os, "stat"),
                     (os, "scandir"), (os, "readlink")):
    setattr(module, name, Hiding(getattr(module, name)))
import pkgutil, importlib, xbackend
from xbackend.commands.main import main
"""
"""What a Mac lacks; its own Python names are left, as only these are asked for."""

EVERYTHING = """
import xbackend
for found in pkgutil.walk_packages(xbackend.__path__, "xbackend."):
    if not found.name.startswith(("xbackend.backends", "xbackend.converters", "xbackend.reports")):
        importlib.import_module(found.name)
print("all imported")
"""


def hidden(program: str, environment: dict[str, str], folder: Path) -> str:
    """Run a program where what Linux alone has is hidden."""
    done = subprocess.run(
        [sys.executable, "-c", HIDDEN + program], cwd=folder, env=environment,
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_module_of_the_kernel_is_imported_where_linux_is_not(tmp_path: Path) -> None:
    assert "all imported" in hidden(EVERYTHING, dict(os.environ), tmp_path)


def test_runs_are_made_and_compared_where_linux_is_not(
    environment: dict[str, str], sound: Path, tmp_path: Path
) -> None:
    words = ["run", str(sound), "--backends", "good,bad"]
    hidden(f"sys.exit(main({words!r}))", environment, tmp_path)
    told = hidden("sys.exit(main(['compare', '--format', 'json']))", environment, tmp_path)
    assert [run["status"] for run in json.loads(told)["runs"]] == ["ok", "ok"]
    assert {row["eqc_count"] for row in json.loads(told)["comparisons"]} == {1}
