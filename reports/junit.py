"""The report for CI services that read JUnit's XML: a case for each rule on each output."""

from __future__ import annotations

from xml.etree import ElementTree

from xbackend.comparison.comparison import Comparison
from xbackend.facts.checks import Case, Checks, check
from xbackend.store.records import Run

from .wording import checks as words
from .wording.formatting import name_run, printable

NOTHING = "nothing compared"
"""What a suite is called whose rules found nothing."""


def render(comparison: Comparison, checks: Checks | None = None) -> str:
    """Lay out checks as XML that Jenkins' schema of JUnit's format, version 10, allows.

    A suite is a model in a precision. A run that failed is a case of its own, with an error.
    """
    found = checks or check(comparison)
    root = ElementTree.Element("testsuites", {"name": "xbackend"})
    names = [each.model for each in found.numbers] + [case.model for case in found.cases]
    for name in dict.fromkeys(names):
        cases = [case for case in found.cases if case.model == name]
        if cases:
            root.append(_suite(name, cases, found))
    if found.failed_runs:
        root.append(_runs_suite(found.failed_runs))
    suites = list(root)
    for key in ("tests", "failures", "errors"):
        root.set(key, str(sum(int(suite.get(key, "0")) for suite in suites)))
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{_text(root)}\n'


def _text(root: ElementTree.Element) -> str:
    return ElementTree.tostring(root, encoding="unicode")


def _suite(name: str, cases: list[Case], checks: Checks) -> ElementTree.Element:
    title = printable(name) or NOTHING
    failing = sum(bool(case.failures) for case in cases)
    counts = {"tests": len(cases), "failures": failing, "errors": 0, "skipped": 0}
    suite = ElementTree.Element("testsuite", {"name": title, **_texts(counts)})
    numbers = [each for each in checks.numbers if each.model == name]
    if numbers:
        properties = ElementTree.SubElement(suite, "properties")
        for each in numbers:
            about = {"name": printable(each.output.tap), "value": words.numbers_sentence(each)}
            ElementTree.SubElement(properties, "property", about)
    for case in cases:
        suite.append(
            _case(
                title,
                case,
                [
                    words.numbers_sentence(each)
                    for each in numbers
                    if each.output.tap == case.tensor
                ],
            )
        )
    return suite


def _case(suite: str, case: Case, numbers: list[str]) -> ElementTree.Element:
    about = {"classname": f"xbackend.{suite}", "name": words.case_name(case)}
    found = ElementTree.Element("testcase", about)
    sentences = words.failure_sentences(case)
    if case.failures:
        kinds = dict.fromkeys(map(words.failure_type, case.failures))
        said = {"type": ", ".join(kinds), "message": sentences[0]}
        ElementTree.SubElement(found, "failure", said).text = "\n".join(sentences)
    told = [*numbers, *words.told_sentences(case)]
    if told:
        ElementTree.SubElement(found, "system-out").text = "\n".join(told)
    return found


def _runs_suite(runs: tuple[Run, ...]) -> ElementTree.Element:
    counts = {"tests": len(runs), "failures": 0, "errors": len(runs), "skipped": 0}
    suite = ElementTree.Element("testsuite", {"name": "runs", **_texts(counts)})
    for run in runs:
        about = {"classname": "xbackend.runs", "name": f"{name_run(run)} ({printable(run.id)})"}
        case = ElementTree.SubElement(suite, "testcase", about)
        said = words.failed_run_sentence(run)
        ElementTree.SubElement(case, "error", {"type": "run failed", "message": said}).text = said
    return suite


def _texts(counts: dict[str, int]) -> dict[str, str]:
    return {key: str(value) for key, value in counts.items()}
