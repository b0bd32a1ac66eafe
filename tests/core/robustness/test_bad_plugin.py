"""Strangers' plugins that are broken: named in one sentence, and in nobody's way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

SPEC = """
from xbackend.worker.contract import BackendSpec

def spec(word, adapter):
    return BackendSpec(word, "Broken", adapter, (), (), {"float32": "graph"})
"""

MODULES = {
    "gone": "import a_package_that_nobody_has",
    "typo": "SPEC = = 1",
    "raises": "raise RuntimeError('no licence found')",
    "leaves": "import sys; sys.exit('goodbye')",
    "empty": "",
    "wrong": "SPEC = 'a text'",
}
"""What a plugin's module says, by the word of the backend."""

ADAPTERS = {
    "lost": "no_such_module:Adapter",
    "unparsable": "broken_for_tests.unparsable:Adapter",
    "unnamed": "broken_for_tests.unnamed:Adapter",
    "foreign": "broken_for_tests.foreign:Adapter",
}
"""Specs that are sound, with an adapter that is not."""


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("broken")
    package = folder / "broken_for_tests"
    package.mkdir()
    (package / "__init__.py").write_text(SPEC)
    for word, text in MODULES.items():
        (package / f"{word}.py").write_text(text)
    for word, adapter in ADAPTERS.items():
        (package / f"spec_{word}.py").write_text(
            f"from broken_for_tests import spec\nSPEC = spec({word!r}, {adapter!r})\n"
        )
    (package / "unparsable.py").write_text("class Adapter(:\n")
    (package / "unnamed.py").write_text("")
    (package / "foreign.py").write_text("class Adapter:\n    pass\n")
    lines = ["[xbackend.backends]"]
    lines += [f"{word} = broken_for_tests.{word}:SPEC" for word in MODULES]
    lines += [f"{word} = broken_for_tests.spec_{word}:SPEC" for word in ADAPTERS]
    lines += ["absent_package = package_that_is_gone.spec:SPEC", "[xbackend.converters]"]
    lines += [f"{word} = broken_for_tests.{word}:SPEC" for word in MODULES]
    lines += ["absent_package = package_that_is_gone.spec:SPEC"]
    info = folder / "broken_for_tests-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-for-tests\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def beside(xbackend, environment: dict[str, str], broken: Path):
    """Run a command with the broken plugins installed beside the fakes."""
    path = f"{environment['PYTHONPATH']}:{broken}"

    def run(*arguments: object, **options: object):
        return xbackend(*arguments, env={"PYTHONPATH": path}, **options)

    return run


def test_broken_plugins_are_in_nobodys_way(beside, sound: Path, tmp_path: Path) -> None:
    done = beside("run", sound, "--backends", "good")
    assert done.status == 0, done
    assert "Traceback" not in done.err
    (record,) = [json.loads(path.read_text()) for path in (tmp_path / "store/runs").iterdir()]
    assert record["status"] == "ok"


@pytest.mark.parametrize("word", [*MODULES, "absent_package"])
def test_a_plugin_that_cannot_be_loaded_is_named(beside, sound: Path, word: str) -> None:
    done = beside("run", sound, "--backends", word)
    assert done.status == 2, done
    assert f"'{word}'" in done.sentence


@pytest.mark.parametrize("word", [*ADAPTERS])
def test_an_adapter_that_cannot_be_loaded_is_told_and_harms_no_other(
    beside, sound: Path, tmp_path: Path, word: str
) -> None:
    done = beside("run", sound, "--backends", f"good,{word}")
    assert done.status == 3, done
    assert "Traceback" not in done.err + done.out
    records = [json.loads(path.read_text()) for path in (tmp_path / "store/runs").iterdir()]
    assert {record["backend"]: record["status"] for record in records} == {
        "good": "ok",
        word: "failed",
    }


def test_the_list_of_backends_names_broken_plugins_and_lists_the_others(beside) -> None:
    done = beside("backends")
    assert "Traceback" not in done.err
    assert done.status == 0, done
    listed = [line for line in done.out.splitlines() if line and not line.startswith(" ")]
    for word in ("good", "bad", "fixed", *ADAPTERS):
        assert any(line.startswith(word) for line in listed), word
    for word in MODULES:
        assert f"'{word}'" in done.err


def test_a_run_on_every_installed_backend_passes_over_broken_plugins(
    beside, sound: Path, tmp_path: Path
) -> None:
    done = beside("run", sound, "--taps", "outputs", "--threads", "1", timeout=300)
    assert "Traceback" not in done.err + done.out
    assert done.status == 3
    records = [json.loads(path.read_text()) for path in (tmp_path / "store/runs").iterdir()]
    assert {"good", "bad", "fixed"} <= {record["backend"] for record in records}
