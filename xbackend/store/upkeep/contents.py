"""What a store holds: its models and runs, and the bytes of each kind of file."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xbackend.errors import StoreError
from xbackend.store.files import ANNEX, is_digest
from xbackend.store.index import FILE as INDEX
from xbackend.store.index import read_runs
from xbackend.store.records import Run
from xbackend.store.store import Store
from xbackend.store.upkeep.references import (
    annex_of,
    deviating_tensors,
    object_files,
    references_of,
)

BYTES = (
    "outputs", "inputs", "differing layers", "equal layers", "unused tensors",
    "artifacts", "unused artifacts", "samples", "records", "logs", "index", "reruns", "other",
)  # fmt: skip
"""Kinds of bytes, in the order in which they are told; a tensor counts as the first that it is."""
FOLDERS = {"inputs": "samples", "runs": "records", "keys": "records", "logs": "logs"}


@dataclass(frozen=True)
class ModelRuns:
    """The runs of one model."""

    model: str
    digest: str
    runs: int
    failed: int
    """How many of them failed or were skipped."""
    helpers: int
    """How many a command made for its own question, see `Run.purpose`."""
    backends: tuple[str, ...]
    oldest: str
    """When the first was made, in UTC; empty where no record tells."""
    newest: str


@dataclass(frozen=True)
class StoreContents:
    """What a store holds."""

    folder: str
    models: tuple[ModelRuns, ...]
    sizes: dict[str, int]
    """Bytes by kind, see `BYTES`."""
    damaged: tuple[str, ...]
    """A sentence for each record that is not sound, and so is not among the runs."""

    @property
    def runs(self) -> int:
        """How many runs there are."""
        return sum(each.runs for each in self.models)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(self.sizes.values())

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values: what `xbackend store --json` prints."""
        return {
            "schema_version": 1,
            "folder": self.folder,
            "runs": self.runs,
            "bytes": self.size,
            "bytes_by_kind": dict(self.sizes),
            "models": [{**vars(each), "backends": list(each.backends)} for each in self.models],
            "damaged": list(self.damaged),
        }


def contents_of(store: Store) -> StoreContents:
    """Look at all of a store; no tensor is read. Raises UsageError where there is no store."""
    damaged: list[StoreError] = []
    runs = read_runs(store, damaged)
    annex = annex_of(store)
    others = read_runs(annex, damaged) if annex else []
    sizes = dict.fromkeys(BYTES, 0)
    _add_objects(store, [*runs, *others], sizes)
    _add_artifacts(store, runs, sizes)
    _add_rest(store.folder, sizes)
    models: dict[str, list[Run]] = {}
    for run in runs:
        models.setdefault(f"{run.row['model']} {run.row['model_digest']}", []).append(run)
    return StoreContents(
        str(store.folder),
        tuple(_model(found) for found in models.values()),
        sizes,
        tuple(map(str, damaged)),
    )


def _model(runs: Sequence[Run]) -> ModelRuns:
    times = sorted(str(run.row["created"]) for run in runs if run.row.get("created"))
    return ModelRuns(
        model=str(runs[0].row["model"]),
        digest=str(runs[0].row["model_digest"]),
        runs=len(runs),
        failed=sum(not run.ok for run in runs),
        helpers=sum(bool(run.purpose) for run in runs),
        backends=tuple(dict.fromkeys(str(run.row["backend"]) for run in runs)),
        oldest=times[0] if times else "",
        newest=times[-1] if times else "",
    )


def _add_objects(store: Store, runs: Sequence[Run], sizes: dict[str, int]) -> None:
    meant, deviating = references_of(runs).tensors, deviating_tensors(runs)
    kinds = {
        "outputs": meant["outputs"],
        "inputs": meant["inputs"],
        "differing layers": deviating,
        "equal layers": meant["taps"],
    }
    for digest, _, size in object_files(store):
        kind = next((kind for kind, digests in kinds.items() if digest in digests), None)
        sizes[kind or "unused tensors"] += size


def _add_artifacts(store: Store, runs: Sequence[Run], sizes: dict[str, int]) -> None:
    meant = references_of(runs).artifacts
    folder = store.folder / "artifacts"
    for path in folder.iterdir() if folder.is_dir() else ():
        unused = is_digest(path.name) and path.name not in meant
        sizes["unused artifacts" if unused else "artifacts"] += tree_bytes(path)


def _add_rest(folder: Path, sizes: dict[str, int]) -> None:
    for path in folder.iterdir():
        if path.name in ("objects", "artifacts"):
            continue
        kind = {INDEX: "index", ANNEX: "reruns"}.get(path.name) or FOLDERS.get(path.name, "other")
        sizes[kind] += tree_bytes(path)


def tree_bytes(path: Path) -> int:
    """Return the bytes of a file, or of all plain files beneath a folder; no link is followed."""
    seen = path.lstat()
    if not stat.S_ISDIR(seen.st_mode):
        return seen.st_size if stat.S_ISREG(seen.st_mode) else 0
    with os.scandir(path) as entries:
        return sum(tree_bytes(Path(entry.path)) for entry in entries)
