"""The examples of docstrings give what they show; those of the API are run where its page is."""

from __future__ import annotations

import ast
import doctest
import importlib
from pathlib import Path

import pytest

OTHERS = tuple(f"backends/{word}/" for word in ("ort", "tf", "tflite", "torch"))
"""What imports a framework."""


def _module(path: str) -> str:
    name = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return name if name.startswith("xbackend") else f"xbackend.{name}"


def _has_examples(tree: ast.Module) -> bool:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
    texts = (ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, kinds))
    return any(text and ">>> " in text for text in texts)


def test_every_example_of_a_docstring_gives_what_it_shows(
    package: dict[str, ast.Module], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    runner = doctest.DocTestRunner(verbose=False)
    for path, tree in package.items():
        if path.startswith(("xbackend/api/", *OTHERS)) or not _has_examples(tree):
            continue
        module = importlib.import_module(_module(path))
        for test in doctest.DocTestFinder().find(module):
            runner.run(test, out=said.append)
    assert said == []
    assert runner.tries > 200
