"""What `compare --baseline` does: holds runs against a baseline, says how, adds to it."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import TYPE_CHECKING

from xbackend.errors import UsageError

if TYPE_CHECKING:
    from xbackend.api.baseline import BaselineJudgement
    from xbackend.api.comparison import Comparison


def check_baseline_options(options: Namespace) -> None:
    """Raise UsageError, before anything is compared, for options or a file that are wrong."""
    if options.baseline is None:
        for name in ("baseline_rule", "baseline_update"):
            if getattr(options, name):
                option = f"--{name.replace('_', '-')}"
                raise UsageError(f"'{option}' needs '--baseline FILE', which it is about.")
        return
    from xbackend.api.baseline import baseline_rules, read_baseline_file

    baseline_rules(options.baseline_rule or ())
    read_baseline_file(options.baseline)


def judged_by_baseline(found: Comparison, options: Namespace) -> BaselineJudgement | None:
    """Hold runs against the baseline; None where none was named."""
    if options.baseline is None:
        return None
    from xbackend.api.baseline import check_baseline

    return check_baseline(found, options.baseline, rules=options.baseline_rule or ())


def fails_baseline(found: Comparison, options: Namespace, judged: BaselineJudgement | None) -> bool:
    """Say what a baseline comes to, add to it if asked, and tell whether the gate is shut.

    What is taken up after a review is no failure any more.
    """
    if judged is None:
        return False
    from xbackend.api.baseline import update_baseline
    from xbackend.plugins.registry import renderer

    for sentence in renderer("baseline-judgement")(judged).splitlines():
        print(f"xbackend: {sentence}", file=sys.stderr)
    if options.baseline_update is None:
        return not judged.passes
    everything = options.baseline_update == "all"
    rules = options.baseline_rule or ()
    done = update_baseline(found, options.baseline, rules=rules, everything=everything)
    print(renderer("baseline")(done), file=sys.stderr)
    return not (judged.passes or (everything and judged.passes_once_updated))
