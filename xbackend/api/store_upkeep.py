"""Looks after a store: what it holds, what may go, stores put together, runs carried away."""

from __future__ import annotations

from pathlib import Path

from xbackend.api.arguments import (
    PathLike,
    Progress,
    StoreLike,
    Where,
    Words,
    display_of,
    one_text,
    store_of,
    where_texts,
    words,
)
from xbackend.errors import UsageError
from xbackend.store.index import read_runs
from xbackend.store.query import Query, filter_runs
from xbackend.store.upkeep import bundle, contents, merge, prune
from xbackend.store.upkeep.contents import StoreContents
from xbackend.store.upkeep.merge import MergeResult
from xbackend.store.upkeep.prune import PrunePlan, PruneRequest


def describe_store(store: StoreLike = None) -> StoreContents:
    """Return what a store holds: models, runs, and bytes by kind. No tensor is read.

    Args:
        store: A folder; default: $XBACKEND_STORE or .xbackend.

    Raises:
        UsageError: Where there is no store.

    Example:
        >>> import xbackend as xb
        >>> runs = xb.run(backends="fixed")
        >>> [(each.model, each.runs, each.backends) for each in xb.describe_store().models]
        [('cifar10-small', 1, ('fixed',))]
    """
    return contents.contents_of(store_of(store))


def prune_store(
    keep: str = "all",
    *,
    store: StoreLike = None,
    model: str | None = None,
    where: Where = None,
    older_than: float | None = None,
    failed: bool = False,
    helpers: bool = False,
    dry_run: bool = False,
) -> PrunePlan:
    """Take out of a store what no run refers to, and what else is no longer wanted.

    Digests stay with their runs, so classes are known as before. Distances are not known any more
    between tensors of layers that were taken out.

    Args:
        keep: Which tensors of layers stay: `all`, `differing` (those that not all runs of a model,
            precision and set of inputs have alike), `none`. Inputs and outputs stay.
        store: A folder; default: $XBACKEND_STORE or .xbackend.
        model: Runs of this model go, by name.
        where: Runs with these values go: `{"backend": "ort"}`.
        older_than: Of all runs, or those that are chosen otherwise: those made so many days ago.
        failed: Of these, only those that failed or were skipped.
        helpers: Of these, only those that `mitigate`, `ablate` and references made for themselves;
            with all reruns of single layers.
        dry_run: Whether nothing is changed: what is returned would go.

    Returns:
        What went: runs, files, bytes.

    Raises:
        UsageError: For a wrong request.
        StoreError: While runs are made in the store, or where a record of it is damaged.

    Example:
        >>> import xbackend as xb
        >>> runs = xb.run(backends="fixed")
        >>> xb.prune_store("differing", dry_run=True).runs
        ()
    """
    request = PruneRequest(
        keep=keep,
        model=one_text("model=", model),
        where=where_texts(where),
        older_than=older_than,
        failed=failed,
        helpers=helpers,
    )
    there = store_of(store)
    return prune.plan_pruning(there, request) if dry_run else prune.prune(there, request)


def merge_store(
    other: PathLike, *, store: StoreLike = None, progress: Progress = None
) -> MergeResult:
    """Take all runs of another store into a store, with all that they refer to, checked.

    Args:
        other: The folder of the other store, which is left as it is.
        store: A folder; default: $XBACKEND_STORE or .xbackend.
        progress: A function that is told of each run by a `ProgressEvent`.

    Returns:
        Ids of the runs that were `added` or `present`, and sentences for those `refused`.

    Raises:
        UsageError: Where there is no other store.
        StoreError: Where files cannot be written.

    Example:
        >>> import xbackend as xb
        >>> runs = xb.run(backends="fixed", store="here")
        >>> len(xb.merge_store("here", store="there").added)
        1
    """
    return merge.merge(store_of(store), store_of(other), progress=display_of(progress).log)


def export_runs(
    path: PathLike,
    runs: Words = None,
    *,
    store: StoreLike = None,
    model: str | None = None,
    where: Where = None,
    progress: Progress = None,
) -> int:
    """Write runs with all that they refer to into one ZIP file, for `import_bundle`.

    Args:
        path: The file, which must not be there.
        runs: Parts of their ids; default: all, or those chosen by `model` and `where`.
        store: A folder; default: $XBACKEND_STORE or .xbackend.
        model: Only runs of this model, by name.
        where: Only runs with these values.
        progress: A function that is told of each run by a `ProgressEvent`.

    Returns:
        The bytes of the file.

    Raises:
        UsageError: Where no run is meant, or the file is there already.
        StoreError: Where a tensor is gone or damaged.

    Example:
        >>> import xbackend as xb
        >>> runs = xb.run(backends="fixed", store="here")
        >>> xb.export_runs("runs.zip", store="here") > 1000
        True
        >>> len(xb.import_bundle("runs.zip", store="elsewhere").added)
        1
    """
    there = store_of(store)
    query = Query(one_text("model=", model), where_texts(where), helpers=True)
    chosen = filter_runs(read_runs(there), query)
    parts = words(runs, "runs=")
    for part in parts:
        if not any(part in run.id for run in chosen):
            raise UsageError(
                f"No run of {there.folder} has '{part}' in its id. 'xbackend compare' shows them."
            )
    if parts:
        chosen = [run for run in chosen if any(part in run.id for part in parts)]
    return bundle.export_bundle(there, chosen, Path(path), display_of(progress).log)


def import_bundle(
    path: PathLike, *, store: StoreLike = None, progress: Progress = None
) -> MergeResult:
    """Take the runs of a file that `export_runs` wrote into a store; nothing of it is believed.

    Args:
        path: The file.
        store: A folder; default: $XBACKEND_STORE or .xbackend.
        progress: A function that is told of each run by a `ProgressEvent`.

    Returns:
        Ids of the runs that were `added` or `present`, and sentences for those `refused`.

    Raises:
        UsageError: For what is no such file, or holds what no such file does.
        StoreError: Where there is no room.

    Example:
        >>> import xbackend as xb
        >>> xb.import_bundle("nothing.zip")
        Traceback (most recent call last):
        ...
        xbackend.errors.UsageError: There is no file nothing.zip. Name one that 'xbackend store \
export' wrote.
    """
    return bundle.import_bundle(store_of(store), Path(path), display_of(progress).log)
