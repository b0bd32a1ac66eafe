"""The documentation says what is so: commands parse, links and names lead somewhere."""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
import sys
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path, PurePosixPath
from types import ModuleType

import onnx
import pytest

from xbackend.commands import main

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FOLDERS = ("xbackend", "backends", "converters", "reports", "tests", "docs", "benchmarks")
ABOUT_THE_CODE = ("CONTRIBUTING.md", "docs/how_it_works.md", "docs/guides/add-a-backend.md")
FENCE = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")


def prose(text: str) -> str:
    """Return a page without its blocks of code."""
    return FENCE.sub("", text)


def anchors(text: str) -> set[str]:
    """Return the names that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in headings}


@pytest.fixture(scope="module")
def pages(root: Path) -> dict[str, str]:
    """Every page for people, by its path from the project's folder."""
    found = [*root.glob("*.md"), *root.glob("docs/**/*.md"), root / "benchmarks" / "README.md"]
    return {path.relative_to(root).as_posix(): path.read_text("utf-8") for path in sorted(found)}


def commands(text: str) -> Iterator[list[str]]:
    """Yield the words of each command of xbackend that a page's consoles show."""
    for block in re.findall(r"^ *```console\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if line.strip().startswith("$ xbackend "):
                words = shlex.split(line.strip()[2:], comments=True)
                yield list(takewhile(lambda word: word not in (">", "|"), words))


def test_every_command_of_every_page_is_understood(pages: dict[str, str]) -> None:
    parser = main.build_parser()
    shown = [words for text in pages.values() for words in commands(text)]
    assert len(shown) > 150
    assert [words for words in shown if parser.parse_args(words[1:]).command != words[1]] == []
    assert set(main.COMMANDS) - {words[1] for words in shown} == set()


def test_every_link_leads_to_a_file_and_a_heading(root: Path, pages: dict[str, str]) -> None:
    broken = []
    for page, text in pages.items():
        for link in LINK.findall(prose(text)):
            name, _, anchor = link.partition("#")
            if re.match(r"\w+:", link):
                continue
            path = (root / page).parent / name if name else root / page
            if not path.exists() or (anchor and anchor not in anchors(path.read_text("utf-8"))):
                broken.append(f"{page}: {link}")
    assert broken == []


def test_every_page_is_reached_from_the_readme(root: Path, pages: dict[str, str]) -> None:
    reached, waiting = {"README.md"}, ["README.md"]
    while waiting:
        page = waiting.pop()
        for link in LINK.findall(prose(pages.get(page, ""))):
            path = ((root / page).parent / link.partition("#")[0]).resolve()
            name = path.relative_to(root).as_posix() if path.is_relative_to(root) else ""
            if name in pages and name not in reached:
                reached.add(name)
                waiting.append(name)
    assert sorted(set(pages) - reached) == []


def test_every_path_in_backticks_exists(root: Path, pages: dict[str, str]) -> None:
    gone = [
        f"{page}: {name}"
        for page, text in pages.items()
        if page != "CHANGELOG.md"
        for name in SPAN.findall(prose(text))
        if re.fullmatch(r"\w+(/\w[\w.-]*)+/?", name) and name.split("/")[0] in FOLDERS
        if not (root / name).exists() and f"`{name}`:\n\n```" not in text  # a file of an example
    ]
    assert gone == []


def members(tree: ast.Module) -> dict[str, set[str]]:
    """Return what a file defines: each name, with the names within it if it is a class."""
    found: dict[str, set[str]] = {}
    for node in tree.body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {alias.asname or alias.name: set() for alias in node.names}
        elif isinstance(node, ast.If):  # what a package hands on when asked: `import x as x`
            inner = (each for each in node.body if isinstance(each, ast.ImportFrom))
            names = (alias for each in inner for alias in each.names)
            found |= {alias.name: set() for alias in names if alias.asname == alias.name}
        elif isinstance(node, ast.ClassDef):
            found[node.name] = set().union(*map(bound, node.body))
        else:
            found |= {name: set() for name in bound(node)}
    return found


def bound(node: ast.stmt) -> set[str]:
    """Return the names that a definition or an assignment binds."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {node.name}
    names = {target.id for target in ast.walk(node) if isinstance(target, ast.Name)}
    return names if isinstance(node, (ast.Assign, ast.AnnAssign)) else set()


@pytest.fixture(scope="module")
def defined(trees: dict[str, ast.Module]) -> dict[str, dict[str, set[str]]]:
    """What each module of the package defines, by its dotted name."""
    found = {}
    for path, tree in trees.items():
        parts = PurePosixPath(path).with_suffix("").parts
        if parts[0] in FOLDERS[:4]:
            dotted = ".".join(parts if parts[0] == "xbackend" else ("xbackend", *parts))
            found[dotted.removesuffix(".__init__")] = members(tree)
    return found


def known(dotted: str, defined: dict[str, dict[str, set[str]]]) -> bool:
    """Tell whether a dotted name is a module, or something in one."""
    module, _, name = dotted.rpartition(".")
    owner, _, class_name = module.rpartition(".")
    return (
        dotted in defined
        or name in defined.get(module, {})
        or name in defined.get(owner, {}).get(class_name, set())
    )


def test_every_dotted_name_of_the_package_is_there(
    root: Path, pages: dict[str, str], defined: dict[str, dict[str, set[str]]]
) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    groups = set(project["entry-points"])
    gone = [
        f"{page}: {name}"
        for page, text in pages.items()
        for name in SPAN.findall(prose(text))
        if re.fullmatch(r"xbackend(\.\w+)+", name) and name not in groups
        if not known(name, defined)
    ]
    assert gone == []


def test_every_class_that_a_page_about_the_code_names_is_there_with_its_member(
    pages: dict[str, str], defined: dict[str, dict[str, set[str]]]
) -> None:
    classes: dict[str, set[str]] = {}
    for names in defined.values():
        for name, inner in names.items():
            classes.setdefault(name, set()).update(inner)
    shown = [
        (page, *match.groups())
        for page in ABOUT_THE_CODE
        for name in SPAN.findall(prose(pages[page]))
        if (match := re.fullmatch(r"([A-Z][a-z]+[A-Za-z]*)(?:\.([a-z]\w*))?", name))
        if not onnx.defs.has(match[1])
    ]
    assert [row for row in shown if row[1] not in classes] == []
    members_of = [(page, name, member) for page, name, member in shown if member]
    assert members_of != []
    assert [row for row in members_of if row[2] not in classes[row[1]]] == []


def test_every_import_in_a_page_is_one_that_works(
    pages: dict[str, str], defined: dict[str, dict[str, set[str]]]
) -> None:
    gone = []
    for page, text in pages.items():
        for block in re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            if not re.search(r"^(from|import) ", block, re.MULTILINE):
                continue  # a signature, which is no program
            for node in ast.walk(ast.parse(block)):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("xbackend"):
                    names = [f"{node.module}.{alias.name}" for alias in node.names]
                    gone += [f"{page}: {name}" for name in names if not known(name, defined)]
    assert gone == []


@pytest.mark.parametrize("word", ["commands", "backends"])
def test_a_page_that_is_made_is_up_to_date(root: Path, word: str) -> None:
    shown = (root / "docs" / "reference" / f"{word}.md").read_text("utf-8")
    assert load(root / "docs" / f"make_{word}.py").page() == shown, (
        f"run: python docs/make_{word}.py"
    )


def load(path: Path) -> ModuleType:
    """Import a script that makes a page."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_index_of_findings_holds_each_page_with_its_result(root: Path) -> None:
    folder = root / "docs" / "findings"
    index = (folder / "README.md").read_text("utf-8")
    items = re.findall(
        r"^\* \[([^\]]+)\]\(([\w-]+\.md)\):\s(.+?)(?=\n\*|\n\n|\Z)", index, re.M | re.S
    )
    told = {name: (title, " ".join(text.split())) for title, name, text in items}
    held = {}
    for path in sorted(folder.glob("*.md")):
        if path.name not in ("README.md", "machines.md"):
            heading, result, _ = path.read_text("utf-8").split("\n\n", 2)
            assert re.fullmatch(r"\*\*.*\.\*\*", result, re.DOTALL), path.name
            held[path.name] = (heading[2:], " ".join(result.strip("*").split()))
    assert len(held) > 20
    assert told == held


def test_each_finding_has_a_command_that_shows_it(root: Path) -> None:
    silent = [
        path.name
        for path in sorted((root / "docs" / "findings").glob("*.md"))
        if path.name not in ("README.md", "machines.md")
        if next(commands(path.read_text("utf-8")), None) is None
    ]
    assert silent == []
