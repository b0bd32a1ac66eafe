"""Writes what runs recorded into an .npz file, which other tools and `import arrays` read."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xbackend.errors import UsageError
from xbackend.store.records import Record, Run
from xbackend.store.store import Store
from xbackend.worker.tensor import cast

Array = np.ndarray[Any, Any]
SUFFIX = ".npz"
WRITTEN = (1980, 1, 1, 0, 0, 0)
"""The time of every member, so that the same arrays make the same file."""


@dataclass(frozen=True)
class ExportResult:
    """What was written."""

    path: str
    names: tuple[str, ...]
    """Names of the arrays; with several runs each begins with the run's id and a slash."""
    widened: tuple[str, ...]
    """Those that were bfloat16, which NumPy lacks: float32 of the same values."""


def export_arrays(store: Store, runs: Sequence[Run], path: Path) -> ExportResult:
    """Write outputs and layers of runs; samples lie along the first axis where their shapes allow.

    Where they do not there is an array `NAME[SAMPLE]` for each. Outputs are those of the untapped
    inference. Raises UsageError for a file that is none of NumPy's, or that cannot be written.
    """
    if path.suffix.lower() != SUFFIX:
        raise UsageError(f"'{path}' must end in {SUFFIX}.")
    names: list[str] = []
    widened: list[str] = []
    try:
        with zipfile.ZipFile(path, "w") as archive:
            for run in runs:
                prefix = f"{run.id}/" if len(runs) > 1 else ""
                for name, rows in _arrays(run):
                    names.append(f"{prefix}{name}")
                    if any(row["dtype"] == "bfloat16" for row in rows):
                        widened.append(names[-1])
                    _write(archive, names[-1], np.concatenate([_array(store, r) for r in rows]))
    except OSError as error:
        raise UsageError(f"Cannot write {path}: {error.strerror or error}.") from error
    return ExportResult(str(path), tuple(names), tuple(widened))


def _write(archive: zipfile.ZipFile, name: str, array: Array) -> None:
    with archive.open(zipfile.ZipInfo(f"{name}.npy", WRITTEN), "w", force_zip64=True) as stream:
        np.save(stream, np.ascontiguousarray(array), allow_pickle=False)


def _arrays(run: Run) -> Iterator[tuple[str, list[Record]]]:
    """Yield each array's name and the tensors, one for each sample, that it holds."""
    found: dict[str, dict[str, Record]] = {}
    for result in run.results:
        rows = {str(row["name"]): row for row in (*result["taps"], *result["outputs"])}
        for name, row in rows.items():
            found.setdefault(name, {})[str(result["input"])] = row
    count = len(run.results)
    for name, samples in found.items():
        tensors = list(samples.values())
        alike = {(row["dtype"], tuple(row["shape"])) for row in tensors}
        if len(samples) == count and len(alike) == 1 and (count == 1 or tensors[0]["shape"]):
            yield name, tensors
        else:
            for sample, row in samples.items():
                yield f"{name}[{sample}]", [row]


def _array(store: Store, row: Record) -> Array:
    """Return a tensor; a single number as an array of one."""
    tensor = store.read_tensor(row)
    array = cast(tensor, "float32").array if tensor.dtype == "bfloat16" else tensor.array
    return array.reshape(array.shape or (1,))
