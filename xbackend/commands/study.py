"""What `xbackend study` does: carries a study out, prints and draws what came of it."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from xbackend.commands.commands import comma_separated, execution_context, positive_integer
from xbackend.commands.cores import SUFFIXES, table_text
from xbackend.errors import UsageError
from xbackend.execution.progress import progress
from xbackend.plugins import registry
from xbackend.plugins.installed import importable
from xbackend.store.store import open_store
from xbackend.studies.catalogue import find, studies
from xbackend.studies.configuration import Configuration, read, shipped
from xbackend.studies.study import Study, StudyContext, StudyResult
from xbackend.studies.table import csv_text

TEXTS = (".csv", ".json")
"""Suffixes of files that are written; those of `SUFFIXES` are drawn."""


def study(options: argparse.Namespace) -> int:
    """Carry out a study, or list them all; exit status 3 if a run failed."""
    if options.name is None:
        return _list(options)
    chosen = find(options.name)
    configuration = configure(chosen, options)
    if options.show:
        print(json.dumps(configuration, indent=2))
        return 0
    outputs = [_check_output(Path(text)) for text in options.output or ()]
    store = open_store(options.store)
    store.create()
    with progress(sys.stderr) as display:
        task = StudyContext(configuration, execution_context(options, store, display))
        outcome = chosen.run(task)
    document = describe(chosen, task, outcome)
    for path in outputs:
        _put(path, outcome, document)
    print(json.dumps(document) if options.json else text_of(chosen, outcome))
    return 3 if any(run.row["status"] == "failed" for run in task.runs) else 0


def _list(options: argparse.Namespace) -> int:
    if options.json:
        rows = [
            {
                "name": each.name,
                "text": each.text,
                "source": each.source,
                "claim": each.claim,
                "criterion": each.criterion,
                "keys": {key.name: key.help for key in each.keys},
            }
            for each in studies()
        ]
        print(json.dumps({"schema_version": 1, "studies": rows}))
        return 0
    for each in studies():
        print(f"{each.name:16}{each.text} ({each.source})")
    return 0


def configure(chosen: Study, options: argparse.Namespace) -> Configuration:
    """Return the shipped configuration, changed by the user's file, then by the options."""
    configuration = shipped(chosen.name, options.size, chosen.keys)
    if options.config:
        configuration.update(read(Path(options.config), chosen.keys))
    said = {
        "backends": list(comma_separated(options.backends)),
        "platforms": list(options.platform or ()),
        "threads": [
            positive_integer("--threads", word) for word in comma_separated(options.threads)
        ],
        "settings": list(options.set or ()),
    }
    configuration.update({key: value for key, value in said.items() if value})
    for text in configuration["settings"]:
        if text.partition(".")[0] not in configuration["backends"]:
            raise UsageError(
                f"'--set {text}' is of no backend that the study runs: "
                f"{', '.join(configuration['backends'])}. Name its backend with --backends."
            )
    return configuration


def _check_output(path: Path) -> Path:
    """Return the path of a file that can be written. Raises UsageError, before anything runs."""
    suffix = path.suffix.lower()
    if suffix not in (*SUFFIXES, *TEXTS):
        known = ", ".join((*SUFFIXES, *TEXTS))
        raise UsageError(f"'--output {path}' must end in one of {known}.")
    if suffix in SUFFIXES and not importable("matplotlib"):
        raise UsageError("A plot needs matplotlib. Install it with: pip install 'xbackend[plot]'")
    return path


def _put(path: Path, outcome: StudyResult, document: dict[str, object]) -> None:
    if path.suffix.lower() in SUFFIXES:
        if not outcome.plot_data:
            print(f"xbackend: Nothing was computed, so {path} is not drawn.", file=sys.stderr)
            return
        registry.plot(outcome.plot)(outcome.plot_data, path)
        return
    is_csv = path.suffix.lower() == ".csv"
    text = csv_text(outcome.records) if is_csv else json.dumps(document, indent=1) + "\n"
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"Cannot write {path}: {error.strerror or error}.") from error


def describe(chosen: Study, task: StudyContext, outcome: StudyResult) -> dict[str, object]:
    """Return the object that `--json` prints."""
    return {
        "schema_version": 1,
        "study": chosen.name,
        "source": chosen.source,
        "claim": chosen.claim,
        "criterion": chosen.criterion,
        "configuration": task.configuration,
        "records": list(outcome.records),
        "notes": list(outcome.notes),
        "verdicts": [
            {"backend": each.subject, "verdict": each.word, "reason": each.reason}
            for each in outcome.verdicts
        ],
        "sentence": chosen.sentence(outcome),
        "runs": [run.id for run in task.runs],
    }


def text_of(chosen: Study, outcome: StudyResult) -> str:
    """Return what a terminal shows: tables, notes, the criterion, and the sentence last."""
    import textwrap

    said = [*(f"Note: {note}" for note in outcome.notes), chosen.criterion]
    said.append(chosen.sentence(outcome))
    folded = [
        textwrap.fill(each, 100, subsequent_indent="  ", break_on_hyphens=False) for each in said
    ]
    tables = [each if isinstance(each, str) else table_text(each) for each in outcome.tables]
    return "\n\n".join([*tables, "\n".join(folded)])
