"""Runs one model on every backend, and keeps what came out of it as JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import xbackend as xb

BACKENDS = ("ort", "tf", "torch", "tflite", "fixed")
TIMEOUT = 900.0
"""Seconds for each worker."""


@dataclass(frozen=True)
class Outcome:
    """What became of a model in one backend."""

    backend: str
    version: str
    status: str
    """`ok`, `failed` or `skipped`."""
    message: str
    inputs: str = ""
    """Digest of the inputs; outputs on others are not compared."""


@dataclass(frozen=True)
class Kept:
    """Where the cache keeps what became of one model's bytes."""

    folder: Path

    def outcome(self, backend: str) -> Outcome | None:
        """Return what became of the model in a backend, None where that was not tried."""
        path = self.folder / f"{backend}.json"
        return Outcome(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None

    def outputs(self, backend: str) -> dict[str, np.ndarray[Any, Any]]:
        """Return the outputs of all samples by name; nothing where there are none."""
        path = self.folder / f"{backend}.npz"
        return dict(np.load(path)) if path.is_file() else {}

    def write(self, outcome: Outcome, outputs: dict[str, np.ndarray[Any, Any]]) -> None:
        """Keep an outcome, and the outputs before it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(self.folder / f"{outcome.backend}.npz", **outputs)
        text = json.dumps(asdict(outcome), indent=1)
        (self.folder / f"{outcome.backend}.json").write_text(text, encoding="utf-8")


def kept_of(cache: Path, name: str) -> Kept | None:
    """Return what the cache keeps of a model by its name, the newest; None for nothing."""
    folders = sorted((cache / "results").glob(f"{name}@*"), key=lambda path: path.stat().st_mtime)
    return Kept(folders[-1]) if folders else None


def try_model(
    path: Path,
    cache: Path,
    name: str,
    backends: Sequence[str],
    fresh: bool,
    shapes: Mapping[str, Sequence[int]],
) -> None:
    """Run a model on the backends of which the cache has nothing for these bytes.

    `shapes` are those of inputs that the model leaves free and that it does not take any of.
    """
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    kept = Kept(cache / "results" / f"{name}@{digest[:16]}")
    wanted = [word for word in backends if fresh or kept.outcome(word) is None]
    if not wanted:
        return
    try:
        runs = xb.run(
            str(path),
            backends=wanted,
            precisions="float32",
            settings=[f"{word}.graph=onnx" for word in ("tf", "torch") if word in wanted],
            inputs=xb.Samples(shapes=shapes),
            taps="outputs",
            store=cache / "stores" / f"{name}@{digest[:16]}",
            jobs=1,
            timeout=TIMEOUT,
        )
    except xb.XbackendError as error:
        for word in wanted:
            kept.write(Outcome(word, "", "failed", str(error)), {})
        return
    for place, run in enumerate(runs):
        row, said = run.row, run.row["error"]
        message = "" if said is None else str(said["message"])
        version = str(row["backend_version"] or "")
        arrays = _flat(runs.outputs(place)) if row["status"] == "ok" else {}
        inputs = str(row["inputs_digest"])
        kept.write(Outcome(row["backend"], version, row["status"], message, inputs), arrays)


def _flat(outputs: Any) -> dict[str, np.ndarray[Any, Any]]:
    return {
        f"{sample} {name}": array for sample, of in outputs.items() for name, array in of.items()
    }


def distance(one: Any, other: Any) -> float:
    """Return the largest difference of outputs by name, relative to the largest value of each.

    Infinite where shapes differ, or where only one has a number; outputs without numbers agree.
    """
    return max((_apart(array, other.get(name)) for name, array in one.items()), default=0.0)


def _apart(one: Any, other: Any) -> float:
    if other is None or one.shape != other.shape:
        return float("inf")
    left, right = one.astype(np.float64), other.astype(np.float64)
    finite = np.isfinite(left)
    if not np.array_equal(finite, np.isfinite(right)):
        return float("inf")
    largest = float(np.abs(left[finite]).max(initial=0.0))
    apart = float(np.abs(left[finite] - right[finite]).max(initial=0.0))
    return apart / largest if largest else apart
