"""Tells which properties of platforms go with the classes, and which of them make them."""

from __future__ import annotations

from typing import Any

from xbackend.api.arguments import (
    Progress,
    Settings,
    StoreLike,
    Where,
    Words,
    execution_context,
    positive_integers,
    settings_texts,
    store_of,
    where_texts,
    words,
)
from xbackend.api.results import Listing
from xbackend.api.runs import source_of
from xbackend.attribution.correlation import FlagTable, flag_tables
from xbackend.attribution.switching import AblationReport, OnResult, ablate_backends
from xbackend.comparison.threads import ThreadTable, thread_tables
from xbackend.errors import StoreError
from xbackend.execution.request import RunRequest
from xbackend.store.query import Query, select


def cores(
    *,
    store: StoreLike = None,
    model: str | None = None,
    where: Where = None,
    tap: str | None = None,
) -> Listing[ThreadTable]:
    """Return the classes of a store's runs over platforms and numbers of threads.

    Args:
        store: A folder; default: $XBACKEND_STORE or .xbackend.
        model: Only runs of this model.
        where: Only runs with these values, as for `compare`.
        tap: The tensor that is classed; default: the outputs.

    Returns:
        A table for each model and precision; its `left_out` names records that are damaged.

    Raises:
        UsageError: Where the store has no such runs.
        StoreError: Where every record is damaged.

    Example:
        >>> import xbackend as xb
        >>> _ = xb.run(backends="fixed", threads=[1, 2], taps="outputs")
        >>> (table,) = xb.cores(where={"backend": "fixed"}, model="cifar10-small")
        >>> table.threads, len(table.classes)
        ((1, 2), 1)
    """
    damaged: list[StoreError] = []
    runs = select(store_of(store), Query(model, where_texts(where)), damaged)
    return Listing(thread_tables(runs, tap), "cores", "tables", damaged)


def flags(
    *, store: StoreLike = None, model: str | None = None, where: Where = None
) -> Listing[FlagTable]:
    """Return which properties of the platforms in a store go with the classes.

    Nothing is run. What goes with a class need not make it: see `ablate`.

    Args:
        store: A folder; default: $XBACKEND_STORE or .xbackend.
        model: Only runs of this model.
        where: Only runs with these values, as for `compare`.

    Returns:
        A table for each model and backend; its `left_out` names records that are damaged.

    Raises:
        UsageError: Where the store has no such runs.
        StoreError: Where every record is damaged.

    Example:
        >>> import xbackend as xb
        >>> _ = xb.run(backends="fixed", taps="outputs")
        >>> table = xb.flags(where={"backend": "fixed"})[0]
        >>> len(table.classes), len(table.clusters)
        (1, 0)
    """
    damaged: list[StoreError] = []
    runs = select(store_of(store), Query(model, where_texts(where)), damaged)
    return Listing(flag_tables(runs), "flags", "tables", damaged)


def ablate(
    model: object = None,
    *,
    start: str = "qemu:Haswell",
    backends: Words = None,
    only: Words = None,
    precision: str | None = None,
    threads: int = 1,
    settings: Settings = None,
    example_inputs: Any = None,
    timeout: float = 600.0,
    jobs: int | None = None,
    store: StoreLike = None,
    progress: Progress = None,
    on_result: OnResult | None = None,
) -> AblationReport:
    """Switch flags, caches and names of an emulated processor, to find what makes the bits.

    Args:
        model: As for `run`.
        start: An emulated x86 processor, where everything is as it is.
        backends: Such as `"ort,tflite"`; default: all that are installed.
        only: What is switched, such as `"legacy-cache,avx2"`; default: all that can be.
        precision: Of the runs; default: the backend's own.
        threads: Of the runs.
        settings: As for `run`.
        example_inputs: As for `run`.
        timeout: Seconds for each worker.
        jobs: Workers at once; default: one for each core.
        store: A folder; default: $XBACKEND_STORE or .xbackend.
        progress: A function that is told of each step by a `ProgressEvent`.
        on_result: A function that is told of each backend as soon as it is done.

    Returns:
        For each backend the smallest sets of switches that change the bits, and all trials.

    Raises:
        UsageError: For a platform that is no emulated x86 processor.

    Example:
        >>> import xbackend as xb
        >>> xb.ablate(start="native")
        Traceback (most recent call last):
        ...
        xbackend.errors.UsageError: Nothing can be switched on 'native'. Start from an emulated \
processor, such as --from qemu:Haswell.
    """
    there = store_of(store)
    request = RunRequest(
        model=source_of(model, there, example_inputs),
        backends=words(backends),
        platforms=(start,),
        precisions=(precision,) if precision else (),
        threads=positive_integers("threads=", threads),
        settings=settings_texts(settings),
    )
    context = execution_context(there, jobs, timeout, progress)
    return ablate_backends(request, words(only), context, on_result or (lambda word, found: None))
