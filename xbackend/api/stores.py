"""Takes runs that others made into a store."""

from __future__ import annotations

from pathlib import Path

from xbackend.api.arguments import PathLike, Progress, StoreLike, display_of, store_of
from xbackend.exchange.importing import ImportResult, import_from


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
