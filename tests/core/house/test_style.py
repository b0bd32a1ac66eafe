"""The house rules that a program can check: sizes, names, docstrings, what must not be there."""

from __future__ import annotations

import ast
import re
import statistics
from pathlib import PurePosixPath

LONGEST_FILE = 400
LONGEST_FUNCTION = 50
MEDIAN_FUNCTION = 10

VAGUE = frozenset({"utils", "util", "common", "helpers", "helper", "manager", "managers", "misc"})
PICKLES = frozenset({"cloudpickle", "dill", "joblib", "pickle", "shelve"})

# Each pattern holds a class of one letter, so that it does not find itself.
PRIVATE = {
    "a path of one machine": r"(?<![\w.])/(?:wor[k]|roo[t]|hom[e]/\w+|User[s]/\w+)/",
    "a package host": r"pyp[i]\.org|pythonhoste[d]\.org|download\.pytorc[h]\.org|npmj[s]\.org",
    "the number of an issue": r"(?i)\bissue[s]?\s+(?:#\s*)?\d+\b|(?<!\w)#\d+[ \t]*[)\].]",
    "talk about how it was written": (
        r"(?i)\b(?:this sessio[n]|sub-?agen[t]s?|AI assistan[t]|workplac[e]|the brie[f])\b"
    ),
}


def functions(tree: ast.Module) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Return every function and method of a file."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [node for node in ast.walk(tree) if isinstance(node, kinds)]


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count the lines of a function, its signature and docstring among them."""
    return (node.end_lineno or node.lineno) - node.lineno + 1


def test_no_file_is_longer_than_400_lines(texts: dict[str, str]) -> None:
    long = {
        path: text.count("\n")
        for path, text in texts.items()
        if path.endswith(".py") and text.count("\n") > LONGEST_FILE
    }
    assert long == {}


def code_length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count the lines of a function without its docstring, which in the API is the manual."""
    first = node.body[0]
    told = ast.get_docstring(node) is not None
    return length(node) - ((first.end_lineno or first.lineno) - first.lineno + 1 if told else 0)


def test_no_function_is_longer_than_50_lines(trees: dict[str, ast.Module]) -> None:
    long = {
        f"{path}:{node.name}": code_length(node)
        for path, tree in trees.items()
        for node in functions(tree)
        if code_length(node) > LONGEST_FUNCTION
    }
    assert long == {}


def test_the_median_function_has_under_10_lines(package: dict[str, ast.Module]) -> None:
    lengths = [length(node) for tree in package.values() for node in functions(tree)]
    assert statistics.median(lengths) < MEDIAN_FUNCTION


def test_every_file_opens_with_a_line_that_says_what_it_holds(
    trees: dict[str, ast.Module],
) -> None:
    silent = [
        path
        for path, tree in trees.items()
        if not (ast.get_docstring(tree) or "").split("\n")[0].endswith((".", "?", "!"))
    ]
    assert silent == []


def test_no_name_says_nothing(texts: dict[str, str]) -> None:
    vague = [
        path
        for path in texts
        if VAGUE & {word for part in PurePosixPath(path).parts for word in re.split(r"[_.]", part)}
    ]
    assert vague == []


def test_nothing_is_unpickled(trees: dict[str, ast.Module]) -> None:
    found = [
        f"{path}:{node.lineno}"
        for path, tree in trees.items()
        if not path.startswith("tests/")
        for node in ast.walk(tree)
        if _unpickles(node)
    ]
    assert found == []


def _unpickles(node: ast.AST) -> bool:
    if isinstance(node, ast.Import):
        return any(alias.name.split(".")[0] in PICKLES for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        return node.level == 0 and (node.module or "").split(".")[0] in PICKLES
    if not isinstance(node, ast.Call):
        return False
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
    unsafe = given.get("allow_pickle", "False") != "False"
    unsafe = unsafe or given.get("safe_mode", "True") != "True"
    name = ast.unparse(node.func)
    unsafe = unsafe or (name == "torch.load" and given.get("weights_only") != "True")
    return unsafe or name in {"marshal.load", "marshal.loads"}


def test_no_text_is_run_as_a_program(trees: dict[str, ast.Module]) -> None:
    found = [
        f"{path}:{node.lineno}"
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in {"eval", "exec"}
    ]
    assert found == []


def test_no_file_names_a_machine_a_package_host_or_how_it_came_to_be(
    texts: dict[str, str],
) -> None:
    found = [
        f"{path}:{text.count(chr(10), 0, match.start()) + 1}: {what}: {match.group()}"
        for path, text in texts.items()
        for what, pattern in PRIVATE.items()
        for match in re.finditer(pattern, text)
    ]
    assert found == []


def test_every_test_checks_something(trees: dict[str, ast.Module]) -> None:
    idle = [
        f"{path}:{node.name}"
        for path, tree in trees.items()
        if path.startswith("tests/")
        for node in functions(tree)
        if node.name.startswith("test_") and not _checks(node)
    ]
    assert idle == []


def _checks(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(isinstance(inner, (ast.Assert, ast.With, ast.Call)) for inner in ast.walk(node))


def test_the_patterns_find_what_they_should() -> None:
    home = "/hom" + "e/ada/x"
    assert re.search(PRIVATE["a path of one machine"], f"open({home!r})")
    assert not re.search(PRIVATE["a path of one machine"], "docs/hom" + "e/ada/x")
    assert re.search(PRIVATE["the number of an issue"], "see issu" + "e 12")
    assert re.search(PRIVATE["the number of an issue"], "(see #" + "12)")
    assert not re.search(PRIVATE["the number of an issue"], "class #" + "12 of 20")
