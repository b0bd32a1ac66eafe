"""Repeats studies of the paper, and tells whether their findings hold here."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xbackend.api.arguments import (
    Numbers,
    PathLike,
    Progress,
    Settings,
    StoreLike,
    Words,
    execution_context,
    paths,
    positive_integers,
    settings_texts,
    store_of,
    texts,
    words,
)
from xbackend.api.report_files import PLOT_SUFFIXES, is_plot, write_text
from xbackend.api.results import Listing
from xbackend.errors import UsageError
from xbackend.plugins import registry
from xbackend.studies import catalogue
from xbackend.studies.configuration import SIZES, Configuration
from xbackend.studies.perform import StudyReport, configure, perform
from xbackend.studies.study import Study

TEXT_SUFFIXES = (".csv", ".json")
"""Of files that the figures are written to."""


def studies() -> Listing[Study]:
    """Return the studies of the paper that can be repeated.

    Example:
        >>> import xbackend as xb
        >>> [each.name for each in xb.studies()][:3]
        ['multiplications', 'distributions', 'cores']
    """
    return Listing(catalogue.studies(), "studies", "studies")


def study(
    name: str,
    *,
    platforms: Words = None,
    backends: Words = None,
    threads: Numbers | None = None,
    settings: Settings = None,
    config: PathLike | Mapping[str, Any] | None = None,
    size: str = "small",
    output: PathLike | Sequence[PathLike] = (),
    timeout: float = 600.0,
    jobs: int | None = None,
    store: StoreLike = None,
    progress: Progress = None,
) -> StudyReport:
    """Repeat a study of the paper and tell whether its finding holds here.

    Args:
        name: One of `studies`.
        platforms: Such as `["native", "qemu:Haswell"]`; default: the configuration's.
        backends: Such as `"ort,tflite"`; default: the configuration's.
        threads: One number or several; default: the configuration's.
        settings: As for `run`.
        config: A JSON file or a dictionary; a key that it lacks is that of `size`.
        size: `small`, of seconds, or `full`, the paper's.
        output: A file or several: .png, .svg or .pdf are drawn, .csv and .json hold the figures.
        timeout: Seconds for each worker.
        jobs: Workers at once; default: one for each core.
        store: A folder; default: $XBACKEND_STORE or .xbackend.
        progress: A function that is told of each step by a `ProgressEvent`.

    Returns:
        Records, tables, verdicts and the sentence; `print` shows them.

    Raises:
        UsageError: For an unknown study and a configuration that cannot be.

    Example:
        >>> import xbackend as xb
        >>> found = xb.study("races", backends="fixed", platforms="native")
        >>> [(each.subject, each.word) for each in found.result.verdicts]
        [('fixed', 'holds')]
    """
    chosen = study_configuration(
        name,
        platforms=platforms,
        backends=backends,
        threads=threads,
        settings=settings,
        config=config,
        size=size,
    )
    files = [_checked(path) for path in paths("output=", output)]
    context = execution_context(store_of(store), jobs, timeout, progress)
    report = perform(catalogue.find(name), chosen, context)
    for path in files:
        _write(report, path)
    return report


def study_configuration(
    name: str,
    *,
    platforms: Words = None,
    backends: Words = None,
    threads: Numbers | None = None,
    settings: Settings = None,
    config: PathLike | Mapping[str, Any] | None = None,
    size: str = "small",
) -> Configuration:
    """Return what `study` would be carried out with, for the same arguments.

    Example:
        >>> import xbackend as xb
        >>> xb.study_configuration("races", backends="fixed", threads=4)["threads"]
        [4]
    """
    changes = {
        "backends": list(words(backends, "backends=")),
        "platforms": list(texts(platforms, "platforms=")),
        "threads": [] if threads is None else list(positive_integers("threads=", threads)),
        "settings": list(settings_texts(settings)),
    }
    if size not in SIZES:
        raise UsageError(f"'size={size}' must be one of {', '.join(SIZES)}.")
    if config is not None and not isinstance(config, (str, os.PathLike, Mapping)):
        raise UsageError(f"'config={config}' must be a JSON file or a dictionary.")
    own = Path(config) if isinstance(config, (str, os.PathLike)) else config
    return configure(catalogue.find(name), size, own, changes)


def _checked(path: Path) -> Path:
    """Return the path of a file that can be written. Raises UsageError, before anything runs."""
    if not is_plot(path) and path.suffix.lower() not in TEXT_SUFFIXES:
        known = ", ".join((*PLOT_SUFFIXES, *TEXT_SUFFIXES))
        raise UsageError(f"'--output {path}' must end in one of {known}.")
    if is_plot(path):
        registry.plot("study")
    return path


def _write(report: StudyReport, path: Path) -> None:
    """Write what was found, or draw it; where nothing was computed nothing is drawn."""
    if is_plot(path):
        if report.result.plot_data:
            registry.plot(report.result.plot)(report.result.plot_data, path)
        return
    if path.suffix.lower() == ".csv":
        text = registry.renderer("study-csv")(report.result.records)
    else:
        text = json.dumps(report.to_dict(), indent=1) + "\n"
    write_text(path, text)
