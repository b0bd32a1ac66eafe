"""What CI services read: workflow commands and a summary of GitHub's, and JUnit's XML."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from xbackend.commands.main import main
from xbackend.testing.store_builder import StoreBuilder

ONE, NEAR = [0.25, 0.5], [0.25, 0.5 + 2**-24]
HOSTILE = "y\n::error::<script>|%0A]]>\x1b[2J\ud800"

ALLOWED = {
    "testsuites": ({"name", "time", "tests", "failures", "errors"}, ("testsuite",)),
    "testsuite": (
        {"name", "tests", "failures", "errors", "group", "time", "skipped", "timestamp", "hostname",
         "id", "package", "file", "log", "url"},
        ("testsuite", "properties", "testcase", "system-out", "system-err"),
    ),
    "properties": (set(), ("property",)),
    "property": ({"name", "value"}, ()),
    "testcase": (
        {"name", "time", "classname", "group"},
        ("skipped", "error", "failure", "system-out", "system-err"),
    ),
    "failure": ({"type", "message"}, ()),
    "error": ({"type", "message"}, ()),
    "skipped": ({"type", "message"}, ()),
    "system-out": (set(), ()),
    "system-err": (set(), ()),
}  # fmt: skip
"""What junit-10.xsd of Jenkins' xUnit plug-in allows: attributes, and elements within."""
NEEDED = {
    "testsuite": {"name", "tests", "failures", "errors"},
    "testcase": {"name"},
    "property": {"name", "value"},
}


def check_junit(element: ElementTree.Element) -> None:
    """Assert what the schema says of an element and of all within it."""
    attributes, inner = ALLOWED[element.tag]
    assert set(element.attrib) <= attributes
    assert NEEDED.get(element.tag, set()) <= set(element.attrib)
    for each in element:
        assert each.tag in inner
        check_junit(each)


@pytest.fixture
def store(bench: StoreBuilder) -> str:
    """Two runs one ULP apart, with a layer, and one that failed."""
    bench.run({"y": ONE}, {"conv": [1.0]})
    bench.run({"y": NEAR}, {"conv": [1.0]})
    error = {"stage": "run", "symptom": "signal 11", "message": "It crashed."}
    bench.run(status="failed", error=error, backend="torch")
    return str(bench.store.folder)


def compare(capsys: Any, store: str, *words: str) -> tuple[int, str]:
    status = main(["compare", "--store", store, *words])
    return status, capsys.readouterr().out


def test_junit_has_a_case_for_each_rule_and_output(store: str, capsys: Any) -> None:
    rules = ("--gate", "output: bits>=23, flips=0", "--max-eqcs", "2", "--gate", "conv: ulp<=0")
    status, text = compare(capsys, store, "--format", "junit", *rules)
    root = ElementTree.fromstring(text)
    check_junit(root)
    assert status == 1
    assert root.attrib == {"name": "xbackend", "tests": "5", "failures": "1", "errors": "1"}
    found = {case.get("name"): [each.tag for each in case] for case in root.iter("testcase")}
    assert found == {
        "y: output: bits>=23": ["failure", "system-out"],
        "y: output: flips=0": ["system-out"],
        "y: max-eqcs 2": ["system-out"],
        "conv: conv: ulp<=0": [],
        "torch float32, native (run-2)": ["error"],
    }
    (failure,) = root.iter("failure")
    assert failure.get("message", "").endswith(
        "fails at 'y' of net (float32), input '0': bits is 22."
    )
    (value,) = [each.get("value", "") for each in root.iter("property")]
    assert "common mantissa bits 22, max ULP 1" in value


def test_a_rule_of_which_nothing_was_compared_is_a_case_that_fails(
    bench: StoreBuilder, capsys: Any
) -> None:
    bench.run({"y": ONE})
    rules = ("--gate", "output: bits>=1", "--fail-under", "1")
    status, text = compare(capsys, str(bench.store.folder), "--format", "junit", *rules)
    root = ElementTree.fromstring(text)
    check_junit(root)
    assert (status, root.get("tests"), root.get("failures")) == (1, "2", "2")


def test_junit_without_a_rule_is_refused(store: str, capsys: Any) -> None:
    assert main(["compare", "--store", store, "--format", "junit"]) == 2
    assert "none is asked for" in capsys.readouterr().err


def test_github_marks_errors_and_always_prints_the_numbers(
    store: str, capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("begun\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    status, text = compare(capsys, store, "--format", "github", "--gate", "output: bits>=23")
    lines = text.splitlines()
    assert status == 1
    assert lines[0].startswith("xbackend: 'y' of net (float32), 1 input: classes 2, runs 2, ")
    assert lines[1].startswith("::error title=xbackend%3A y%3A output%3A bits>=23::Gate ")
    assert lines[2].startswith(
        "::error title=xbackend%3A a run failed::torch float32, native failed"
    )
    assert lines[3] == "xbackend: 1 of 1 check fails."
    page = summary.read_text()
    assert page.startswith("begun\n## xbackend: 1 of 1 check fails.")
    assert page.count("<details>") == page.count("</details>") == 2
    assert "| net (float32) | y | 2 | 2 | 22 | 1 |" in page
    status, text = compare(capsys, store, "--format", "github", "--gate", "output: bits>=1")
    assert status == 0
    assert "common mantissa bits 22, max ULP 1" in text
    assert "::error title=xbackend%3A y" not in text


def test_a_new_kind_of_machine_is_a_warning(
    store: str, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = str(tmp_path / "baseline.json")
    main(["baseline", "--store", store, "--output", file])
    later = StoreBuilder(tmp_path / "later")
    later.run({"y": ONE}, hardware={"vendor": "Other", "flags": []})
    capsys.readouterr()
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    words = ("--format", "github", "--baseline", file, "--output", str(tmp_path / "comment.md"))
    status, text = compare(capsys, str(later.store.folder), *words)
    assert status == 0
    warning = next(line for line in text.splitlines() if line.startswith("::warning"))
    assert "on a new kind of machine, given by 1 run (ort 1.0 on Other)" in warning
    assert "The baseline gate passes" in (tmp_path / "comment.md").read_text()


def test_names_of_strangers_are_text_in_every_format(
    bench: StoreBuilder, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    name = HOSTILE.replace("\ud800", "")
    model = {"name": "m\n::warning::x", "digest": "d" * 64, "source": None}
    for values in (ONE, NEAR):
        bench.run({name: values}, model=model)
    folder = str(bench.store.folder)
    _, text = compare(capsys, folder, "--format", "github", "--max-eqcs", "1")
    lines, _, page = text.partition("## xbackend")
    commands = [line for line in lines.splitlines() if line.startswith("::")]
    assert len(commands) == 1
    assert re.match(r"::error title=xbackend%3A y\\n%3A%3Aerror%3A%3A<script>\|%250A", commands[0])
    assert "<script>" not in page
    assert "\x1b" not in text
    _, text = compare(capsys, folder, "--format", "junit", "--max-eqcs", "1")
    check_junit(ElementTree.fromstring(text))


def test_a_summary_fits_into_a_comment(bench: StoreBuilder, capsys: Any) -> None:
    names = [f"output_{at}_{'x' * 60}" for at in range(300)]
    for values in (ONE, NEAR):
        bench.run(dict.fromkeys(names, values))
    words = ("--format", "github", "--max-eqcs", "1", "--output", str(bench.store.folder / "s.md"))
    _, text = compare(capsys, str(bench.store.folder), *words)
    assert sum(line.startswith("::error") for line in text.splitlines()) == 10
    assert "xbackend: 290 more errors are in the summary." in text
    page = (bench.store.folder / "s.md").read_text()
    assert len(page) < 65_536
    assert "see `xbackend compare`" in page
