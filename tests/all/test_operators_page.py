"""The page on operators says what the suite and the expected failures do, without running them."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import onnx
import pytest

from xbackend.testing.expected_failures import find_expected
from xbackend.testing.operators import HUB_OPERATORS
from xbackend.testing.suite_cases import strict_cases


@pytest.fixture(scope="module")
def maker(root: Path) -> ModuleType:
    """The script that makes the page."""
    path = root / "docs" / "make_operators.py"
    spec = importlib.util.spec_from_file_location("make_operators", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where its dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    """The page, if the installed onnx has the suite that it was made from."""
    text = (root / "docs" / "reference" / "operators.md").read_text(encoding="utf-8")
    made_with = re.search(r"onnx (\d+\.\d+\.\d+)\)", text)
    assert made_with is not None
    if made_with[1] != onnx.__version__:
        pytest.skip(f"The page counts the tests of onnx {made_with[1]}, not {onnx.__version__}.")
    return text


def cells(page: str, heading: str) -> dict[str, list[str]]:
    """Return the rows of the table under a heading, by their first cell."""
    table = page.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [line.split("|")[1:-1] for line in table.splitlines() if line.startswith("|")]
    return {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows[2:]}


def test_the_float32_table_counts_what_is_not_expected_to_fail(
    page: str, maker: ModuleType
) -> None:
    total = Counter(case.operator for case in strict_cases())
    expected = maker.expected_failures()
    wanted = {name: [] for name in sorted(HUB_OPERATORS)}
    for word in maker.WORDS:
        failing = Counter(
            case.operator for case in strict_cases() if find_expected(case.name, expected[word])
        )
        for name, row in wanted.items():
            row.append(f"{total[name] - failing[name]} / {total[name]}" if total[name] else "-")
    found = cells(page, "Float32")
    assert {name: row for name, row in found.items() if name in HUB_OPERATORS} == wanted
    assert list(found) == [*sorted(HUB_OPERATORS), "**All**"]


def test_the_expected_failures_are_told_as_they_are(page: str, maker: ModuleType) -> None:
    told = maker.failure_tables(maker.expected_failures())
    assert page.endswith(told)
    assert "`test_training_dropout`" in told
