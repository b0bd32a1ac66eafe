"""Whether repeats in fresh processes give the same bits: the paper's search for race conditions."""

from __future__ import annotations

from collections.abc import Sequence

from xbackend.store.records import Run
from xbackend.studies.configuration import ConfigKey
from xbackend.studies.figure import Cell, Grid
from xbackend.studies.study import Record, Study, StudyContext, StudyResult, by_backend
from xbackend.studies.table import Table
from xbackend.studies.trust import no_outputs, output_digests, untrusted_run_notes
from xbackend.studies.verdict import FAILS, HOLDS, INCONCLUSIVE, Verdict

KEYS = (
    ConfigKey("model", "word", "a built-in name or a file, as for 'xbackend run'"),
    ConfigKey(
        "repeats", "number", "fresh processes for each backend, platform and number of threads"
    ),
)

Cells = dict[tuple[str, int], list[Run]]
"""Platform and number of threads to the repeats."""


def run_study(task: StudyContext) -> StudyResult:
    """Run a model many times on all platforms with all numbers of threads."""
    chosen = task.configuration
    runs = task.run(task.request(chosen["model"], repeats=chosen["repeats"]))
    backends = {word: _cells(of) for word, of in by_backend(runs).items()}
    return StudyResult(
        records=tuple(row for word, cells in backends.items() for row in _records(word, cells)),
        tables=tuple(_table(word, cells) for word, cells in backends.items()),
        verdicts=tuple(_judge(word, cells) for word, cells in backends.items()),
        plot="study",
        plot_data=tuple(_panel(word, cells) for word, cells in backends.items() if cells),
        notes=untrusted_run_notes(runs),
    )


def _cells(runs: Sequence[Run]) -> Cells:
    found: Cells = {}
    for run in runs:
        key = str(run.row["platform"]), int(run.row["settings"]["threads"])
        found.setdefault(key, []).append(run)
    return found


def _count(runs: Sequence[Run]) -> int:
    return len(set(map(output_digests, runs)))


def _records(backend: str, cells: Cells) -> list[Record]:
    return [
        {
            "backend": backend,
            "platform": platform,
            "threads": threads,
            "repeats": len(runs),
            "classes": _count(runs),
        }
        for (platform, threads), runs in cells.items()
    ]


def _table(backend: str, cells: Cells) -> Table:
    rows = tuple(
        (platform, str(threads), str(len(runs)), str(_count(runs)))
        for (platform, threads), runs in cells.items()
    )
    headers = ("platform", "threads", "repeats", "classes")
    return Table(f"{backend}: classes of repeats", headers, rows)


def _judge(backend: str, cells: Cells) -> Verdict:
    """Judge by all repeats, emulated ones too: one emulator repeats itself as a processor does."""
    if not cells:
        return no_outputs(backend)
    repeated = {key: runs for key, runs in cells.items() if len(runs) > 1}
    if not repeated:
        return Verdict(backend, INCONCLUSIVE, "it takes two repeats")
    parted = [key for key, runs in repeated.items() if _count(runs) > 1]
    if parted:
        platform, threads = parted[0]
        shown = f"{threads} threads on {platform}"
        return Verdict(
            backend, FAILS, f"repeats differ in {len(parted)} of {len(repeated)}, such as {shown}"
        )
    fewest = min(map(len, repeated.values()))
    reason = f"one class in each of {len(repeated)}, by {fewest} processes or more"
    return Verdict(backend, HOLDS, reason)


def _panel(backend: str, cells: Cells) -> Grid:
    platforms = tuple(dict.fromkeys(platform for platform, _ in cells))
    threads = tuple(sorted({number for _, number in cells}))
    marks = tuple(
        tuple(_mark(cells.get((platform, number), ())) for number in threads)
        for platform in platforms
    )
    title = f"{backend}: classes of repeats"
    return Grid(title, "threads", tuple(map(str, threads)), platforms, marks)


def _mark(runs: Sequence[Run]) -> Cell:
    return Cell(f"{_count(runs)} of {len(runs)}", _count(runs) - 1) if runs else Cell("–")


STUDY = Study(
    name="races",
    text="the same run again and again, in fresh processes",
    source="section 3.5",
    claim="repeats on one platform give the same bits, so that threads do not race",
    criterion=(
        "Holds if the repeats of every case (platform and number of threads) fall into one class. "
        "That they do proves little; that they do not proves a race."
    ),
    own_keys=KEYS,
    run=run_study,
)
