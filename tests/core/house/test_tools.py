"""How the tools are called: what would silently test, type or measure the wrong files."""

from __future__ import annotations

import configparser
import os
import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FOLDERS = ["xbackend", "backends", "converters", "reports"]
FRAMEWORKS = ("ai_edge_litert", "keras", "onnxruntime", "tensorflow", "tflite_runtime", "torch")
CALLERS = ("Makefile", "tox.ini", "README.md", "CONTRIBUTING.md", ".ci/", "docs/")


@pytest.fixture(scope="module")
def tools(root: Path) -> dict[str, Any]:
    """The tool sections of pyproject.toml."""
    tables: dict[str, Any] = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    return tables["tool"]  # type: ignore[no-any-return]  # a table of tables


@pytest.fixture(scope="module")
def tox(root: Path) -> configparser.ConfigParser:
    """The parsed tox.ini."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(root / "tox.ini", encoding="utf-8")
    return parser


def test_pytest_imports_by_path_and_refuses_unknown_markers(tools: dict[str, Any]) -> None:
    options = tools["pytest"]["ini_options"]
    assert {"--import-mode=importlib", "--strict-markers"} <= set(options["addopts"])
    assert options["xfail_strict"] is True


def test_no_conftest_at_the_root_and_no_package_under_tests(texts: dict[str, str]) -> None:
    assert "conftest.py" not in texts
    assert [path for path in texts if re.fullmatch(r"tests/(.*/)?__init__\.py", path)] == []


def test_pytest_is_called_by_its_own_name(texts: dict[str, str]) -> None:
    wrong = [
        path
        for path, text in texts.items()
        if path.startswith(CALLERS) and re.search(r"python\S*\s+-m\s+pytest|-m pytest", text)
    ]
    assert wrong == []


def test_tox_tests_the_wheel_in_every_environment(tox: configparser.ConfigParser) -> None:
    assert tox["testenv"]["package"] == "wheel"
    assert {tox[name].get("package", "wheel") for name in tox.sections()} <= {"wheel", "skip"}
    assert [name for name in tox.sections() if tox[name].get("use_develop")] == []


def test_make_test_runs_every_environment_once(
    tox: configparser.ConfigParser, texts: dict[str, str]
) -> None:
    lists = re.findall(r"^(?:BESIDE|ALONE) = (.*)$", texts["Makefile"], re.MULTILINE)
    listed = [name.strip() for name in tox["tox"]["env_list"].split(",")]
    assert sorted(",".join(lists).split(",")) == sorted(listed)


def test_every_installation_is_constrained(
    tox: configparser.ConfigParser, texts: dict[str, str]
) -> None:
    assert tox["testenv"]["constraints"] == "constraints.txt"
    installs = [
        line.strip()
        for path, text in texts.items()
        if path.startswith(CALLERS)
        for line in text.splitlines()
        if re.search(r"\bpip install\b", line)
        if line.startswith("$ ") or not path.endswith(".md")
    ]
    assert installs
    free = [line for line in installs if "--no-deps" not in line]
    assert [line for line in free if "-c constraints.txt" not in line] == []


def test_an_editable_installation_keeps_the_mapping(texts: dict[str, str]) -> None:
    word = "editable" + "_mode"
    settings = ("pyproject.toml", "setup.cfg", *CALLERS)
    wrong = re.compile(word + r"\s*=\s*[\"']?compat")
    assert [path for path in texts if path.startswith(settings) and wrong.search(texts[path])] == []


def test_types_and_coverage_look_at_all_four_folders(tools: dict[str, Any]) -> None:
    assert tools["mypy"]["files"] == FOLDERS
    assert tools["mypy"]["strict"] is True
    assert tools["coverage"]["run"]["source_pkgs"] == ["xbackend"]
    assert [paths[0] for paths in tools["coverage"]["paths"].values()] == FOLDERS


def test_ruff_holds_the_worker_half_to_python_3_8(tools: dict[str, Any]) -> None:
    assert tools["ruff"]["per-file-target-version"] == {
        "xbackend/worker/**": "py38",
        "backends/**": "py38",
    }


def test_no_framework_is_importable_where_the_kernel_is_tested() -> None:
    if not re.fullmatch(r"core|py3\d+", os.environ.get("TOX_ENV_NAME", "")):
        pytest.skip("Only the tox environments of the kernel are free of frameworks.")
    assert [name for name in FRAMEWORKS if find_spec(name)] == []


def test_the_wheel_is_tested_and_not_the_tree(root: Path) -> None:
    if "TOX_ENV_NAME" not in os.environ:
        pytest.skip("Outside tox the tree may be installed editable.")
    spec = find_spec("xbackend")
    assert spec is not None
    assert spec.origin is not None
    assert not Path(spec.origin).is_relative_to(root / "xbackend")
