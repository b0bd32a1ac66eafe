"""What can be copied from the page: commands, the same in Python, and the text of a bug report."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from xbackend.comparison.summary import Summary
from xbackend.facts.next_commands import NextCommand
from xbackend.plugins import registry
from xbackend.store.records import Run

from ..explain import Statement
from ..wording.formatting import heading, name_run, printable

LISTS = {"--where": "where", "--platform": "platforms", "--set": "settings"}
"""Options that may be given several times, to the keyword of each."""
WORDS = {
    "--backends": "backends", "--store": "store", "--model": "model", "--taps": "taps",
    "--precision": "precisions", "--inputs": "inputs", "--group-by": "group_by",
    "--reference": "reference", "--runs": "runs", "--isolate": "isolate",
}  # fmt: skip
"""Options with one value."""
NUMBERS = {"--threads": "threads", "--repeats": "repeats"}
SWITCHES = ("--certify", "--isolate")
"""Options that may stand alone."""
MOST_RUNS = 12
"""So many runs are described one by one in a bug report."""


def python_of(command: str) -> str:
    """Return what does the same as a command, in Python.

    >>> print(python_of("xbackend compare --model net --isolate --store s"))
    import xbackend as xb
    <BLANKLINE>
    found = xb.isolate(xb.compare(model='net', store='s'))
    print(found)
    """
    _, name, *rest = shlex.split(command)
    subject, options = _parse(rest)
    switched = [each for each in SWITCHES if options.pop(each.strip("-"), None) is not None]
    if subject is not None:
        options = {"model": subject, **options}
    if "runs" in options:
        options["runs"] = options["runs"].split(",")
    inner = "compare" if name == "explain" else name
    call = f"xb.{inner}({', '.join(f'{key}={value!r}' for key, value in options.items())})"
    for each in switched:
        call = f"xb.{each.strip('-')}({call})"
    shown = 'found.render("explain")' if name == "explain" else "found"
    return f"import xbackend as xb\n\nfound = {call}\nprint({shown})"


def _parse(rest: Sequence[str]) -> tuple[str | None, dict[str, Any]]:
    """Return what stands without an option, and the options."""
    subject: str | None = None
    found: dict[str, Any] = {}
    words = list(rest)
    while words:
        word = words.pop(0)
        alone = not words or words[0].startswith("--")
        if word in SWITCHES and alone:
            found[word.strip("-")] = True
        elif word in LISTS:
            found.setdefault(LISTS[word], []).append(words.pop(0))
        elif word in WORDS:
            found[WORDS[word]] = words.pop(0)
        elif word in NUMBERS:
            text = words.pop(0)
            found[NUMBERS[word]] = int(text) if text.isdigit() else text
        else:
            subject = word
    return subject, found


def command_of(run: Run) -> str:
    """Return the command that makes a run again, but for its inputs and tapped layers."""
    row = run.row
    settings = dict(row["settings"])
    threads = settings.pop("threads", 1)
    parts = ["xbackend run", shlex.quote(str(row.get("model_source") or row["model"]))]
    parts += [f"--backends {shlex.quote(str(row['backend']))}"]
    parts += [f"--precision {shlex.quote(str(row['precision']))}"]
    if row["platform"] != "native":
        parts += [f"--platform {shlex.quote(str(row['platform']))}"]
    if threads != 1:
        parts += [f"--threads {threads}"]
    usual = _defaults(str(row["backend"]))
    for key, value in settings.items():
        if value is not None and usual.get(key, "") != value:
            given = f"{row['backend']}.{key}={_setting(value)}"
            parts.append(f"--set {shlex.quote(given)}")
    return " ".join(parts)


def _defaults(backend: str) -> Mapping[str, Any]:
    """Return what each setting is where nothing is said; nothing of a backend that is not known."""
    known = {spec.word: spec for spec in registry.backends()}
    return known[backend].defaults() if backend in known else {}


def _setting(value: Any) -> str:
    """Return a setting as `--set` takes it.

    >>> _setting(True), _setting("basic"), _setting(2)
    ('true', 'basic', '2')
    """
    return value if isinstance(value, str) else json.dumps(value)


def bug_report(
    summary: Summary, statements: Sequence[Statement], following: Sequence[NextCommand]
) -> str:
    """Return a text to file with whoever makes a framework: what, where, how sure, how to see it.

    Of each class the first run is described.
    """
    runs = {run.id: run for run in summary.cohort.runs}
    heads = [runs[ids[0]] for ids in summary.eqcs]
    lines = [f"# {heading(summary)}", "", "## What was seen", ""]
    lines += [f"* {each}" for each in statements]
    lines += ["", "## With what", ""]
    lines += [f"* model {printable(summary.cohort.group['model_digest'])} (SHA-256)"]
    lines += [f"* inputs {printable(summary.cohort.inputs_digest)}"]
    for number, run in enumerate(heads[:MOST_RUNS], 1):
        lines += [f"* class {number}: {_described(run)}"]
    if len(heads) > MOST_RUNS:
        lines += [f"* and {len(heads) - MOST_RUNS} more classes"]
    lines += ["", "## How to see it", "", "```console"]
    lines += [f"$ {printable(command_of(run))}" for run in heads[:MOST_RUNS]]
    lines += ["$ xbackend compare", "```"]
    if following:
        lines += ["", "## What to do next", ""]
        lines += [f"* {each.purpose.value}: `{printable(each.command)}`" for each in following]
    return "\n".join(lines) + "\n"


def _described(run: Run) -> str:
    row, hardware = run.row, run.row["hardware"]
    versions = row.get("versions") or {}
    libraries = ", ".join(f"{key} {value}" for key, value in versions.items())
    parts = [name_run(run), f"{row['backend']} {row['backend_version']}", hardware.get("device")]
    return printable("; ".join(str(part) for part in [*parts, libraries] if part))
