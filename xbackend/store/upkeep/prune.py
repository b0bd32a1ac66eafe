"""Takes out of a store what is no longer wanted: runs, tensors of layers, and what none refers to.

Every digest stays in its run's record, so classes are known as before; where a tensor's bytes are
gone, how far apart they were is not. First the records say what is no longer kept, then files go:
cut short at any moment, a store is sound, and pruning it again goes on.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xbackend.errors import UsageError
from xbackend.store.artifact_files import discard
from xbackend.store.files import is_digest
from xbackend.store.query import Query, filter_runs
from xbackend.store.records import KEEP, Run
from xbackend.store.schema.record import Record
from xbackend.store.store import MAX_SMALL, RUN_ID, Store
from xbackend.store.upkeep.contents import tree_bytes
from xbackend.store.upkeep.lock import exclusive
from xbackend.store.upkeep.references import (
    References,
    annex_of,
    deviating_tensors,
    object_files,
    references_of,
    sound_runs,
)

YOUNG = 600.0
"""Seconds: what no record refers to, but was written so lately, may belong to a run to come."""


@dataclass(frozen=True)
class PruneRequest:
    """What is to go. Without any choice of runs, none goes."""

    keep: str = "all"
    """Which tensors of layers stay: `all`, `differing` (those that not all runs of a section have
    alike), or `none`. Inputs and outputs always stay."""
    model: str | None = None
    where: tuple[str, ...] = ()
    """Of the runs that go: model and texts `KEY=VALUE`, as `xbackend compare` takes them."""
    older_than: float | None = None
    """Days since a run that goes was made."""
    failed: bool = False
    """Whether only runs go that failed or were skipped."""
    helpers: bool = False
    """Whether only runs go that a command made for its own question, with all reruns."""

    @property
    def chooses_runs(self) -> bool:
        """Whether any runs are to go."""
        return bool(
            self.model or self.where or self.failed or self.helpers or self.older_than is not None
        )


@dataclass(frozen=True)
class PrunePlan:
    """What goes, and how many bytes that frees."""

    runs: tuple[Run, ...] = ()
    shortened: tuple[Run, ...] = ()
    """Runs that stay without the bytes of some tensors."""
    keep: str = "all"
    tensors: dict[Path, int] = field(default_factory=dict)
    """Files of objects, with their bytes."""
    artifacts: dict[Path, int] = field(default_factory=dict)
    reruns: dict[Path, int] = field(default_factory=dict)
    """The store of reruns, where it goes whole."""
    small: tuple[Path, ...] = ()
    """Keys and logs of runs that are gone."""

    @property
    def freed(self) -> int:
        """Bytes of tensors, artifacts and reruns."""
        return sum(sum(files.values()) for files in (self.tensors, self.artifacts, self.reruns))

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values: what `xbackend store prune --json` prints."""
        return {
            "schema_version": 1,
            "runs": [run.id for run in self.runs],
            "shortened": [run.id for run in self.shortened],
            "keep": self.keep,
            "tensors": len(self.tensors),
            "artifacts": [path.name for path in self.artifacts],
            "bytes": self.freed,
        }

    @property
    def empty(self) -> bool:
        """Whether nothing goes."""
        return not (self.runs or self.tensors or self.artifacts or self.reruns or self.small)


def check_keep(keep: str) -> None:
    """Raise UsageError for what `--keep` does not know."""
    if keep not in KEEP:
        raise UsageError(f"'--keep {keep}' must be one of {', '.join(KEEP)}.")


def plan_pruning(store: Store, request: PruneRequest, now: float | None = None) -> PrunePlan:
    """Return what would go; nothing is changed.

    Raises UsageError for a wrong request, StoreError where a record is not sound.
    """
    check_keep(request.keep)
    if request.older_than is not None and not request.older_than >= 0:
        raise UsageError(f"'--older-than {request.older_than:g}' must be a number of days, from 0.")
    now = time.time() if now is None else now
    runs = sound_runs(store)
    going = _runs_to_go(runs, request, now)
    ids = {run.id for run in going}
    staying = [run for run in runs if run.id not in ids]
    annex = annex_of(store)
    reruns = [] if annex is None or request.helpers else sound_runs(annex)
    before, after = references_of(runs), references_of(staying)
    wanted = _wanted_tensors(after, staying, reruns, request.keep)
    meant = before.objects
    tensors = {
        path: size
        for digest, path, size in object_files(store)
        if digest not in wanted and (digest in meant or not _is_young(path, now))
    }
    return PrunePlan(
        runs=tuple(going),
        shortened=_shortened(staying, tensors),
        keep=request.keep,
        tensors=tensors,
        artifacts=_unused_artifacts(store, after.artifacts, before.artifacts, now),
        reruns={annex.folder: tree_bytes(annex.folder)} if annex and request.helpers else {},
        small=tuple(_small_files(store, {run.id for run in staying}, ids)),
    )


def prune(store: Store, request: PruneRequest, now: float | None = None) -> PrunePlan:
    """Take out what is to go, and return what that was; see `plan_pruning`.

    Raises StoreError while runs are made in the store.
    """
    with exclusive(store):
        plan = plan_pruning(store, request, now)
        _write_shortened(store, plan)
        for run in plan.runs:
            (store.folder / "runs" / f"{run.id}.json").unlink(missing_ok=True)
        for path in plan.small:
            path.unlink(missing_ok=True)
        for path in (*plan.artifacts, *plan.reruns):
            discard(path)
        _remove_tensors(plan)
    return plan


def shorten(store: Store, ids: Container[str], keep: str) -> PrunePlan:
    """Take out tensors of layers of some runs only; what other runs mean stays, and all else.

    Raises UsageError for a wrong `keep`, StoreError while other runs are made in the store.
    """
    check_keep(keep)
    if keep == "all":
        return PrunePlan()
    with exclusive(store):
        runs, annex = sound_runs(store), annex_of(store)
        others = [run for run in runs if run.id not in ids]
        chosen = [run for run in runs if run.id in ids]
        wanted = references_of([*others, *(sound_runs(annex) if annex else ())]).objects
        own = references_of(chosen)
        wanted |= own.tensors["outputs"] | own.tensors["inputs"]
        wanted |= deviating_tensors(runs) if keep == "differing" else set()
        tensors = {}
        for digest in own.tensors["taps"] - wanted:
            path = store.object_path(digest)
            if path.exists():
                tensors[path] = path.lstat().st_size
        plan = PrunePlan(shortened=_shortened(chosen, tensors), keep=keep, tensors=tensors)
        _write_shortened(store, plan)
        _remove_tensors(plan)
    return plan


def _write_shortened(store: Store, plan: PrunePlan) -> None:
    """Say in records what is kept of their runs: the least that was ever asked for."""
    for run in plan.shortened:
        record: Record = store.read_run(store.folder / "runs" / f"{run.id}.json")
        store.write_run({**record, "kept": max(run.kept, plan.keep, key=KEEP.index)})


def _remove_tensors(plan: PrunePlan) -> None:
    for path in plan.tensors:
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # others are left in it
            path.parent.rmdir()


def _runs_to_go(runs: Sequence[Run], request: PruneRequest, now: float) -> list[Run]:
    if not request.chooses_runs:
        return []
    found = filter_runs(runs, Query(request.model, request.where, helpers=True))
    if request.failed:
        found = [run for run in found if not run.ok]
    if request.helpers:
        found = [run for run in found if run.purpose]
    if request.older_than is not None:
        limit = now - request.older_than * 86400
        text = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(limit))
        found = [run for run in found if run.row.get("created") and run.row["created"] < text]
    return found


def _wanted_tensors(
    meant: References, staying: Sequence[Run], reruns: Iterable[Run], keep: str
) -> set[str]:
    """Return the digests of the objects that stay, of those that the staying runs mean."""
    again = references_of(reruns).objects
    if keep == "all":
        return meant.objects | again
    always = meant.tensors["outputs"] | meant.tensors["inputs"] | again
    return always | (deviating_tensors(staying) if keep == "differing" else set())


def _shortened(runs: Iterable[Run], tensors: Iterable[Path]) -> tuple[Run, ...]:
    """Return the runs of which some layer's tensor is in one of the files."""
    lost = {f"{path.parent.name}{path.name}" for path in tensors}
    return tuple(run for run in runs if references_of([run]).tensors["taps"] & lost)


def _is_young(path: Path, now: float) -> bool:
    return now - path.lstat().st_mtime < YOUNG


def _unused_artifacts(
    store: Store, used: set[str], before: set[str], now: float
) -> dict[Path, int]:
    """Return the artifacts that no run needs; of the young ones, those that some run had."""
    folder = store.folder / "artifacts"
    return {
        path: tree_bytes(path)
        for path in (sorted(folder.iterdir()) if folder.is_dir() else ())
        if is_digest(path.name)
        and path.name not in used
        and (path.name in before or not _is_young(path, now))
    }


def _small_files(store: Store, staying: set[str], going: set[str]) -> Iterable[Path]:
    """Yield the keys of runs that are not there, and the logs of those that go."""
    for path in sorted((store.folder / "keys").glob("*")):
        if _word(store, path) not in staying:
            yield path
    for name in sorted(going):
        log = store.folder / "logs" / f"{name}.txt"
        if log.is_file():
            yield log


def _word(store: Store, path: Path) -> str:
    """Return the run that a key names, "" for what is no key."""
    try:
        found = store.read_file(path, MAX_SMALL).decode("ascii")
    except (OSError, ValueError):
        return ""
    return found if RUN_ID.fullmatch(found) else ""
