"""The law of kernel and wings, checked on the syntax tree of every installed file."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

import pytest

WINGS = ("backends", "converters", "reports")

FRAMEWORKS = frozenset(
    """
    ai_edge_litert flatbuffers h5py keras ml_dtypes onnxruntime onnxscript optree sklearn
    tensorflow tf2onnx tflite_runtime torch
    """.split()
)


@dataclass(frozen=True)
class Import:
    """One module that a file imports."""

    module: str
    """The absolute name, or for a relative import what follows the dots."""
    level: int
    """The number of leading dots."""
    line: int
    lazy: bool
    """Whether it is imported inside a function only."""
    typing: bool
    """Whether it is imported for the type checker only."""


def imports_of(tree: ast.AST, lazy: bool = False, typing: bool = False) -> Iterator[Import]:
    """Yield every import of a file, with where it stands."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, 0, node.lineno, lazy, typing)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                stem = f"{node.module}.{alias.name}" if node.module else alias.name
                yield Import(stem, node.level, node.lineno, lazy, typing)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from imports_of(ast.Module(node.body, []), lazy, True)
            yield from imports_of(ast.Module(node.orelse, []), lazy, typing)
        else:
            inside = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            yield from imports_of(node, lazy or inside, typing)


def names_a_wing(module: str) -> str | None:
    """Return the wing that an absolute module name lies in.

    `xbackend.backends.tf` lies in `backends`, as does the folder's own name from the root.
    """
    parts = module.split(".")
    if parts[0] == "xbackend" and len(parts) > 1 and parts[1] in WINGS:
        return parts[1]
    return parts[0] if parts[0] in WINGS else None


def own_folder(path: str) -> PurePosixPath:
    """Return the folder that a wing's file may import from relatively."""
    parts = PurePosixPath(path).parts
    return PurePosixPath(*parts[:2]) if parts[0] == "backends" else PurePosixPath(parts[0])


def broken_law(path: str, found: Import) -> str | None:
    """Say what is wrong with one import of one file, or None."""
    area = path.split("/")[0]
    wing = names_a_wing(found.module) if found.level == 0 else None
    if area == "xbackend":
        target = _relative_target(path, found) if found.level else None
        outside = target is not None and target.parts[:2] in {("xbackend", name) for name in WINGS}
        return "the kernel imports a wing" if wing or outside else None
    if wing is not None:
        return "a wing imports its own folder absolutely" if wing == area else "another wing"
    if found.level and not _relative_target(path, found).is_relative_to(own_folder(path)):
        return "a relative import leaves its folder"
    return None


def _relative_target(path: str, found: Import) -> PurePosixPath:
    folder = PurePosixPath(path).parent
    for _ in range(found.level - 1):
        folder = folder.parent
    return folder.joinpath(*found.module.split("."))


Own = Mapping[str, frozenset[str]]


def misplaced_framework(path: str, found: Import, own: Own) -> str | None:
    """Say why a framework may not be imported here, or None."""
    package = found.module.split(".")[0]
    if found.level or found.typing or package not in FRAMEWORKS:
        return None
    parts = path.split("/")
    if parts[0] == "backends":
        allowed = len(parts) > 2 and package in own.get(parts[1], ()) and parts[-1] != "__init__.py"
        return None if allowed else f"{package} is not the framework of this file"
    if path.startswith(("converters/", "xbackend/models/", "xbackend/training/")):
        return None if found.lazy else f"{package} is imported outside a function"
    return f"{package} is imported in the kernel"


def test_the_kernel_names_no_wing_and_no_wing_names_another(
    package: dict[str, ast.Module],
) -> None:
    broken = [
        f"{path}:{found.line}: {verdict}: {found.module}"
        for path, tree in package.items()
        for found in imports_of(tree)
        if (verdict := broken_law(path, found))
    ]
    assert broken == []


def test_no_wing_imports_the_commands_or_the_api(package: dict[str, ast.Module]) -> None:
    above = ("xbackend.commands", "xbackend.api")
    broken = [
        f"{path}:{found.line}: {found.module}"
        for path, tree in package.items()
        if path.startswith(WINGS)
        for found in imports_of(tree)
        if found.module.startswith(above)
    ]
    assert broken == []


def test_the_kernel_holds_no_wings_module_as_text(package: dict[str, ast.Module]) -> None:
    prefixes = tuple(f"xbackend.{wing}." for wing in WINGS)
    broken = [
        f"{path}:{node.lineno}: {node.value!r}"
        for path, tree in package.items()
        if path.startswith("xbackend/")
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if node.value.startswith(prefixes)
    ]
    assert broken == []


def test_a_framework_is_imported_in_its_own_adapter_or_inside_a_function_of_a_converter(
    package: dict[str, ast.Module], own: Own
) -> None:
    broken = [
        f"{path}:{found.line}: {verdict}"
        for path, tree in package.items()
        for found in imports_of(tree)
        if (verdict := misplaced_framework(path, found, own))
    ]
    assert broken == []


def test_the_kernel_finds_its_own_mitigations_by_their_entry_points_only(
    package: dict[str, ast.Module],
) -> None:
    own = "xbackend/mitigation/catalogue/"
    broken = [
        f"{path}:{found.line}"
        for path, tree in package.items()
        for found in imports_of(tree)
        if found.module.startswith("xbackend.mitigation.catalogue") and not path.startswith(own)
    ]
    assert broken == []
    assert any(path.startswith(own) for path in package)


@pytest.mark.parametrize(
    ("path", "line", "verdict"),
    [
        (
            "xbackend/api.py",
            "from xbackend.backends import tf",
            "the kernel imports a wing",
        ),
        ("xbackend/api.py", "import xbackend.reports.json", "the kernel imports a wing"),
        (
            "xbackend/api.py",
            "from .converters import onnx_to_graph",
            "the kernel imports a wing",
        ),
        ("xbackend/worker/main.py", "from ..backends import tf", "the kernel imports a wing"),
        (
            "xbackend/api.py",
            "def f():\n    import backends.tf",
            "the kernel imports a wing",
        ),
        ("xbackend/api.py", "from xbackend.store.store import Store", None),
        ("backends/tf/adapter.py", "from xbackend.worker.contract import Backend", None),
        ("backends/tf/adapter.py", "from .operators import TABLE", None),
        ("backends/tf/adapter.py", "from ..torch import x", "a relative import leaves its folder"),
        ("backends/tf/adapter.py", "from xbackend.converters import x", "another wing"),
        (
            "reports/json.py",
            "from xbackend.reports import table",
            "a wing imports its own folder absolutely",
        ),
        ("converters/a.py", "from .b import c", None),
        ("converters/a.py", "from ..backends import tf", "a relative import leaves its folder"),
    ],
)
def test_the_check_of_the_law_sees_what_it_should(
    path: str, line: str, verdict: str | None
) -> None:
    (found,) = imports_of(ast.parse(line))
    assert broken_law(path, found) == verdict


@pytest.mark.parametrize(
    ("path", "line", "allowed"),
    [
        ("backends/tf/adapter.py", "import tensorflow as tf", True),
        ("backends/tf/__init__.py", "import tensorflow as tf", False),
        ("backends/tf/adapter.py", "import torch", False),
        ("backends/ort/adapter.py", "import onnxruntime", True),
        ("converters/a.py", "import torch", False),
        ("converters/a.py", "def f():\n    import torch", True),
        ("converters/a.py", "if TYPE_CHECKING:\n    import torch", True),
        ("xbackend/training/train.py", "def f():\n    import keras", True),
        ("xbackend/training/train.py", "import keras", False),
        ("xbackend/execution/plan.py", "def f():\n    import keras", False),
        ("reports/json.py", "def f():\n    import onnxruntime", False),
    ],
)
def test_the_check_of_frameworks_sees_what_it_should(
    own: Own, path: str, line: str, allowed: bool
) -> None:
    (found,) = imports_of(ast.parse(line))
    assert (misplaced_framework(path, found, own) is None) == allowed
