"""The worker half: Python 3.8, the standard library, NumPy, and in adapters one framework."""

from __future__ import annotations

import ast
import sys

import pytest

HALF = ("xbackend/worker/", "backends/")
LATER_THAN_38 = frozenset({"graphlib", "tomllib", "zoneinfo", "compression", "annotationlib"})
STANDARD = (frozenset(sys.stdlib_module_names) - LATER_THAN_38) | {"__future__"}

BUILTIN_GENERICS = frozenset({"dict", "frozenset", "list", "set", "tuple", "type"})

NEW_ATTRIBUTES = {
    "removeprefix": "str, 3.9",
    "removesuffix": "str, 3.9",
    "is_relative_to": "Path, 3.9",
    "with_stem": "Path, 3.9",
    "readlink": "Path, 3.9",
    "hardlink_to": "Path, 3.10",
    "bit_count": "int, 3.10",
    "lcm": "math, 3.9",
    "nextafter": "math, 3.9",
    "ulp": "math, 3.9",
    "pairwise": "itertools, 3.10",
    "batched": "itertools, 3.12",
    "to_thread": "asyncio, 3.9",
    "randbytes": "random, 3.9",
    "waitstatus_to_exitcode": "os, 3.9",
    "file_digest": "hashlib, 3.11",
    "add_note": "BaseException, 3.11",
    "orig_argv": "sys, 3.10",
    "stdlib_module_names": "sys, 3.10",
}
"""Names of the standard library that came after Python 3.8; NumPy's of the same name are not."""

NEW_KEYWORDS = {
    "zip": {"strict"},
    "dataclass": {"slots", "kw_only"},
    "field": {"kw_only"},
    "open": set[str](),
}


def worker_half(package: dict[str, ast.Module]) -> dict[str, ast.Module]:
    """Keep the files that are shipped to a platform."""
    half = {path: tree for path, tree in package.items() if path.startswith(HALF)}
    assert len(half) > 5
    return half


def later_than_38(tree: ast.Module) -> list[str]:
    """List what Python 3.8 would refuse when the file runs, though its syntax passes."""
    quiet = {id(node) for part in _annotations(tree) for node in ast.walk(part)}
    found = []
    for node in ast.walk(tree):
        if id(node) not in quiet and (words := _newer(node)):
            found.append(f"line {getattr(node, 'lineno', '?')}: {words}")
    return found


def _annotations(tree: ast.Module) -> list[ast.expr]:
    parts = []
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            parts.append(node.returns)
        elif isinstance(node, (ast.AnnAssign, ast.arg)):
            parts.append(node.annotation)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            parts.extend(node.body)  # type: ignore[arg-type]  # statements are walked alike
    return [part for part in parts if part is not None]


def _newer(node: ast.AST) -> str | None:
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
        return f"{node.value.id}[…] at runtime" if node.value.id in BUILTIN_GENERICS else None
    if isinstance(node, ast.Attribute) and not _is_numpy(node.value):
        where = NEW_ATTRIBUTES.get(node.attr)
        return f".{node.attr} ({where})" if where else None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        given = {keyword.arg for keyword in node.keywords}
        newer = given & NEW_KEYWORDS.get(node.func.id, set())
        return f"{node.func.id}({', '.join(sorted(filter(None, newer)))}=…)" if newer else None
    if isinstance(node, ast.ImportFrom) and node.module == "functools":
        return "functools.cache" if "cache" in {alias.name for alias in node.names} else None
    return None


def _is_numpy(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in {"np", "numpy", "tf", "torch"}


def test_the_worker_half_is_read_by_python_3_8(
    package: dict[str, ast.Module], texts: dict[str, str]
) -> None:
    for path in worker_half(package):
        ast.parse(texts[path], path, feature_version=(3, 8))


def test_the_worker_half_uses_nothing_that_came_after_python_3_8(
    package: dict[str, ast.Module],
) -> None:
    half = worker_half(package)
    assert {path: found for path, tree in half.items() if (found := later_than_38(tree))} == {}


def test_the_worker_half_does_not_evaluate_its_annotations(
    package: dict[str, ast.Module],
) -> None:
    eager = [
        path
        for path, tree in worker_half(package).items()
        if _annotations(tree) and not _has_future_annotations(tree)
    ]
    assert eager == []


def _has_future_annotations(tree: ast.Module) -> bool:
    return any(
        isinstance(node, ast.ImportFrom)
        and node.module == "__future__"
        and any(alias.name == "annotations" for alias in node.names)
        for node in tree.body
    )


def test_the_worker_half_imports_nothing_but_the_standard_library_numpy_and_its_framework(
    package: dict[str, ast.Module], own: dict[str, frozenset[str]]
) -> None:
    strange = [
        f"{path}:{line}: {module}"
        for path, tree in worker_half(package).items()
        for module, line in _runtime_imports(tree)
        if not _is_allowed(path, module, own)
    ]
    assert strange == []


def _is_allowed(path: str, module: str, own: dict[str, frozenset[str]]) -> bool:
    if module == "xbackend.worker" or module.startswith("xbackend.worker."):
        return True
    top = module.split(".")[0]
    parts = path.split("/")
    framework = own.get(parts[1], frozenset[str]()) if len(parts) > 2 else frozenset[str]()
    return top in STANDARD | {"numpy"} or (parts[0] == "backends" and top in framework)


def _runtime_imports(tree: ast.Module) -> list[tuple[str, int]]:
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for statement in node.body
        for inner in ast.walk(statement)
    }
    found = []
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found += [
                (f"{node.module}.{alias.name}" if node.module == "xbackend" else node.module,
                 node.lineno)
                for alias in node.names
            ]  # fmt: skip
    return found


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("x: dict[str, int] = {}", 0),
        ("def f(a: list[int]) -> tuple[int, ...]: ...", 0),
        ("Alias = dict[str, int]", 1),
        ("name.removeprefix('a')", 1),
        ("zip(a, b, strict=True)", 1),
        ("zip(a, b)", 0),
        ("np.nextafter(a, b)", 0),
        ("math.nextafter(a, b)", 1),
        ("from functools import cache", 1),
        ("from functools import lru_cache", 0),
    ],
)
def test_the_check_for_python_3_8_sees_what_it_should(source: str, count: int) -> None:
    assert len(later_than_38(ast.parse(source))) == count
