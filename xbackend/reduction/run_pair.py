"""The two runs whose difference is reduced: named in a store, or made now."""

from __future__ import annotations

from collections.abc import Sequence

from xbackend.comparison.comparison import Comparison
from xbackend.diagnosis.isolation_pairs import find_run
from xbackend.errors import UsageError, XbackendError
from xbackend.execution.execute import ExecutionContext, execute_plan
from xbackend.execution.plan import make_plan
from xbackend.execution.request import RunRequest
from xbackend.store.query import Query, select
from xbackend.store.records import Run, read_run
from xbackend.store.store import Store


def make_pair(request: RunRequest, context: ExecutionContext) -> tuple[Run, Run]:
    """Carry out a request that makes two runs. Raises UsageError, before any, for more or fewer."""
    if not request.backends:
        raise UsageError(
            "Name what to compare: two runs with --runs A,B, or --backends with one or two, such "
            "as --backends ort --platform native --platform qemu:Haswell."
        )
    plan = make_plan(request, context.store, context.display.log)
    count = len(plan.launches) + len(plan.not_started) + len(plan.cached)
    if count != 2:
        raise UsageError(
            f"These options make {count} run{'s'[: count != 1]}, and two are compared. Name two "
            "backends, or one with two platforms or two numbers of threads."
        )
    runs = [read_run(record) for record in execute_plan(plan, context)]
    for run in runs:
        if not run.ok:
            raise XbackendError(str((run.row["error"] or {}).get("message", "A run failed.")))
    return runs[0], runs[1]


def find_pair(store: Store, names: Sequence[str], model: str | None = None) -> tuple[Run, Run]:
    """Return two runs of a store by parts of their ids. Raises UsageError."""
    if len(names) != 2:
        raise UsageError(
            f"'--runs {','.join(names)}' must name two runs, such as 0000-ort,0001-tf."
        )
    chosen = Comparison(tuple(select(store, Query(model, helpers=True), damaged=[])), (), store)
    return find_run(chosen, names[0], narrow=""), find_run(chosen, names[1], narrow="")
