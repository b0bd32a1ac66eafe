"""The README says what is so, and the tables of the reference hold what the code does."""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import Any, TypeGuard

import pytest

import xbackend as api
from xbackend.commands import main
from xbackend.platforms.parse import KINDS
from xbackend.plugins import registry
from xbackend.worker.contract import PRECISIONS

BUILT_IN = ("tf", "ort", "torch", "tflite", "fixed")
THREE_MINUTES = 700
"""Words that are read in three minutes, those of the demo's tables left out."""


@pytest.fixture(scope="module")
def readme(root: Path) -> str:
    """The README's text."""
    return (root / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def reference(root: Path) -> dict[str, str]:
    """The pages of the reference by their names."""
    pages = (root / "docs" / "reference").glob("*.md")
    return {path.stem: path.read_text(encoding="utf-8") for path in pages}


def test_the_readme_is_read_in_three_minutes(readme: str) -> None:
    prose = re.sub(r"^```.*?^```$", "", readme, flags=re.MULTILINE | re.DOTALL)
    assert len(re.findall(r"\w+", re.sub(r"\]\([^)]*\)", "]", prose))) < THREE_MINUTES


def test_what_the_table_of_the_readme_tells_to_type_is_understood(readme: str) -> None:
    table = readme.partition("## What most people do")[2].partition("\n##")[0]
    shown = [shlex.split(words) for words in re.findall(r"`xbackend ([^`]+)`", table)]
    assert len(shown) >= 5
    assert [words for words in shown if main.build_parser().parse_args(words) is None] == []


def test_what_the_readme_does_from_python_is_there(readme: str) -> None:
    (program,) = re.findall(r"^```python\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    owners = {"xb": api, "c": api.Comparison}
    shown = [
        (node.value.id, node.attr)
        for node in ast.walk(ast.parse(program))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    ]
    assert {("xb", "run"), ("xb", "compare"), ("c", "classes")} <= set(shown)
    assert [(name, of) for name, of in shown if not hasattr(owners[name], of)] == []
    (call,) = [node for node in ast.walk(ast.parse(program)) if _calls(node, "run")]
    signature(api.run).bind(*call.args, **{word.arg or "": word.value for word in call.keywords})


def _calls(node: ast.AST, name: str) -> TypeGuard[ast.Call]:
    called = node.func if isinstance(node, ast.Call) else None
    return isinstance(called, ast.Attribute) and called.attr == name


def test_every_command_of_the_tool_is_shown(reference: dict[str, str]) -> None:
    page = reference["commands"]
    assert [name for name in main.COMMANDS if f"\n## xbackend {name}\n" not in page] == []


@pytest.mark.parametrize("word", BUILT_IN)
def test_the_table_has_every_backend_with_its_precisions_and_settings(
    reference: dict[str, str], word: str
) -> None:
    spec = registry.backend(word)
    rows = reference["backends"].splitlines()
    row = next(line for line in rows if line.startswith(f"| `{word}` |"))
    _, _, _, precisions, settings, _ = [cell.strip() for cell in row.split("|")]
    assert precisions.split(", ") == [name for name in PRECISIONS if name in spec.formats]
    keys = [setting.key for setting in spec.settings]
    assert settings == (" ".join(f"`{key}`" for key in keys) or "none")


def test_the_table_has_every_platform(reference: dict[str, str]) -> None:
    table = reference["platforms"].partition("##")[0]
    assert re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)[1:] != []
    assert set(re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)) - {"--platform"} == set(KINDS)


def test_the_readme_shows_a_real_demo(readme: str) -> None:
    shown = readme.partition("<!-- demo -->")[2].partition("<!-- /demo -->")[0]
    for word in BUILT_IN:
        assert re.search(rf"^{word}\s.*\bok\b", shown, re.MULTILINE)


def test_every_key_of_a_record_and_of_the_json_report_is_explained(
    reference: dict[str, str], xbackend: Callable[..., Any], sound: Path
) -> None:
    told = set(re.findall(r"`([\w.]+)`", reference["records"]))
    nudged = ("bad.at=run", "bad.does=up=h")
    settings = [word for setting in nudged for word in ("--set", setting)]
    done = xbackend("run", sound, "--backends", "good,bad", *settings, "--json")
    assert done.status == 0, done.err
    (record, *_) = json.loads(done.out)
    report = json.loads(xbackend("compare", "--format", "json").out)
    keys = {*record, *record["results"][0], *report}
    for entries in report.values():
        keys |= {key for entry in entries for key in entry} if isinstance(entries, list) else set()
    ends = ("_before", "_after")
    assert len(keys) > 60
    assert sorted(key for key in keys - told if not key.endswith(ends)) == []
