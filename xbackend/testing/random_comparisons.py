"""Comparisons drawn at random: gaps, failed runs, NaN, unsafe marks, one run, one class."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np

from xbackend.comparison.compare import compare_runs
from xbackend.store.records import read_run
from xbackend.store.store import Store
from xbackend.worker.objects import write_tensor
from xbackend.worker.tensor import from_numpy

Record = dict[str, Any]
Array = np.ndarray[Any, Any]
Pool = dict[str, list[Record]]
"""How records name the tensors of each kind."""
SAMPLES = ("0", "1")

FLOATS = [
    [0.25, 0.5, -1.0], [0.25, 0.5000001, -1.0], [0.5, 0.25, -1.0], [math.nan, 0.5, -1.0],
    [0.25, math.inf, -0.0], [-0.25, 0.5, 0.0],
]  # fmt: skip
KINDS: dict[str, list[Array]] = {
    "scores": [np.array([row], np.float32) for row in FLOATS],
    "image": [np.array([[row, row[::-1]]], np.float32) for row in FLOATS],
    "number": [np.array([row[:1]], np.float32) for row in FLOATS],
    "half": [np.array([row], np.float16) for row in FLOATS],
    "places": [np.array([row], np.int64) for row in ([1, 2], [1, 5], [-4, 2])],
    "bytes": [np.array([row], np.uint8) for row in ([1, 200], [200, 1], [1, 201])],
    "other shape": [np.ones((1, 4), np.float32)],
}
LABELLED = {"scores", "half", "bytes", "other shape"}


def write_pool(store: Store) -> Pool:
    """Write a few tensors of each kind into a store."""
    return {
        kind: [write_tensor(str(store.folder), from_numpy(each)) for each in arrays]
        for kind, arrays in KINDS.items()
    }


class RandomComparison:
    """One random comparison, and what its runs recorded: by run, sample and name, an array."""

    def __init__(self, seed: int, store: Store, rows: Pool) -> None:
        self.random, self.rows = random.Random(seed), rows
        pick = self.random
        self.names = [f"t{n}" for n in range(pick.choice([0, 0, 1, 2, 4]))]
        kinds = list(KINDS)[:-1]
        self.outputs = {f"y{n}": pick.choice(kinds) for n in range(pick.choice([1, 1, 2]))}
        self.variety = pick.choice([1, 2, 2, 3, 6])
        self.gaps = pick.choice([0.0, 0.0, 0.3])
        self.edges = pick.random() < 0.8
        self.arrays: dict[str, dict[str, dict[str, Array]]] = {}
        self.records = [self._record(n) for n in range(pick.choice([1, 1, 2, 2, 3, 4, 5]))]
        self.comparison = compare_runs(store, [read_run(each) for each in self.records])

    def _layers(self) -> list[Record]:
        names = [*self.names, *self.outputs]
        inner = [*self.names]
        return [
            {
                "tap": name,
                "layer": n,
                "operator": "Conv",
                **(
                    {"inputs": [inner[min(n, len(inner)) - 1]] if n and inner else ["x"]}
                    if self.edges
                    else {}
                ),
            }
            for n, name in enumerate(names)
        ]

    def _tensor(self, kind: str) -> tuple[Record, Array]:
        if kind in LABELLED and self.random.random() < 0.02:
            kind = "other shape"
        place = self.random.randrange(min(self.variety, len(KINDS[kind])))
        return self.rows[kind][place], KINDS[kind][place]

    def _record(self, number: int) -> Record:
        pick, name = self.random, f"run-{number}"
        status = pick.choices(["ok", "failed", "skipped"], [8, 1, 1])[0]
        results, neutral = [], pick.choice([True, True, None, False])
        mine = self.arrays.setdefault(name, {}) if status == "ok" else {}
        for sample in SAMPLES if status == "ok" else ():
            if sample != "0" and pick.random() < max(0.3, self.gaps):
                continue
            given: dict[str, list[Record]] = {"outputs": [], "taps": []}
            mine[sample] = {}
            for tap, kind in [*((each, "scores") for each in self.names), *self.outputs.items()]:
                lacking = self.gaps if tap in self.outputs else max(self.gaps, 0.2)
                if pick.random() >= lacking:
                    row, mine[sample][tap] = self._tensor(kind)
                    where = "outputs" if tap in self.outputs else "taps"
                    given[where].append({"name": tap, **row})
            results.append({"input": sample, "inputs": [], "seconds": 0.1, **given,
                            "taps_neutral": neutral})  # fmt: skip
        flags = pick.choice([["avx2"], []])
        unsafe = [each for each in (*self.names, *self.outputs) if pick.random() < 0.05]
        return {
            "schema_version": 1, "created": "2030-01-01T00:00:00Z", "artifact": None, "facts": {},
            "id": name, "model": {"name": "net", "digest": "d" * 64, "source": "net.onnx"},
            "inputs_digest": "i", "backend": pick.choice(["ort", "torch"]), "backend_version": "1",
            "precision": "float32", "settings": {"threads": pick.choice([1, 2])},
            "platform": "native", "repeat": 0, "software": {}, "hardware": {"flags": flags},
            "status": status, "seconds": 0.5, "taps_neutral": neutral, "layers": self._layers(),
            "error": None if status == "ok" else {"stage": "s", "symptom": "s", "message": "m"},
            "results": results, "emulation_unsafe": unsafe,
            "emulation_reasons": {"Conv": "r"} if unsafe else {},
        }  # fmt: skip

    def having(self, sample: str, tap: str) -> dict[str, Array]:
        """Return who recorded a tensor, with its array."""
        return {
            name: of[sample][tap] for name, of in self.arrays.items() if tap in of.get(sample, {})
        }
