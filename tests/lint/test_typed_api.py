"""A user's own file that uses the API is checked by mypy as strictly as the project is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

RIGHT = """
import numpy as np

import xbackend as xb
from xbackend.models import catalogue
import xbackend.platforms.parse as parse

runs = xb.run("model.onnx", backends=["ort"], threads=[1, 2], inputs={"x": np.zeros((1, 4))})
found: xb.Comparison = xb.compare(runs)
sizes: list[int] = [len(ids) for ids in found.classes]
if found.first_divergence is not None:
    name: str = found.first_divergence.tap
words: list[str] = [each.word for each in xb.backends()]
names: list[str] = [each.name for each in xb.models()]
forms: list[str] = [each.form for each in xb.platforms().platforms]
studies: list[str] = [each.name for each in xb.studies()]
known: tuple[str, ...] = catalogue.names()
text: str = parse.parse_platform("native").spec
version: str = xb.__version__


def show(event: xb.ProgressEvent) -> None:
    print(event.text, event.done, event.total)


xb.mitigate(backends="ort", progress=show)
"""
WRONG = {
    "import xbackend as xb\n\nxb.run(thread=1)\n": 'Unexpected keyword argument "thread"',
    "import xbackend as xb\n\nx: int = xb.models()[0].name\n": "Incompatible types in assignment",
    "import xbackend as xb\n\nxb.compare().clases\n": 'has no attribute "clases"',
    "import xbackend as xb\n\nxb.nonsense()\n": 'has no attribute "nonsense"',
}


def check(root: Path, folder: Path, source: str) -> subprocess.CompletedProcess[str]:
    """Check a file that is not the project's with the project's package on the path."""
    path = folder / "user.py"
    path.write_text(source, encoding="utf-8")
    pytest.importorskip("mypy")
    program = "import sys; from mypy.__main__ import console_entry; console_entry()"
    options = [
        "--strict",
        "--follow-imports=silent",
        "--config-file",
        "",
        "--cache-dir",
        str(root / ".mypy_cache" / "user"),
    ]
    return subprocess.run(
        [sys.executable, "-c", program, *options, str(path)],
        capture_output=True,
        text=True,
        cwd=folder,
        env={"MYPYPATH": str(root), "PATH": "/usr/bin:/bin"},
    )


def test_a_users_file_passes(root: Path, tmp_path: Path) -> None:
    done = check(root, tmp_path, RIGHT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("source", WRONG)
def test_a_users_mistake_is_seen(root: Path, tmp_path: Path, source: str) -> None:
    done = check(root, tmp_path, source)
    assert done.returncode == 1, done.stdout + done.stderr
    assert WRONG[source] in done.stdout
