"""The README says what is so: its commands parse, its tables hold what the code does."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from xbackend.commands import main
from xbackend.platforms.parse import KINDS
from xbackend.plugins import registry
from xbackend.worker.contract import PRECISIONS

PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "docs/add_a_backend.md",
    "docs/published.md",
    "docs/findings.md",
    "docs/studies.md",
)
BUILT_IN = ("tf", "ort", "torch", "tflite", "fixed")


@pytest.fixture(scope="module")
def readme(root: Path) -> str:
    """The README's text."""
    return (root / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_is_understood(root: Path, page: str) -> None:
    text = (root / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    lines = [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    for line in lines:
        words = shlex.split(line, comments=True)
        if words[0] == "xbackend":
            assert main.build_parser().parse_args(words[1:]).command == words[1]


def test_every_command_of_the_tool_is_shown(readme: str) -> None:
    assert [name for name in main.COMMANDS if f"$ xbackend {name}" not in readme] == []


@pytest.mark.parametrize("word", BUILT_IN)
def test_the_table_has_every_backend_with_its_precisions_and_settings(
    readme: str, word: str
) -> None:
    spec = registry.backend(word)
    row = next(line for line in readme.splitlines() if line.startswith(f"| `{word}` |"))
    _, _, _, precisions, settings, _ = [cell.strip() for cell in row.split("|")]
    assert precisions.split(", ") == [name for name in PRECISIONS if name in spec.formats]
    keys = [setting.key for setting in spec.settings]
    assert settings == (" ".join(f"`{key}`" for key in keys) or "none")


def test_the_table_has_every_platform(readme: str) -> None:
    table = readme.partition("## Platforms")[2].partition("##")[0]
    assert re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)[1:] != []
    assert set(re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)) - {"--platform"} == set(KINDS)


def test_every_link_leads_to_a_file(root: Path) -> None:
    for page in (*PAGES, "docs/how_it_works.md"):
        path = root / page
        prose = re.sub(r"^```.*?^```$", "", path.read_text("utf-8"), flags=re.M | re.S)
        links = re.findall(r"\]\(([^)#:]+)\)", prose)
        assert [link for link in links if not (path.parent / link).exists()] == []


def test_the_readme_shows_a_real_demo(readme: str) -> None:
    shown = readme.partition("<!-- demo -->")[2].partition("<!-- /demo -->")[0]
    for word in BUILT_IN:
        assert re.search(rf"^{word}\s.*\bok\b", shown, re.MULTILINE)
