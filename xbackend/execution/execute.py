"""Carries out an order: plans it, runs it, keeps it, shows how it goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xbackend.errors import XbackendError
from xbackend.execution.estimates import keep_durations, kind, read_durations
from xbackend.execution.launcher import Launch, run_all
from xbackend.execution.plan import Plan, make_plan
from xbackend.execution.progress import Lines
from xbackend.execution.request import Order
from xbackend.store.store import Store

Record = dict[str, Any]


@dataclass(frozen=True)
class Means:
    """With what an order is carried out; nothing of it changes a bit."""

    store: Store
    jobs: int
    """How many workers run at once."""
    timeout: float
    """Seconds after which a worker is stopped."""
    display: Lines


def carry_out(order: Order, means: Means) -> list[Record]:
    """Run all that an order asks for and return the records, in the order of their ids.

    Runs that the store has already are not repeated, unless the order says so.
    """
    plan = make_plan(order, means.store, means.display.tell)
    _announce([plan], plan.launches, means)
    records = _start(plan.launches, means)
    return sorted([*plan.stillborn, *plan.kept, *records], key=lambda record: str(record["id"]))


def carry_out_all(
    orders: Sequence[Order], means: Means, refusals: tuple[type[XbackendError], ...] = ()
) -> list[list[Record] | XbackendError]:
    """Carry out several orders with the same workers, and return the records of each.

    A run that several orders ask for runs once. Those that took little time begin first, emulated
    ones of which nothing is known last. An order that raises one of `refusals` gives the error.
    """
    plans: list[Plan | XbackendError] = []
    for order in orders:
        try:
            plans.append(make_plan(order, means.store, means.display.tell))
        except refusals as error:
            plans.append(error)
    made = [plan for plan in plans if isinstance(plan, Plan)]
    once = {launch.key: launch for plan in made for launch in plan.launches}
    past = read_durations(means.store)
    launches = sorted(once.values(), key=lambda launch: _expected(launch, past))
    if launches or any(plan.stillborn for plan in made):
        _announce(made, launches, means)
    ids = {str(record["id"]): record for record in _start(launches, means)}
    ended = {key: ids[launch.record["id"]] for key, launch in once.items()}
    return [_records(plan, ended) if isinstance(plan, Plan) else plan for plan in plans]


def _expected(launch: Launch, past: Mapping[str, float]) -> tuple[bool, float]:
    """Return what puts launches in order: how long a run of the kind took, of any model."""
    exact = past.get(kind(launch.record))
    words = kind(launch.record).split(" ", 1)[1]
    like = [seconds for name, seconds in past.items() if name.split(" ", 1)[-1] == words]
    slow = bool(launch.platform.emulator or launch.platform.machine)
    known = exact if exact is not None else max(like, default=None)
    return (known is None and slow, known or 0.0)


def _records(plan: Plan, ended: Mapping[str, Record]) -> list[Record]:
    found = [*plan.stillborn, *plan.kept, *(ended[launch.key] for launch in plan.launches)]
    return sorted(found, key=lambda record: str(record["id"]))


def _announce(plans: Sequence[Plan], launches: Sequence[Launch], means: Means) -> None:
    """Say what is there already and what is to come, and keep the runs that cannot be."""
    display, store = means.display, means.store
    kept = sum(len(plan.kept) for plan in plans)
    if kept:
        display.tell(f"{kept} runs are in the store already; --fresh repeats them")
    display.start(len(launches), read_durations(store))
    for plan in plans:
        for record in plan.stillborn:
            store.write_run(record)
            display.ended(record)


def _start(launches: Sequence[Launch], means: Means) -> list[Record]:
    """Run workers and return their records; how long they took is kept, whatever happens."""
    display, store = means.display, means.store
    ended: list[Record] = []

    def end(record: Record) -> None:
        ended.append(record)
        display.ended(record)

    try:
        return run_all(launches, store, means.jobs, means.timeout, display.begun, end)
    finally:
        keep_durations(store, ended)
