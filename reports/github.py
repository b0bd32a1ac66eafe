"""The report for GitHub Actions: a summary in Markdown, and the lines that mark a job's log.

`render` is the summary, which is a comment on a pull request as well; `log_lines` are these.
"""

from __future__ import annotations

from xbackend.comparison.comparison import Comparison
from xbackend.facts.checks import Case, Checks, check

from .markdown import escape
from .markdown import render as render_markdown
from .wording import checks as words
from .wording.baseline import answer_sentence

MOST_CHARACTERS = 60_000
"""Of a summary: a comment on a pull request takes 65,536, a step's summary a megabyte."""
MOST_LINES = 10
"""Errors, and warnings, that GitHub shows of a step."""
MOST_SENTENCES = 50
"""Of a list, before it is cut."""


def render(comparison: Comparison, checks: Checks | None = None) -> str:
    """Lay out what checks come to, the numbers, and folded all that was compared."""
    found = checks or check(comparison)
    parts = [f"## xbackend: {escape(words.checks_sentence(found))}"]
    if found.baseline is not None:
        parts.append(escape(answer_sentence(found.baseline)))
    failures = [text for case in found.failures for text in words.failure_sentences(case)]
    failures += map(words.failed_run_sentence, found.failed_runs)
    parts += _listed(failures)
    parts.append(_numbers(found))
    told = [text for case in found.cases for text in words.told_sentences(case)]
    if told:
        parts.append(_folded("New to the baseline, and passing", "\n\n".join(_listed(told))))
    if found.cases:
        parts.append(_folded("All checks", _cases(found)))
    text = "\n\n".join(parts) + "\n"
    details = _folded("All that was compared", render_markdown(comparison))
    if len(text) + len(details) > MOST_CHARACTERS:
        details = "All that was compared is too much for this page: see `xbackend compare`."
    return f"{text[:MOST_CHARACTERS]}\n{details}\n"


def _listed(sentences: list[str]) -> list[str]:
    if not sentences:
        return []
    more = len(sentences) - MOST_SENTENCES
    rest = [f"* … and {more} more"] if more > 0 else []
    return ["\n".join([*(f"* {escape(text)}" for text in sentences[:MOST_SENTENCES]), *rest])]


def _folded(title: str, text: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{text.rstrip()}\n\n</details>"


def _table(headers: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [headers, ("---",) * len(headers), *(tuple(map(escape, row)) for row in rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)


def _numbers(checks: Checks) -> str:
    if not checks.numbers:
        return "No output was computed."
    return _table(words.NUMBER_HEADERS, list(map(words.number_cells, checks.numbers)))


def _cases(checks: Checks) -> str:
    def row(case: Case) -> tuple[str, ...]:
        return (case.model, words.case_name(case), "fails" if case.failures else "passes")

    return _table(("model", "check", "result"), list(map(row, checks.cases)))


def log_lines(checks: Checks) -> str:
    """Return `::error` and `::warning` lines, and a plain line with the numbers of each output."""
    lines = [f"xbackend: {words.numbers_sentence(each)}" for each in checks.numbers]
    errors = [
        _command("error", words.case_name(case), " ".join(words.failure_sentences(case)))
        for case in checks.failures
    ]
    errors += [
        _command("error", "a run failed", words.failed_run_sentence(run))
        for run in checks.failed_runs
    ]
    warnings = [
        _command("warning", words.case_name(case), " ".join(words.told_sentences(case)))
        for case in checks.cases
        if words.told_sentences(case)
    ]
    lines += _cut(errors, "errors") + _cut(warnings, "warnings")
    return "\n".join([*lines, f"xbackend: {words.checks_sentence(checks)}"])


def _cut(lines: list[str], what: str) -> list[str]:
    more = len(lines) - MOST_LINES
    if more <= 0:
        return lines
    return [*lines[:MOST_LINES], f"xbackend: {more} more {what} are in the summary."]


def _command(name: str, title: str, message: str) -> str:
    return f"::{name} title={_property(f'xbackend: {title}')}::{_data(message)}"


def _data(text: str) -> str:
    r"""Escape what would end a workflow command.

    >>> _data("50%\n::error::")
    '50%25%0A::error::'
    """
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """Escape what would end a property of a workflow command, too.

    >>> _property("a:b,c")
    'a%3Ab%2Cc'
    """
    return _data(text).replace(":", "%3A").replace(",", "%2C")
