"""Carries out an order: plans it, runs it, keeps it, shows how it goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from xbackend.durations import keep_durations, read_durations
from xbackend.launcher import run_all
from xbackend.plan import Order, make_plan
from xbackend.progress import Lines
from xbackend.store import Store

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
    display, store = means.display, means.store
    plan = make_plan(order, store, display.tell)
    if plan.kept:
        display.tell(f"{len(plan.kept)} runs are in the store already; --fresh repeats them")
    display.start(len(plan.launches), read_durations(store))
    for record in plan.stillborn:
        store.write_run(record)
        display.ended(record)
    ended: list[Record] = []

    def end(record: Record) -> None:
        ended.append(record)
        display.ended(record)

    try:
        records = run_all(plan.launches, store, means.jobs, means.timeout, display.begun, end)
    finally:
        keep_durations(store, ended)
    return sorted([*plan.stillborn, *plan.kept, *records], key=lambda record: str(record["id"]))
