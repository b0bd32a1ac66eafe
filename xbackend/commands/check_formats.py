"""`compare --format github` and `--format junit`: what rules come to, where CI services read it."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from typing import TYPE_CHECKING

from xbackend.errors import UsageError

if TYPE_CHECKING:
    from xbackend.api.baseline import BaselineJudgement
    from xbackend.api.comparison import Comparison

FORMATS = ("github", "junit")
SUMMARY = "GITHUB_STEP_SUMMARY"
"""The variable that names the file which GitHub shows as the summary of a step."""


def check_format(options: Namespace) -> None:
    """Raise UsageError for a file of test cases that would hold none."""
    numbers = (options.fail_under, options.max_eqcs)
    asked = options.gate or options.baseline or any(each is not None for each in numbers)
    if options.format == "junit" and not asked:
        raise UsageError(
            "'--format junit' has a case for each rule, and none is asked for. Add --gate, "
            "--fail-under, --max-eqcs or --baseline."
        )


def write_checks(found: Comparison, options: Namespace, judged: BaselineJudgement | None) -> None:
    """Write what every rule comes to, in one of the formats."""
    from xbackend.api.checks import checks
    from xbackend.commands.output import write_result
    from xbackend.plugins import registry

    said = checks(
        found,
        options.gate or (),
        fail_under=options.fail_under,
        max_eqcs=options.max_eqcs,
        baseline=judged,
    )
    text = registry.report(options.format)(found.result, checks=said)
    if options.format != "github":
        write_result(options.output, text)
        return
    write_result(None, registry.renderer("github-lines")(said))
    if options.output is None and os.environ.get(SUMMARY):
        _append(os.environ[SUMMARY], text)
    else:
        write_result(options.output, text)


def _append(path: str, text: str) -> None:
    """Add to a step's summary, which other commands of the step may have begun."""
    try:
        with open(path, "a", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(text + "\n")
    except OSError as error:
        print(
            f"xbackend: Cannot write {path}, which ${SUMMARY} names: {error.strerror or error}. "
            "The summary follows.",
            file=sys.stderr,
        )
        sys.stdout.write(text)
