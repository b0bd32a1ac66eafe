"""The packages installed are the folders on disk; one word names a backend everywhere."""

from __future__ import annotations

import ast
import configparser
import json
import subprocess
import sys
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from xbackend.worker.version import VERSION

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FRAMEWORKS = (
    "ai_edge_litert", "keras", "onnxruntime", "onnxscript", "sklearn", "tensorflow", "tf2onnx",
    "tflite_runtime", "torch",
)  # fmt: skip

RESOLVE = """
import importlib, json, sys
loaded = {}
for target in json.loads(sys.argv[1]):
    module, _, name = target.partition(":")
    found = importlib.import_module(module)  # a plug-in of pytest is a module as a whole
    loaded[target] = not name or hasattr(found, name)
print(json.dumps({"loaded": loaded, "modules": sorted(sys.modules)}))
"""


@pytest.fixture(scope="module")
def project(root: Path) -> dict[str, Any]:
    """The parsed pyproject.toml."""
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def words(project: dict[str, Any]) -> set[str]:
    """The built-in backends, as their entry points name them."""
    return set(project["project"]["entry-points"]["xbackend.backends"])


def test_the_packages_in_pyproject_are_the_folders_on_disk(
    project: dict[str, Any], package: dict[str, ast.Module]
) -> None:
    mapping = project["tool"]["setuptools"]["package-dir"]
    names = {folder: name for name, folder in mapping.items()}
    folders = {PurePosixPath(path).parent for path in package}
    on_disk = {".".join((names[folder.parts[0]], *folder.parts[1:])) for folder in folders}
    assert set(project["tool"]["setuptools"]["packages"]) == on_disk


def test_every_folder_with_python_files_is_a_package(package: dict[str, ast.Module]) -> None:
    folders = {PurePosixPath(path).parent for path in package}
    assert [str(folder) for folder in folders if f"{folder}/__init__.py" not in package] == []


def test_the_four_folders_are_mapped_to_the_four_packages(project: dict[str, Any]) -> None:
    assert project["tool"]["setuptools"]["package-dir"] == {
        "xbackend": "xbackend",
        "xbackend.backends": "backends",
        "xbackend.converters": "converters",
        "xbackend.reports": "reports",
    }


def test_one_word_is_folder_entry_point_extra_marker_tests_and_tox_environment(
    root: Path, project: dict[str, Any], words: set[str], package: dict[str, ast.Module]
) -> None:
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(root / "tox.ini", encoding="utf-8")
    environments = {name.partition(":")[2] for name in tox.sections()}
    in_list = {name.strip() for name in tox["tox"]["env_list"].split(",")}
    markers = {
        line.partition(":")[0] for line in project["tool"]["pytest"]["ini_options"]["markers"]
    }
    folders = {
        path.split("/")[1]
        for path in package
        if path.startswith("backends/") and path.count("/") > 1
    }
    assert folders == words
    assert words <= set(project["project"]["optional-dependencies"])
    assert words <= markers
    assert words <= environments
    assert words <= in_list
    assert [word for word in words if not (root / "tests" / word).is_dir()] == []


def test_every_tox_environment_of_tests_has_its_marker_and_its_folder(
    root: Path, project: dict[str, Any]
) -> None:
    markers = {
        line.partition(":")[0] for line in project["tool"]["pytest"]["ini_options"]["markers"]
    }
    folders = {path.name for path in (root / "tests").iterdir() if any(path.rglob("test_*.py"))}
    assert folders == markers


def test_the_extra_all_has_every_backend(project: dict[str, Any], words: set[str]) -> None:
    extras = project["project"]["optional-dependencies"]
    (everything,) = extras["all"]
    named = everything.removeprefix("xbackend[").removesuffix("]").split(",")
    assert set(named) == words


def test_every_entry_point_resolves_without_importing_a_framework(
    project: dict[str, Any],
) -> None:
    groups = project["project"]["entry-points"]
    targets = [target for group in groups.values() for target in group.values()]
    targets += project["project"]["scripts"].values()
    run = subprocess.run(
        [sys.executable, "-c", RESOLVE, json.dumps(targets)], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    answer = json.loads(run.stdout)
    assert [target for target, found in answer["loaded"].items() if not found] == []
    assert [name for name in FRAMEWORKS if name in answer["modules"]] == []


def test_every_backend_says_its_own_word(words: set[str]) -> None:
    program = (
        "import importlib, json, sys; print(json.dumps([importlib.import_module("
        "f'xbackend.backends.{word}').SPEC.word for word in sys.argv[1:]]))"
    )
    ordered = sorted(words)
    run = subprocess.run([sys.executable, "-c", program, *ordered], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == ordered


def test_the_constraints_pin_every_requirement_exactly(root: Path, project: dict[str, Any]) -> None:
    lines = (root / "constraints.txt").read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line and not line.startswith("#")]
    assert [row for row in rows if "==" not in row] == []
    pinned = {row.partition("==")[0].lower().replace("_", "-") for row in rows}
    wanted = list(project["project"]["dependencies"])
    for extra in project["project"]["optional-dependencies"].values():
        wanted += extra
    names = {_name(row) for row in wanted} - {"xbackend"}
    assert names - pinned == set()


def _name(requirement: str) -> str:
    """Return the name that a requirement begins with.

    The characters that may follow it are those of a version, an extra or a marker.
    """
    for position, letter in enumerate(requirement):
        if letter in "<>=!~[; ":
            return requirement[:position].lower().replace("_", "-")
    return requirement.lower().replace("_", "-")


def test_the_version_is_told_in_one_place_beside_pyproject(project: dict[str, Any]) -> None:
    assert project["project"]["version"] == VERSION
