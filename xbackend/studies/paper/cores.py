"""Whether the number of threads goes with the class, on each platform: the paper's Figure 2."""

from __future__ import annotations

from collections.abc import Sequence

from xbackend.comparison.threads import ThreadTable, thread_tables
from xbackend.store.records import Run
from xbackend.studies.configuration import ConfigKey
from xbackend.studies.study import Record, Study, StudyContext, StudyResult, by_backend
from xbackend.studies.trust import (
    no_outputs,
    output_digests,
    proven_output_classes,
    untrusted_run_notes,
)
from xbackend.studies.verdict import FAILS, HOLDS, INCONCLUSIVE, Verdict

KEYS = (
    ConfigKey("model", "word", "a built-in name or a file, as for 'xbackend run'"),
    ConfigKey("taps", "word", "layers before the output that prove what an emulated output cannot"),
)


def run_study(task: StudyContext) -> StudyResult:
    """Run a model on all platforms with all numbers of threads."""
    chosen = task.configuration
    runs = task.run(task.request(chosen["model"], taps=chosen["taps"]))
    tables = thread_tables(runs)
    return StudyResult(
        records=tuple(record for table in tables for record in _records(table)),
        tables=tuple(tables),
        verdicts=tuple(_judge(word, of) for word, of in by_backend(runs).items()),
        plot="cores",
        plot_data=tables,
        notes=untrusted_run_notes(runs),
    )


def _records(table: ThreadTable) -> list[Record]:
    return [
        {
            "backend": row.backend,
            "version": row.version,
            "platform": row.platform,
            "cores": row.cores,
            "threads": cell.threads,
            "classes": list(cell.classes),
            "in_doubt": cell.unsafe,
        }
        for row in table.rows
        for cell in row.cells
    ]


def _judge(backend: str, runs: Sequence[Run]) -> Verdict:
    if not runs:
        return no_outputs(backend)
    platforms: dict[str, list[Run]] = {}
    for run in runs:
        platforms.setdefault(str(run.row["platform"]), []).append(run)
    several = [of for of in platforms.values() if len({_threads(run) for run in of}) > 1]
    if not several:
        return Verdict(backend, INCONCLUSIVE, "it takes two numbers of threads on one platform")
    changed = sum(len(proven_output_classes(of)) > 1 for of in several)
    if changed:
        return Verdict(backend, HOLDS, f"on {changed} of {len(several)} platforms")
    if any(len(set(map(output_digests, of))) > 1 for of in several):
        return Verdict(
            backend, INCONCLUSIVE, "the bits that differ are those that emulation may change"
        )
    numbers = sorted({_threads(run) for of in several for run in of})
    shown = ", ".join(map(str, numbers))
    return Verdict(backend, FAILS, f"{shown} threads on {len(several)} platforms")


def _threads(run: Run) -> int:
    return int(run.row["settings"]["threads"])


STUDY = Study(
    name="cores",
    text="a whole network with different numbers of threads",
    source="Figure 2",
    claim="the number of cores that compute changes the class",
    criterion=(
        "Holds if on at least one platform two numbers of threads gave other bits. Threads stand "
        "for cores: frameworks start as many as there are cores, and their number counts."
    ),
    own_keys=KEYS,
    run=run_study,
)
