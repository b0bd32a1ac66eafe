"""What the records of a store refer to: the digests of tensors by kind, artifacts, and runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from xbackend.errors import StoreError
from xbackend.store.cohort import cohorts
from xbackend.store.files import ANNEX, is_digest
from xbackend.store.index import read_runs
from xbackend.store.records import Run
from xbackend.store.store import Store

KINDS = ("outputs", "inputs", "taps")


@dataclass
class References:
    """Digests that runs refer to."""

    tensors: dict[str, set[str]] = field(default_factory=lambda: {kind: set() for kind in KINDS})
    """Of tensors, by `outputs`, `inputs` and `taps`; one may be of several kinds."""
    artifacts: set[str] = field(default_factory=set)

    def add(self, run: Run) -> None:
        """Add what a run refers to."""
        for result in run.results:
            for kind in KINDS:
                self.tensors[kind].update(row["digest"] for row in result.get(kind, ()))
        digest = (run.row.get("artifact") or {}).get("digest")
        if digest:
            self.artifacts.add(str(digest))

    @property
    def objects(self) -> set[str]:
        """The digests of tensors of all kinds."""
        return set().union(*self.tensors.values())


def references_of(runs: Iterable[Run]) -> References:
    """Return what some runs refer to."""
    found = References()
    for run in runs:
        found.add(run)
    return found


def annex_of(store: Store) -> Store | None:
    """Return the store of reruns within a store, None where there is none."""
    folder = store.folder / ANNEX
    return Store(folder) if (folder / "runs").is_dir() and not folder.is_symlink() else None


def sound_runs(store: Store) -> list[Run]:
    """Return all runs of a store.

    Raises StoreError for the first record that is not sound: what it refers to is not known, so
    nothing may be taken away. Raises UsageError where there is no store.
    """
    try:
        return read_runs(store)
    except StoreError as error:
        raise StoreError(
            f"{error} Until then nothing is taken out of the store, as it is not known which "
            "tensors that record means."
        ) from error


def deviating_tensors(runs: Iterable[Run]) -> set[str]:
    """Return the digests of layers' tensors that not all runs of a section have alike.

    These are what a comparison reads: of a tensor that is the same in all runs its digest says
    everything.
    """
    found: set[str] = set()
    for cohort in cohorts(runs, ()):
        seen: dict[tuple[str, str], set[str]] = {}
        for run in cohort.runs:
            for result in run.results:
                for row in result.get("taps", ()):
                    seen.setdefault((str(result["input"]), str(row["name"])), set()).add(
                        str(row["digest"])
                    )
        found.update(*(digests for digests in seen.values() if len(digests) > 1))
    return found


def object_files(store: Store) -> Iterator[tuple[str, Path, int]]:
    """Yield the digest, file and bytes of each object of a store."""
    for path in (store.folder / "objects").glob("??/*"):
        digest = f"{path.parent.name}{path.name}"
        if is_digest(digest) and not path.is_symlink():
            yield digest, path, path.lstat().st_size
