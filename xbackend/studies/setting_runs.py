"""The same model under several settings: what studies of settings have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xbackend.numerics.metrics import equivalence_classes
from xbackend.platforms.emulation_doubt import has_unsafe_output
from xbackend.store.records import Run
from xbackend.studies.figure import Cell, Grid
from xbackend.studies.study import Record, StudyContext, platform_label, platform_labels
from xbackend.studies.table import Table
from xbackend.studies.trust import output_digests

DEFAULT = "as configured"
"""The name of a backend's runs without a setting of the study's own."""


@dataclass(frozen=True)
class SettingRuns:
    """The runs of one backend under one setting."""

    backend: str
    setting: str
    """Such as `mode=xla`, without the backend's word."""
    runs: tuple[Run, ...]
    """Those that gave outputs."""


def run_settings(
    task: StudyContext, settings: Sequence[str], platforms: Sequence[str]
) -> list[SettingRuns]:
    """Run the configuration's model under each setting of each backend.

    The empty setting is of every backend, and means as it is configured.
    """
    chosen = task.configuration
    where = tuple(platforms)
    found = []
    for word in chosen["backends"]:
        for setting in (text for text in settings if text.partition(".")[0] in ("", word)):
            request = task.request(
                chosen["model"],
                backends=(word,),
                platforms=where,
                taps=chosen["taps"],
                settings=(setting,) if setting else (),
            )
            runs = tuple(run for run in task.run(request) if run.ok)
            found.append(SettingRuns(word, setting.partition(".")[2] or DEFAULT, runs))
    return found


def select_backend(variants: Sequence[SettingRuns], backend: str) -> list[SettingRuns]:
    """Return the variants of one backend."""
    return [each for each in variants if each.backend == backend]


def class_numbers(variants: Sequence[SettingRuns]) -> dict[str, int]:
    """Return the class of each run among all runs of some variants, from 1, by its id."""
    runs = [run for each in variants for run in each.runs]
    found = equivalence_classes(output_digests(run) for run in runs)
    return {runs[at].id: number for number, members in enumerate(found, 1) for at in members}


def records(variants: Sequence[SettingRuns]) -> list[Record]:
    """Return one record for each run, classes numbered within its backend."""
    number = class_numbers(variants)
    return [
        {
            "backend": each.backend,
            "setting": each.setting,
            "platform": run.row["platform"],
            "threads": run.row["settings"].get("threads"),
            "class": number[run.id],
            "in_doubt": has_unsafe_output(run),
        }
        for each in variants
        for run in each.runs
    ]


def _marks(
    each: SettingRuns, columns: Sequence[str], variants: Sequence[SettingRuns]
) -> list[Cell]:
    number = class_numbers(variants)
    several = len({run.row["settings"].get("threads") for v in variants for run in v.runs}) > 1
    by_place = {platform_label(run, several): run for run in each.runs}
    return [
        Cell(
            f"{number[by_place[name].id]}{'?' * has_unsafe_output(by_place[name])}",
            number[by_place[name].id] - 1,
        )
        if name in by_place
        else Cell("–")
        for name in columns
    ]


def table(backend: str, variants: Sequence[SettingRuns]) -> Table:
    """Return a row for each setting, a column for each platform, classes in the cells."""
    columns = platform_labels(run for each in variants for run in each.runs)
    rows = tuple(
        (each.setting, *(mark.text for mark in _marks(each, columns, variants)))
        for each in variants
    )
    title = f"{backend}: classes of the outputs (?: perhaps by emulation)"
    return Table(title, ("setting", *columns), rows if columns else ())


def panel(backend: str, variants: Sequence[SettingRuns]) -> Grid:
    """Return the same to be drawn."""
    columns = platform_labels(run for each in variants for run in each.runs)
    return Grid(
        f"{backend}: classes",
        "",
        tuple(columns),
        tuple(each.setting for each in variants),
        tuple(tuple(_marks(each, columns, variants)) for each in variants),
    )
