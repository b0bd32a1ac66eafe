"""Carries out a request: plans it, runs it, keeps it, shows how it goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xbackend.errors import XbackendError
from xbackend.execution.durations import duration_key, read_durations, record_durations
from xbackend.execution.plan import Plan, make_plan
from xbackend.execution.progress import ProgressLines
from xbackend.execution.request import RunRequest
from xbackend.execution.workers.launcher import Launch, run_workers
from xbackend.store.store import Store
from xbackend.worker.scratch import sweep_scratch

Record = dict[str, Any]


@dataclass(frozen=True)
class ExecutionContext:
    """With what a request is carried out; nothing of it changes a bit."""

    store: Store
    jobs: int
    """How many workers run at once."""
    timeout: float
    """Seconds after which a worker is stopped."""
    display: ProgressLines
    trust_platforms: bool = False
    """Whether every platform that a record names is followed, see `platforms.trust`."""


def execute(request: RunRequest, context: ExecutionContext) -> list[Record]:
    """Run all that a request asks for and return the records, in the order of their ids.

    Runs that the store has already are not repeated, unless the request says so.
    """
    return execute_plan(make_plan(request, context.store, context.display.log), context)


def execute_plan(plan: Plan, context: ExecutionContext) -> list[Record]:
    """Run what is planned and return the records, in the order of their ids."""
    _announce([plan], plan.launches, context)
    records = _start(plan.launches, context)
    return sorted([*plan.not_started, *plan.cached, *records], key=lambda record: str(record["id"]))


def execute_all(
    requests: Sequence[RunRequest],
    context: ExecutionContext,
    refusals: tuple[type[XbackendError], ...] = (),
) -> list[list[Record] | XbackendError]:
    """Carry out several requests with the same workers, and return the records of each.

    A run that several requests ask for runs once. Those that took little time begin first, emulated
    ones of which nothing is known last. A request that raises one of `refusals` gives the error.
    """
    plans: list[Plan | XbackendError] = []
    for request in requests:
        try:
            plans.append(make_plan(request, context.store, context.display.log))
        except refusals as error:
            plans.append(error)
    made = [plan for plan in plans if isinstance(plan, Plan)]
    once = {launch.key: launch for plan in made for launch in plan.launches}
    past = read_durations(context.store)
    launches = sorted(once.values(), key=lambda launch: _expected(launch, past))
    if launches or any(plan.not_started for plan in made):
        _announce(made, launches, context)
    ids = {str(record["id"]): record for record in _start(launches, context)}
    ended = {key: ids[launch.record["id"]] for key, launch in once.items()}
    return [_records(plan, ended) if isinstance(plan, Plan) else plan for plan in plans]


def _expected(launch: Launch, past: Mapping[str, float]) -> tuple[bool, float]:
    """Return what puts launches in order: how long a run of the kind took, of any model."""
    exact = past.get(duration_key(launch.record))
    words = duration_key(launch.record).split(" ", 1)[1]
    like = [seconds for name, seconds in past.items() if name.split(" ", 1)[-1] == words]
    slow = bool(launch.platform.emulator or launch.platform.machine)
    known = exact if exact is not None else max(like, default=None)
    return (known is None and slow, known or 0.0)


def _records(plan: Plan, ended: Mapping[str, Record]) -> list[Record]:
    found = [*plan.not_started, *plan.cached, *(ended[launch.key] for launch in plan.launches)]
    return sorted(found, key=lambda record: str(record["id"]))


def _announce(plans: Sequence[Plan], launches: Sequence[Launch], context: ExecutionContext) -> None:
    """Say what is there already and what is to come, and keep the runs that cannot be."""
    display, store = context.display, context.store
    kept = sum(len(plan.cached) for plan in plans)
    if kept:
        them = "1 run is" if kept == 1 else f"{kept} runs are"
        again = "it" if kept == 1 else "them"
        display.log(f"{them} in the store already; --fresh repeats {again}")
    display.start(len(launches), read_durations(store))
    for plan in plans:
        for record in plan.not_started:
            store.write_run(record)
            display.on_end(record)


def _start(launches: Sequence[Launch], context: ExecutionContext) -> list[Record]:
    """Run workers and return their records; how long they took is kept, whatever happens."""
    display, store = context.display, context.store
    ended: list[Record] = []

    def end(record: Record) -> None:
        ended.append(record)
        display.on_end(record)

    try:
        return run_workers(launches, store, context.jobs, context.timeout, display.on_start, end)
    finally:
        record_durations(store, ended)
        sweep_scratch(str(store.folder / "scratch"))
