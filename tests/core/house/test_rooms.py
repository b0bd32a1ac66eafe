"""The law of the kernel's rooms: each imports only rooms above it, through what these name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

import pytest

KERNEL = "xbackend/"
AT_THE_TOP = frozenset({"__init__", "api", "errors"})
MODULES_AT_THE_TOP = 4

Edges = Mapping[str, frozenset[str]]
"""A module of the kernel to the modules of the kernel that it imports, wherever and whyever."""


def module_name(path: str) -> str:
    """Return the dotted name of a file: `xbackend/store/index.py` is `xbackend.store.index`."""
    parts = PurePosixPath(path).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    """Return the room of a module: `xbackend.store.index` lies in `store`, the package in none."""
    return [*module.split("."), ""][1]


def imported(module: str, is_package: bool, tree: ast.AST, known: Iterable[str]) -> set[str]:
    """Return the modules of `known` that a file imports, for the type checker only among them."""
    names = set(known)
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                up = node.level - is_package
                package = module.split(".")[: len(module.split(".")) - up]
                base = ".".join([*package, *([node.module] if node.module else [])])
            inner = {f"{base}.{alias.name}" for alias in node.names}
            found |= {name if name in names else base for name in inner}
    return found & names - {module}


def table_of_rooms(page: str) -> dict[str, frozenset[str]]:
    """Return each room in the order of the page's table, to the rooms that it imports."""
    section = page.partition("### Rooms")[2].partition("\n#")[0]
    rows = re.findall(r"^\| `(\w+)(?:\.py|/)?` \|[^|]*\|([^|]*)\|$", section, re.MULTILINE)
    return {room: frozenset(re.findall(r"`(\w+)`", uses)) for room, uses in rows}


def broken_law(edges: Edges, table: Mapping[str, frozenset[str]]) -> list[str]:
    """Say which imports the table does not allow."""
    return [
        f"{module} imports {other}"
        for module, others in sorted(edges.items())
        for other in sorted(others)
        if room_of(module) != room_of(other) and room_of(module)
        if room_of(other) not in table.get(room_of(module), frozenset(table))
    ]


def circles(edges: Edges) -> list[list[str]]:
    """Return the modules that import each other, however far around (Tarjan's algorithm)."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(module: str) -> None:
        number[module] = low[module] = len(number)
        stack.append(module)
        for other in sorted(edges.get(module, ())):
            if other not in number:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], number[other])
        if low[module] == number[module]:
            start = stack.index(module)
            found.append(sorted(stack[start:]))
            del stack[start:]

    for module in sorted(edges):
        if module not in number:
            visit(module)
    return [group for group in found if len(group) > 1]


@pytest.fixture(scope="module")
def kernel(package: dict[str, ast.Module]) -> dict[str, ast.Module]:
    """The kernel's files by path."""
    return {path: tree for path, tree in package.items() if path.startswith(KERNEL)}


@pytest.fixture(scope="module")
def edges(kernel: dict[str, ast.Module]) -> Edges:
    """What imports what within the kernel."""
    known = {module_name(path) for path in kernel}
    return {
        module_name(path): frozenset(
            imported(module_name(path), path.endswith("__init__.py"), tree, known)
        )
        for path, tree in kernel.items()
    }


@pytest.fixture(scope="module")
def table(root: Path) -> dict[str, frozenset[str]]:
    """The table of rooms in docs/how_it_works.md."""
    return table_of_rooms((root / "docs/how_it_works.md").read_text(encoding="utf-8"))


def test_each_room_imports_only_what_its_row_of_the_table_names(
    edges: Edges, table: dict[str, frozenset[str]]
) -> None:
    assert broken_law(edges, table) == []


def test_a_row_of_the_table_names_only_rooms_above_it(table: dict[str, frozenset[str]]) -> None:
    rooms = list(table)
    below = {
        room: uses - set(rooms[:place])
        for place, (room, uses) in enumerate(table.items())
        if not uses <= set(rooms[:place])
    }
    assert below == {}


def test_a_row_of_the_table_names_no_room_that_is_not_imported(
    edges: Edges, table: dict[str, frozenset[str]]
) -> None:
    used: dict[str, set[str]] = {room: set() for room in table}
    for module, others in edges.items():
        used.setdefault(room_of(module), set()).update(map(room_of, others))
    assert {room: uses - used[room] for room, uses in table.items() if uses - used[room]} == {}


def test_the_table_has_every_room_and_the_kernel_no_other(
    kernel: dict[str, ast.Module], table: dict[str, frozenset[str]]
) -> None:
    rooms = {room_of(module_name(path)) for path in kernel} - {"", "__main__"}
    assert set(table) == rooms


def test_few_modules_lie_outside_the_rooms(kernel: dict[str, ast.Module]) -> None:
    top = {PurePosixPath(path).stem for path in kernel if path.count("/") == 1}
    assert len(top) <= MODULES_AT_THE_TOP
    assert top - AT_THE_TOP <= {"__main__"}


def test_no_circle_is_left_among_the_kernels_files(edges: Edges) -> None:
    assert circles(edges) == []


def test_a_room_is_entered_by_the_modules_that_its_first_file_names(
    package: dict[str, ast.Module], kernel: dict[str, ast.Module]
) -> None:
    known = {module_name(path) for path in kernel}
    named = {
        module_name(path): set(re.findall(r"`(\w+)`", ast.get_docstring(tree) or ""))
        for path, tree in kernel.items()
        if path.endswith("__init__.py")
    }
    hidden = []
    for path, tree in package.items():
        module = module_name(path)
        for other in imported(module, path.endswith("__init__.py"), tree, known):
            folder, _, name = other.rpartition(".")
            outside = path.split("/")[0] != "xbackend" or not module.startswith(f"{folder}.")
            if outside and folder != "xbackend" and name not in named.get(folder, ()):
                hidden.append(f"{path} imports {other}")
    assert hidden == []
    gone = {
        f"{folder}.{name}"
        for folder, names in named.items()
        if folder != "xbackend"
        for name in names
        if f"{folder}.{name}" not in known
    }
    assert gone == set()


@pytest.mark.parametrize(
    ("path", "line", "broken"),
    [
        ("xbackend/numerics/x.py", "from xbackend.store.store import Store", True),
        ("xbackend/numerics/x.py", "def f():\n    from xbackend.store import store", True),
        (
            "xbackend/store/x.py",
            "if TYPE_CHECKING:\n    from xbackend.commands.main import main",
            True,
        ),
        ("xbackend/errors.py", "import xbackend.store.store", True),
        ("xbackend/store/x.py", "from ..commands import main", True),
        ("xbackend/comparison/x.py", "from xbackend.numerics import floats", False),
        ("xbackend/store/x.py", "from .store import Store", False),
    ],
)
def test_a_planted_import_is_seen(
    edges: Edges, table: dict[str, frozenset[str]], path: str, line: str, broken: bool
) -> None:
    module = module_name(path)
    planted = {**edges, module: frozenset(imported(module, False, ast.parse(line), set(edges)))}
    assert bool(broken_law(planted, table)) == broken


def test_a_planted_circle_is_seen() -> None:
    edges = {"a": frozenset({"b"}), "b": frozenset({"c"}), "c": frozenset({"a"}), "d": frozenset()}
    assert circles(edges) == [["a", "b", "c"]]
