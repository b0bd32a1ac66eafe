"""docs/api.md says what the code says, and its examples give what they show."""

from __future__ import annotations

import doctest
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import xbackend
from xbackend.plugins import registry


@pytest.fixture(scope="module")
def maker(root: Path) -> ModuleType:
    """The script that makes the page."""
    spec = importlib.util.spec_from_file_location("make_api", root / "docs" / "make_api.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def examples(root: Path) -> dict[str, str]:
    """Return each function's example of the page, by the function's name."""
    page = (root / "docs" / "api.md").read_text(encoding="utf-8")
    found = re.findall(r"^### `(\w+)`$(.*?)(?=^##)", page, re.MULTILINE | re.DOTALL)
    blocks = {name: re.search(r"```pycon\n(.*?)```", text, re.DOTALL) for name, text in found}
    return {name: block[1] for name, block in blocks.items() if block}


EXAMPLES = examples(Path(__file__).resolve().parents[3])


def test_the_page_is_what_the_script_makes_of_the_code(root: Path, maker: ModuleType) -> None:
    assert (root / "docs" / "api.md").read_text(encoding="utf-8") == maker.page()


def test_the_page_is_made_without_importing_anything_but_the_standard_library(root: Path) -> None:
    program = (
        "import runpy, sys; runpy.run_path(sys.argv[1]);"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    command = [sys.executable, "-S", "-c", program, str(root / "docs" / "make_api.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert {"ast", "re"} <= set(done.stdout.split())
    assert not {"xbackend", "numpy", "onnx", "torch"} & set(done.stdout.split())


def test_every_function_is_on_the_page(maker: ModuleType) -> None:
    told = {name for _, names in maker.FUNCTIONS for name in names}
    offered = {name for name in xbackend.OFFERED if name[0].islower()}
    assert told == offered


def test_every_function_has_an_example_but_the_one_that_trains(maker: ModuleType) -> None:
    told = {name for _, names in maker.FUNCTIONS for name in names}
    assert told - set(EXAMPLES) == {"train"}


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_an_example_gives_what_it_shows(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("XBACKEND_STORE", raising=False)
    if "xb.report(" in EXAMPLES[name] and registry.missing_for("html"):
        pytest.skip("The extra 'report' is not installed.")
    runner = doctest.DocTestRunner(verbose=False)
    test = doctest.DocTestParser().get_doctest(EXAMPLES[name], {}, name, "docs/api.md", 0)
    said: list[str] = []
    runner.run(test, out=said.append)
    assert runner.failures == 0, "".join(said)
    assert runner.tries > 0
