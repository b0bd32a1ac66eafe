"""Takes runs that others made into a store, and hands out what runs recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from xbackend.api.arguments import (
    PathLike,
    Progress,
    StoreLike,
    display_of,
    store_of,
    texts,
)
from xbackend.comparison.comparison import Comparison
from xbackend.diagnosis.isolation_pairs import find_run
from xbackend.errors import UsageError
from xbackend.exchange import array_export, arrays
from xbackend.exchange.array_export import ExportResult
from xbackend.exchange.importing import ImportResult, import_from
from xbackend.store.query import Query, select
from xbackend.store.records import Run
from xbackend.store.store import Store


def import_runs(
    importer: str, path: PathLike, *, store: StoreLike = None, progress: Progress = None
) -> ImportResult:
    """Take runs that others made into a store.

    Args:
        importer: The format, such as `unannticipated`.
        path: A folder, or what the format is kept in.
        store: A folder; default: $XBACKEND_STORE or .xbackend.
        progress: A function that is told, by a `ProgressEvent`, of each thing that was left out.

    Returns:
        How many runs were added, were there already, were refused.

    Raises:
        UsageError: Where there is nothing to import.

    Example:
        >>> import xbackend as xb
        >>> xb.import_runs("unannticipated", "nowhere")
        Traceback (most recent call last):
        ...
        xbackend.errors.UsageError: There is nothing at nowhere. Name a folder that has a \
checkout of uibk-iNNference/unaNNticipated, or a folder of its results.
    """
    return import_from(store_of(store), importer, Path(path), display_of(progress).log)


def import_arrays(
    path: PathLike,
    *,
    like: str | Run,
    name: str = "",
    version: str | None = None,
    device: str | None = None,
    notes: str | Sequence[str] | None = None,
    rename: Mapping[str, str] | None = None,
    store: StoreLike = None,
    progress: Progress = None,
) -> ImportResult:
    """Take outputs and layers that another tool, a phone or TensorRT gave into a store.

    They become a run beside one of the same model on the same inputs, and are compared with it.
    That run's platform is `told`: what is said of it was not measured.

    Args:
        path: An .npz or .npy file, what `polygraphy run --save-outputs` wrote, or a folder of
            that. Arrays have the names of the like run's outputs and layers; an output of
            another name is found by its shape. Samples lie along the first axis.
        like: A run of the same model on the same inputs, or a part of its id.
        name: What computed them, such as `phone`; default: the runner that Polygraphy names.
        version: Of what computed them.
        device: What it ran on.
        notes: Anything else that is known, in words.
        rename: A name in the file to that of the like run's tensor.
        store: A folder; default: $XBACKEND_STORE or .xbackend.
        progress: A function that is told, by a `ProgressEvent`, what was turned or left unmatched.

    Returns:
        How many runs were added, and how many were there already.

    Raises:
        UsageError: Where there is no such run, or nothing says what computed the arrays.
        InputError: Where the file holds no output of such a model.

    Example:
        >>> import numpy as np, xbackend as xb
        >>> (run,) = xb.run(backends="fixed")
        >>> _ = xb.export_arrays(run, "fixed.npz")
        >>> xb.import_arrays("fixed.npz", like=run, name="phone", notes="a Pixel 6").added
        1
        >>> [len(ids) for ids in xb.compare().classes]
        [2]
    """
    there, where = store_of(store), Path(path)
    if not where.exists():
        raise UsageError(f"There is nothing at {where}. Name an .npz, .npy or .json file.")
    origin = arrays.ArrayOrigin(name, version, device, texts(notes, "notes="), dict(rename or {}))
    return arrays.import_arrays(there, where, _run(there, like), origin, display_of(progress).log)


def export_arrays(
    runs: str | Run | Sequence[str | Run], path: PathLike, *, store: StoreLike = None
) -> ExportResult:
    """Write outputs and layers of runs into an .npz file, which any tool with NumPy reads.

    Args:
        runs: Runs, or parts of their ids; with several the names of the arrays begin with them.
        path: The .npz file.
        store: A folder; default: $XBACKEND_STORE or .xbackend.

    Returns:
        The names of the arrays; samples lie along the first axis.

    Raises:
        UsageError: Where there is no such run, or the file cannot be written.

    Example:
        >>> import xbackend as xb
        >>> (run,) = xb.run(backends="fixed")
        >>> xb.export_arrays(run, "fixed.npz").names[-1]
        'softmax'
    """
    there = store_of(store)
    listed = [runs] if isinstance(runs, (str, Run)) else list(runs)
    chosen = [_run(there, each) for each in listed]
    if not chosen:
        raise UsageError("No run is named. Name one at least, by its id or a part of it.")
    return array_export.export_arrays(there, chosen, Path(path))


def _run(store: Store, named: str | Run) -> Run:
    """Return a run, or the only one with a text in its id."""
    if isinstance(named, Run):
        return named
    found = Comparison(tuple(select(store, Query(), [])), (), store)
    return find_run(found, named, narrow="")
