"""What every test may use: markers by folder, the project's own files, the shared data."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TREES = ("xbackend/", "backends/", "converters/", "reports/")
OWN = {
    "fixed": frozenset[str](),
    "ort": frozenset({"onnxruntime"}),
    "tf": frozenset({"keras", "ml_dtypes", "tensorflow"}),
    "tflite": frozenset({"ai_edge_litert", "tflite_runtime"}),
    "torch": frozenset({"torch"}),
}


def pytest_configure() -> None:
    """Give the processes that tests start the signals of a terminal, however pytest was started.

    What is ignored is inherited: hangups under nohup, Ctrl-C of what a script left in the
    background. A handler is not, so a hangup still does not end pytest where it was ignored.
    """
    os.environ.setdefault("XBACKEND_SYNC", "off")  # no power is cut while tests run
    _let_slow_machines_pass()
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda number, frame: None)


def _let_slow_machines_pass() -> None:
    """Let no property fail for the time that one example of it takes."""
    try:
        from hypothesis import HealthCheck, settings
    except ImportError:  # the folders without properties go without
        return
    slow = (HealthCheck.too_slow,)
    settings.register_profile("any-machine", deadline=None, suppress_health_check=slow)
    settings.load_profile("any-machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with the name of its folder under tests/."""
    for item in items:
        item.add_marker(item.path.relative_to(ROOT / "tests").parts[0])


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """Data beside the project that is not part of it: published results, real models."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("The folder 'shared' beside the project is not there.")
    return folder


@pytest.fixture(scope="session")
def texts() -> dict[str, str]:
    """Every text file of the project that git does not ignore, by its path with slashes."""
    found = {}
    for name in _listed():
        path = ROOT / name
        if path.is_file() and not path.is_symlink():
            data = path.read_bytes()
            if b"\0" not in data:
                found[name] = data.decode("utf-8")
    return found


@pytest.fixture(scope="session")
def trees(texts: dict[str, str]) -> dict[str, ast.Module]:
    """Every Python file of the project, parsed, by its path with slashes."""
    return {name: ast.parse(text) for name, text in texts.items() if name.endswith(".py")}


@pytest.fixture(scope="session")
def own() -> dict[str, frozenset[str]]:
    """What each backend's folder may import besides NumPy."""
    return OWN


@pytest.fixture(scope="session")
def package(trees: dict[str, ast.Module]) -> dict[str, ast.Module]:
    """Those of `trees` that are installed: the kernel and the three wings."""
    return {name: tree for name, tree in trees.items() if name.startswith(TREES)}


def _listed() -> list[str]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listing.returncode != 0:
        pytest.skip("The project's files are listed by git, and this folder is not a clone.")
    return sorted({name for name in listing.stdout.split("\0") if name})
