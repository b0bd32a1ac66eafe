"""`import xbackend`: lazy, cheap, and functions beside packages of the same name."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import xbackend as xb

BOTH = sorted(xb.PACKAGES)


def output_of(program: str) -> str:
    """Return what a new Python prints."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_the_package_imports_nothing_else_of_it() -> None:
    program = "import sys, xbackend; print(*(n for n in sys.modules if n.startswith('xbackend.')))"
    assert output_of(program) == ""


def test_importing_the_package_imports_neither_numpy_nor_typing() -> None:
    before = "import sys; had = {*sys.modules}; import xbackend"
    found = output_of(f"{before}; print(*sorted({{*sys.modules}} - had))")
    assert not {"numpy", "typing", "dataclasses", "argparse"} & set(found.split())


@pytest.mark.parametrize("name", sorted(xb.OFFERED))
def test_what_is_offered_is_there_and_listed(name: str) -> None:
    assert name in dir(xb)
    assert callable(getattr(xb, name))


def test_the_table_of_modules_is_what_the_type_checker_sees() -> None:
    tree = ast.parse(Path(xb.__file__).read_text(encoding="utf-8"))
    seen = {
        alias.asname: str(node.module).removeprefix("xbackend.")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("xbackend.")
        for alias in node.names
        if alias.asname and alias.asname != "__version__"
    }
    assert seen == xb.OFFERED


def test_what_is_not_offered_is_an_attribute_error_that_names_it() -> None:
    with pytest.raises(AttributeError, match="module 'xbackend' has no attribute 'nonsense'"):
        _ = xb.nonsense  # type: ignore[attr-defined]


CALLS = {
    "backends": "[each.word for each in xb.backends()][0] == 'tf'",
    "models": "'cifar10-small' in [each.name for each in xb.models()]",
    "platforms": "xb.platforms().platforms[0].form == 'native'",
    "studies": "[each.name for each in xb.studies()][0] == 'multiplications'",
}
MODULES = {
    "backends": "xbackend.backends.fixed",
    "models": "xbackend.models.catalogue",
    "platforms": "xbackend.platforms.parse",
    "studies": "xbackend.studies.catalogue",
}


@pytest.mark.parametrize("name", BOTH)
def test_a_package_that_is_a_function_too_is_both_before_and_after_it_is_imported(
    name: str,
) -> None:
    module = MODULES[name]
    program = f"""
import xbackend as xb
assert {CALLS[name]}
import {module}
assert {CALLS[name]}
import {module} as alias
from {module.rpartition(".")[0]} import {module.rpartition(".")[2]} as again
assert alias is again is {module}
print("both")
"""
    assert output_of(program) == "both"


@pytest.mark.parametrize("name", BOTH)
def test_a_package_that_is_imported_first_can_be_called_after(name: str) -> None:
    program = f"import {MODULES[name]}, xbackend as xb; print({CALLS[name]})"
    assert output_of(program) == "True"


def test_what_a_package_holds_can_be_patched_by_its_dotted_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("xbackend.models.catalogue.names", lambda: ("mine",))
    from xbackend.models import catalogue

    assert catalogue.names() == ("mine",)


def test_a_worker_gets_a_package_without_the_coordinators_imports(tmp_path: Path) -> None:
    import zipfile

    from xbackend.execution.workers.zipapp import worker_zipapp
    from xbackend.plugins.registry import backend

    path = worker_zipapp(backend("fixed"))
    with zipfile.ZipFile(path) as archive:
        source = archive.read("xbackend/__init__.py").decode()
    assert [type(node) for node in ast.parse(source).body] == [ast.Expr]


def test_the_package_is_read_by_python_3_8() -> None:
    ast.parse(Path(xb.__file__).read_text(encoding="utf-8"), feature_version=(3, 8))
