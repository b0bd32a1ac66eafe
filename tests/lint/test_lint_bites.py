"""The checks of `tox -e lint` refuse what they should, in each of the four folders."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FOLDERS = ("xbackend", "backends", "converters", "reports")
WRONG_TYPE = '"""A file with a wrong type."""\n\nWRONG: int = "text"\n'
WRONG_CALL = (
    '"""A file that misuses the contract."""\n\n'
    "from xbackend.worker.contract import Setting\n\n"
    "WRONG = Setting(key=1, default=None, help=b'')\n"
)
WRONG_NAME = '"""A wing by its full name."""\n\nimport xbackend.backends.tf\n'


def run(*command: str, cwd: Path, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a tool of this environment."""
    return subprocess.run(command, cwd=cwd, input=text, capture_output=True, text=True)


@pytest.fixture(scope="module")
def mypy() -> str:
    """The path of mypy."""
    return tool("mypy")


@pytest.fixture(scope="module")
def ruff() -> str:
    """The path of ruff."""
    return tool("ruff")


def tool(name: str) -> str:
    """Find a program beside this Python or on the path; skip the test without it."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed.")
    return found


def check_seeded(mypy: str, root: Path, folder: str, source: str, at: Path) -> str:
    """Return what mypy, called as lint calls it, says with one file's text replaced."""
    at.write_text(source, encoding="utf-8")
    shadow = ("--shadow-file", f"{folder}/__init__.py", str(at))
    run_ = run(mypy, *shadow, "--cache-dir", str(root / ".mypy_cache"), cwd=root)
    assert run_.returncode == 1, run_.stdout + run_.stderr
    return run_.stdout


@pytest.mark.parametrize("folder", FOLDERS)
def test_mypy_refuses_a_wrong_type_in_every_folder(
    mypy: str, root: Path, tmp_path: Path, folder: str
) -> None:
    said = check_seeded(mypy, root, folder, WRONG_TYPE, tmp_path / "seeded.py")
    assert f"{folder}/__init__.py:3: error: Incompatible types in assignment" in said


def test_mypy_sees_the_kernel_from_a_wing(mypy: str, root: Path, tmp_path: Path) -> None:
    said = check_seeded(mypy, root, "backends", WRONG_CALL, tmp_path / "seeded.py")
    assert 'Argument "key" to "Setting" has incompatible type "int"; expected "str"' in said


def test_mypy_refuses_a_wing_named_in_full(mypy: str, root: Path, tmp_path: Path) -> None:
    said = check_seeded(mypy, root, "reports", WRONG_NAME, tmp_path / "seeded.py")
    assert "reports/__init__.py:3: error: Cannot find implementation or library stub" in said


@pytest.mark.parametrize("path", ["xbackend/worker/seeded.py", "backends/tf/operators/seeded.py"])
@pytest.mark.parametrize(
    "source",
    [
        "match 1:\n    case _:\n        pass\n",
        "with (open('a') as f, open('b') as g):\n    print(f, g)\n",
        "@(lambda f: f)\ndef f(): ...\n",
    ],
)
def test_ruff_refuses_syntax_later_than_python_3_8_in_the_worker_half(
    ruff: str, root: Path, path: str, source: str
) -> None:
    text = f'"""A seeded file."""\n\n{source}'
    done = run(ruff, "check", "--stdin-filename", path, "-", cwd=root, text=text)
    assert done.returncode == 1
    assert "on Python 3.8" in done.stdout


def test_ruff_allows_the_coordinator_later_syntax(ruff: str, root: Path) -> None:
    text = '"""A seeded file."""\n\nmatch 1:\n    case _:\n        pass\n'
    done = run(ruff, "check", "--stdin-filename", "xbackend/seeded.py", "-", cwd=root, text=text)
    assert done.returncode == 0, done.stdout


def test_the_python_of_the_docs_is_written_as_the_projects_is(ruff: str, root: Path) -> None:
    page = (root / "docs" / "guides" / "add-a-backend.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 4
    for block in blocks:
        path = ("--stdin-filename", "backends/plain/seeded.py", "-")
        found = run(ruff, "check", "--ignore", "I001", *path, cwd=root, text=block)
        assert found.returncode == 0, found.stdout
        assert run(ruff, "format", *path, cwd=root, text=block).stdout == block
