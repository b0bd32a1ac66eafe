"""Finds what removes a deviation, and what it costs."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xbackend.api.arguments import (
    Numbers,
    PathLike,
    Progress,
    Settings,
    StoreLike,
    Words,
    execution_context,
    positive_integer,
    positive_integers,
    settings_texts,
    specs,
    store_of,
    words,
)
from xbackend.api.report_files import report_writer
from xbackend.api.runs import source_of
from xbackend.api.samples import Inputs, chosen_samples
from xbackend.diagnosis.reference import parse_reference
from xbackend.execution.request import RunRequest
from xbackend.mitigation.compare_trials import compare_trials
from xbackend.mitigation.evaluate import (
    MitigationReport,
    backends_of,
    baseline_request,
    known_mitigations,
    try_mitigations,
)
from xbackend.plugins import registry
from xbackend.plugins.mitigation import Mitigation
from xbackend.preparation.labelled_samples import read_labels

if TYPE_CHECKING:
    import numpy as np

    Labels = PathLike | np.ndarray[Any, Any] | Sequence[int] | None


def mitigate(
    model: object = None,
    *,
    backends: Words = None,
    platforms: Words = None,
    mitigations: Words = None,
    inputs: Inputs = None,
    labels: Labels = None,
    labelled: bool = False,
    emulated_samples: int = 8,
    threads: Numbers = 1,
    settings: Settings = None,
    repeats: int = 1,
    reference: str | None = "float64",
    search: bool = False,
    dendrogram: PathLike | None = None,
    example_inputs: Any = None,
    timeout: float = 600.0,
    jobs: int | None = None,
    store: StoreLike = None,
    progress: Progress = None,
) -> MitigationReport:
    """Run a model as it is and with each mitigation, and measure what that does and costs.

    Args:
        model: As for `run`.
        backends: Such as `"tf,ort"`; default: all that are installed.
        platforms: Such as `["native", "qemu:Haswell"]`; default: native.
        mitigations: Names, families or patterns, see `mitigations`; default: the usual ones.
        inputs: As for `run`.
        labels: The right class of each sample of `inputs`: an array, or a .npy file.
        labelled: Use the built-in model's own labelled samples.
        emulated_samples: How many samples run on emulated platforms, the first ones; 0 for all.
        threads: One number or several.
        settings: As for `run`.
        repeats: Fresh processes for each.
        reference: What fidelity is to: `float64`, `float64:tf` or None.
        search: Find the smallest set of mitigations that gives one class.
        dendrogram: A file for trees of the classes; .png, .svg and .pdf are drawn.
        example_inputs: As for `run`.
        timeout: Seconds for each worker.
        jobs: Workers at once; default: one for each core.
        store: A folder; default: $XBACKEND_STORE or .xbackend.
        progress: A function that is told of each step by a `ProgressEvent`.

    Returns:
        A row for each backend and mitigation, and advice; `print` shows the table.

    Raises:
        UsageError: For what cannot be asked for.

    Example:
        >>> import xbackend as xb
        >>> found = xb.mitigate(backends="fixed", mitigations="cut-all-4", reference=None)
        >>> [(row.mitigation, row.after is not None, row.notes) for row in found.rows]
        [('', True, ()), ('cut-all-4', False, ('Integers have no mantissa.',))]
    """
    draw = None if dendrogram is None else tree_writer(dendrogram, store)
    there = store_of(store)
    judges = () if reference is None else parse_reference(reference)
    with chosen_samples(inputs) as given, _label_file(labels) as right:
        request = baseline_request(
            RunRequest(
                model=source_of(model, there, example_inputs),
                backends=words(backends),
                platforms=specs(platforms),
                inputs=given.path,
                choice=given.choice,
                threads=positive_integers("threads=", threads),
                settings=settings_texts(settings),
                repeats=positive_integer("repeats=", repeats),
            ),
            emulated_samples,
        )
        known, named = read_labels(request.model, given.path, right, labelled, there)
        request = dataclasses.replace(request, inputs=known)
        context = execution_context(there, jobs, timeout, progress)
        found = try_mitigations(request, words(mitigations), named, judges, search, context)
    if draw is not None:
        draw(found)
    return found


def tree_writer(path: PathLike, store: StoreLike = None) -> Callable[[MitigationReport], None]:
    """Return what draws or writes trees of the classes that mitigations left.

    Raises UsageError, before anything is computed, for a file that cannot be drawn.
    """
    draw = report_writer("dendrogram", path)

    def write(report: MitigationReport) -> None:
        draw(compare_trials(report.trials, store_of(store)))

    return write


def mitigations(
    model: object = None,
    *,
    backends: Words = None,
    platforms: Words = None,
    example_inputs: Any = None,
    store: StoreLike = None,
) -> tuple[Mitigation, ...]:
    """Return the mitigations that there are for a model, backends and platforms. Nothing is run.

    Args:
        model: As for `run`.
        backends: Such as `"tf,ort"`; default: all that are installed.
        platforms: Such as `["native", "qemu:Haswell"]`; default: native.
        example_inputs: As for `run`.
        store: A folder; default: $XBACKEND_STORE or .xbackend.

    Returns:
        What each does and by which settings; those whose `default` is true are tried by default.

    Example:
        >>> import xbackend as xb
        >>> found = {each.name: each for each in xb.mitigations(backends="ort")}
        >>> dict(found["optimization-basic"].changes["ort"].settings)
        {'optimization': 'basic'}
    """
    request = RunRequest(
        model=source_of(model, store_of(store), example_inputs),
        backends=words(backends),
        platforms=specs(platforms),
    )
    return tuple(known_mitigations(request))


def mitigation_list(found: Sequence[Mitigation], backends: Words = None) -> str:
    """Return the table of mitigations that `xbackend mitigate --mitigations list` prints."""
    request = RunRequest(backends=words(backends))
    return registry.renderer("mitigation-list")(found, backends_of(request))


@contextmanager
def _label_file(labels: Any) -> Iterator[str | None]:
    """Give the file of labels; numbers are written to one that is gone afterwards."""
    if labels is None or isinstance(labels, (str, os.PathLike)):
        yield None if labels is None else os.fspath(labels)
        return
    import numpy as np

    with tempfile.TemporaryDirectory(prefix="xbackend-") as folder:
        path = Path(folder) / "labels.npy"
        np.save(path, np.asarray(labels), allow_pickle=False)
        yield str(path)
