"""Keeps the known classes of a fleet in a file, and holds runs against it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from xbackend.api.arguments import PathLike, StoreLike, Where, paths, texts
from xbackend.api.comparison import Comparison, compare, compared
from xbackend.api.report_files import write_text
from xbackend.api.runs import Runs
from xbackend.errors import UsageError
from xbackend.facts.baseline.collect import collect
from xbackend.facts.baseline.entries import Baseline, BaselineChange
from xbackend.facts.baseline.file import baseline_text, read_baseline
from xbackend.facts.baseline.judge import accepted, check_rules, judge
from xbackend.facts.baseline.verdicts import BaselineJudgement as BaselineJudgement
from xbackend.facts.gates import Gate, parse_gate
from xbackend.store.records import Run


def baseline(
    runs: Comparison | Runs | Sequence[Run] | None = None,
    output: PathLike = "baseline.json",
    *,
    store: StoreLike = None,
    model: str | None = None,
    where: Where = None,
    layers: bool = False,
) -> BaselineChange:
    """Write the known classes of each output, with the kinds of machines that gave them.

    The file is text, one entry a line, sorted, so that git merges it. Of outputs up to 4096 bytes
    the bytes are kept, of larger ones digest and labels, of layers digests.

    Args:
        runs: What `run` or `compare` returned; default: the runs of a store.
        output: The file, which must not be there: `update_baseline` adds to one that is.
        store: A folder; default: $XBACKEND_STORE or .xbackend.
        model: Only runs of this model, by name.
        where: Only runs with these values.
        layers: Whether classes of layers are kept, too.

    Raises:
        UsageError: Where the file is there, or no run gave an output.

    Example:
        >>> import xbackend as xb
        >>> done = xb.baseline(xb.run(backends="fixed", taps="outputs"), "b.json")
        >>> len(done.after.classes), len(done.after.kinds)
        (3, 1)
        >>> judged = xb.check_baseline(xb.run(backends="fixed", taps="outputs"), "b.json")
        >>> judged.passes, {found.verdict.value for found in judged.findings}
        (True, {'known class on a known kind of machine'})
    """
    (path,) = paths("output=", output)
    if path.exists():
        raise UsageError(
            f"{path} is there already. Add to it with 'xbackend compare --baseline {path} "
            "--baseline-update', or name another file with --output."
        )
    given = runs if isinstance(runs, Comparison) else None
    found = given or compare(runs, store=store, model=model, where=where, across=False)  # type: ignore[arg-type]  # no Comparison here
    after = collect(found.runs, found.result.store, layers)
    if not after.classes:
        raise UsageError("No run gave an output, so there is no baseline of it. Run a model first.")
    return _written(path, None, after)


def check_baseline(
    runs: Comparison | Runs | Sequence[Run],
    file: PathLike = "baseline.json",
    *,
    rules: str | Sequence[str] = (),
) -> BaselineJudgement:
    """Tell of each class of runs whether a baseline knows it, and what it is if not.

    Nothing is run. A new class is within rounding by a certificate, which counts where the
    comparison was certified, or by a rule; without either it does not pass.

    Args:
        runs: What `run`, `compare` or `certify` returned.
        file: What `baseline` wrote.
        rules: For new classes: `output: bits>=16, ulp<=64`.

    Raises:
        UsageError: For a file that is no baseline, and a rule that has no meaning.

    Example:
        >>> import xbackend as xb
        >>> runs = xb.run(backends="fixed", taps="outputs", threads=[1, 2])
        >>> done = xb.baseline([runs[0]], "one.json", store=runs.store)
        >>> judged = xb.check_baseline(runs, "one.json")
        >>> judged.passes, {found.verdict.value for found in judged.findings[3:]}
        (True, {'known class on a new kind of machine'})
    """
    (path,) = paths("file=", file)
    return judge(compared(runs).result, read_baseline(path), baseline_rules(rules))


def update_baseline(
    runs: Comparison | Runs | Sequence[Run],
    file: PathLike = "baseline.json",
    *,
    rules: str | Sequence[str] = (),
    everything: bool = False,
) -> BaselineChange:
    """Add the classes of runs to a baseline: of those that pass, or after a review of all.

    Args:
        runs: What `run`, `compare` or `certify` returned.
        file: What `baseline` wrote.
        rules: For new classes, see `check_baseline`.
        everything: Whether runs are taken up that do not pass, or of a model that is new to it.

    Raises:
        UsageError: For a file that is no baseline, and a rule that has no meaning.

    Example:
        >>> import xbackend as xb
        >>> runs = xb.run(backends="fixed", taps="outputs", threads=[1, 2])
        >>> done = xb.baseline([runs[0]], "two.json", store=runs.store)
        >>> done = xb.update_baseline(runs, "two.json")
        >>> len(done.after.classes) - len(done.before.classes), len(done.after.kinds)
        (0, 2)
    """
    (path,) = paths("file=", file)
    found, before = compared(runs), read_baseline(path)
    judgement = judge(found.result, before, baseline_rules(rules))
    wanted = set(accepted(judgement, everything))
    chosen = [run for run in found.runs if run.id in wanted]
    layers = any(not each.is_output for each in before.classes.values())
    after = before.merged(collect(chosen, found.result.store, layers))
    refused = tuple(run.id for run in found.runs if run.ok and run.id not in wanted)
    return replace(_written(path, before, after), refused=refused)


def read_baseline_file(file: PathLike) -> Baseline:
    """Read what `baseline` wrote. Raises UsageError, in one sentence, for what is none."""
    return read_baseline(paths("file=", file)[0])


def baseline_rules(rules: str | Sequence[str]) -> list[Gate]:
    """Return rules for new classes. Raises UsageError for one that has no meaning."""
    found = [parse_gate(rule) for rule in texts(rules, "rules=")]
    check_rules(found)
    return found


def _written(path: Path, before: Baseline | None, after: Baseline) -> BaselineChange:
    text = baseline_text(after)
    write_text(path, text)
    return BaselineChange(path, before, after, len(text.encode()))
