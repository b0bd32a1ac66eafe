"""A run whose model is converted starts its worker before anything heavy is imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import json, subprocess, sys

real = subprocess.Popen.__init__
seen = []


def note(self, *arguments, **named):
    seen.append(sorted(sys.modules))
    real(self, *arguments, **named)


subprocess.Popen.__init__ = note
from xbackend.commands.start import main

status = main()
print(json.dumps([status, seen]))
"""

HEAVY = (
    "asyncio", "ctypes", "email", "http", "importlib.metadata", "lzma", "numpy", "onnx", "rich",
    "shutil", "socket", "tabulate", "tarfile", "tempfile", "traceback", "zipfile",
    "xbackend.api.comparison", "xbackend.commands.compare", "xbackend.comparison",
    "xbackend.diagnosis", "xbackend.facts", "xbackend.models.generated",
    "xbackend.platforms.arm", "xbackend.platforms.emulated", "xbackend.platforms.remote",
    "xbackend.plugins.converter", "xbackend.plugins.importer", "xbackend.plugins.mitigation",
    "xbackend.preparation.archive", "xbackend.preparation.conversion.launch", "xbackend.reduction",
    "xbackend.reports", "xbackend.store.records", "xbackend.store.schema",
    "xbackend.worker.machine.fingerprint", "xbackend.worker.sandbox",
)  # fmt: skip
"""What took longest of all that a run imported before it started a worker and did not need then."""


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What a run has imported when it starts its worker, in a store that knows the model."""
    store, place = tmp_path_factory.mktemp("store"), tmp_path_factory.mktemp("empty")
    answers = [_run(store, place) for _ in range(2)]
    assert [status for status, _ in answers] == [0, 0]
    (modules,) = answers[1][1]
    return modules


def _run(store: Path, place: Path) -> tuple[int, list[list[str]]]:
    command = [sys.executable, "-c", PROGRAM, "run", "cifar10-small", "--backends", "fixed"]
    done = subprocess.run(
        [*command, "--taps", "outputs", "--fresh", "--store", str(store)],
        capture_output=True,
        text=True,
        check=True,
        cwd=place,  # on `sys.path`, which is looked through again once it has changed
    )
    status, seen = json.loads(done.stdout.splitlines()[-1])
    return status, seen


@pytest.mark.parametrize("module", HEAVY)
def test_a_worker_is_started_before_anything_heavy_is_imported(
    imported: list[str], module: str
) -> None:
    found = [name for name in imported if name == module or name.startswith(f"{module}.")]
    assert found == []


def test_no_converter_is_imported_for_a_model_that_is_converted(imported: list[str]) -> None:
    assert [name for name in imported if name.startswith("xbackend.converters.")] == []


def test_no_other_command_is_imported(imported: list[str]) -> None:
    commands = [name for name in imported if name.startswith("xbackend.commands.")]
    assert commands == [f"xbackend.commands.{name}" for name in ("main", "parser", "run", "start")]
