"""The plug-in of pytest: what a test asserts, what a failure prints, what loading it costs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest_plugins = ["pytester"]

LOADED = """
import json, sys
import xbackend.pytest.plugin
print(json.dumps(sorted(name for name in sys.modules if name.split(".")[0] == "xbackend")))
print(json.dumps(sorted({"numpy", "onnx", "rich", "tabulate"} & set(sys.modules))))
"""


@pytest.fixture
def project(pytester: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Another project, with no store of anybody's."""
    monkeypatch.delenv("XBACKEND_STORE", raising=False)
    pytester.makeini("[pytest]\naddopts = --strict-markers\n")
    return pytester


def run(project: Any, *words: str) -> Any:
    return project.runpytest_inprocess("-p", "no:randomly", *words)


def test_the_plugin_imports_next_to_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True)
    own, others = map(json.loads, done.stdout.splitlines())
    assert own == [
        "xbackend",
        "xbackend.pytest",
        "xbackend.pytest.current",
        "xbackend.pytest.plugin",
    ]
    assert others == []


def test_the_same_bits_pass_and_the_marker_says_the_rest(project: Any) -> None:
    project.makepyfile(
        """
        import pytest
        from xbackend.pytest import assert_consistent

        @pytest.mark.xbackend(backends="fixed", threads=[1, 2])
        def test_one():
            found = assert_consistent("cifar10-small")
            assert [len(ids) for ids in found.classes] == [2]
        """
    )
    run(project).assert_outcomes(passed=1)


def test_one_run_alone_is_no_pass_and_the_failure_is_in_sentences(project: Any) -> None:
    project.makepyfile(
        """
        from xbackend.pytest import assert_consistent

        def test_one():
            assert_consistent("cifar10-small", backends="fixed", min_bits=12)
        """
    )
    done = run(project)
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(
        [
            "E*AssertionError: *",
            "E*Gate 'output: bits>=12': nothing was compared, as no two runs have an output.",
            "E*Look further: xbackend explain --store *",
        ]
    )
    done.stdout.no_fnmatch_line("*array(*")


def test_a_backend_that_is_named_and_cannot_run_is_no_pass(project: Any) -> None:
    project.makepyfile(
        """
        from xbackend.pytest import assert_consistent

        def test_one():
            assert_consistent(
                "cifar10-small", backends="fixed", threads=[1, 2], precisions=["int8", "bfloat16"]
            )
        """
    )
    done = run(project)
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["E*fixed on native skipped: *"])


def test_a_baseline_is_written_when_asked_for_and_then_held_to(project: Any) -> None:
    project.makepyfile(
        """
        from xbackend.pytest import assert_consistent

        def test_one():
            assert_consistent("cifar10-small", backends="fixed", baseline="known.json")
        """
    )
    done = run(project)
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["E*write it with 'pytest --xbackend-update'."])
    run(project, "--xbackend-update").assert_outcomes(passed=1)
    file = Path(project.path) / "known.json"
    assert file.read_text().startswith('{"schema_version":1,"format":"xbackend baseline"')
    run(project).assert_outcomes(passed=1)
    text = file.read_text()
    rows = [row for row in json.loads(text)["entries"] if "class" not in row and "seen" not in row]
    file.write_text(json.dumps({**json.loads(text), "entries": rows}))
    done = run(project)
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["E*The baseline gate fails: 3 × nothing to compare."])
    run(project, "--xbackend-update").assert_outcomes(passed=1)
    assert sorted(json.loads(file.read_text()), key=str) == sorted(json.loads(text), key=str)


def test_a_marker_with_a_word_that_is_not_known_is_refused(project: Any) -> None:
    project.makepyfile(
        """
        import pytest
        from xbackend.pytest import assert_consistent

        @pytest.mark.xbackend(backend="fixed")
        def test_one():
            assert_consistent("cifar10-small")
        """
    )
    done = run(project)
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["E*UsageError: '@pytest.mark.xbackend(backend=…)' is not known.*"])


def test_runs_are_kept_in_the_cache_of_pytest(project: Any) -> None:
    project.makepyfile(
        """
        from xbackend.pytest import assert_consistent

        def test_one():
            assert_consistent("cifar10-small", backends="fixed", threads=[1, 2])
        """
    )
    run(project).assert_outcomes(passed=1)
    kept = Path(project.path) / ".pytest_cache" / "d" / "xbackend" / "runs"
    assert len(list(kept.glob("*.json"))) == 2
    assert not (Path(project.path) / ".xbackend").exists()


def test_the_option_is_in_the_help_and_the_marker_is_known(project: Any) -> None:
    run(project, "--help").stdout.fnmatch_lines(["*--xbackend-update*"])
    run(project, "--markers").stdout.fnmatch_lines(["@pytest.mark.xbackend(backends=None, *"])
