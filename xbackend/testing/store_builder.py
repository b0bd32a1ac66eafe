"""A store whose runs are written by hand: for tests of comparisons and reports, anybody's too."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from xbackend.comparison.compare import compare
from xbackend.comparison.comparison import Comparison
from xbackend.store.store import Store
from xbackend.worker.objects import write_tensor
from xbackend.worker.tensor import Tensor, from_numpy

Record = dict[str, Any]
Tensors = Mapping[str, Any]

LAYERS = [
    {"tap": "conv", "layer": 0, "operator": "Conv"},
    {"tap": "relu", "layer": 1, "operator": "Relu"},
    {"tap": "y", "layer": 2, "operator": "Softmax"},
]


class StoreBuilder:
    """A store that runs are written into, numbered as they come."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder)
        self.store.create()
        self.count = 0

    def run(
        self,
        outputs: Tensors | None = None,
        taps: Tensors | None = None,
        neutral: bool | None = True,
        **keys: Any,
    ) -> str:
        """Write a run of one sample, `0`; further keys replace those of the record."""
        results = [] if outputs is None else [self.result("0", outputs, taps or {}, neutral)]
        return self.write(results=results, taps_neutral=neutral, **keys)

    def result(
        self, sample: str, outputs: Tensors, taps: Tensors, neutral: bool | None = True
    ) -> Record:
        """Return the entry of one sample."""
        rows = {
            kind: [
                {"name": name, **write_tensor(str(self.store.folder), self.tensor(values))}
                for name, values in tensors.items()
            ]
            for kind, tensors in (("outputs", outputs), ("taps", taps))
        }
        return {"input": sample, "inputs": [], "taps_neutral": neutral, "seconds": 0.1, **rows}

    @staticmethod
    def tensor(values: Any) -> Tensor:
        """Take numbers as float32 of shape (1, n)."""
        if isinstance(values, np.ndarray):
            return from_numpy(values)
        return from_numpy(np.array([values], np.float32))

    def write(self, **keys: Any) -> str:
        """Write a record and return its id."""
        name = f"run-{self.count}"
        self.count += 1
        record = {
            "schema_version": 1, "id": name, "created": "2030-01-01T00:00:00Z",
            "model": {"name": "net", "digest": "d" * 64, "source": "net.onnx"},
            "inputs_digest": "i" * 64, "backend": "ort", "backend_version": "1.0",
            "precision": "float32", "settings": {"threads": 1}, "platform": "native",
            "repeat": 0, "hardware": {"vendor": "Maker", "flags": ["avx2"]}, "software": {},
            "status": "ok", "error": None, "seconds": 0.5, "taps_neutral": None,
            "artifact": None, "layers": LAYERS, "results": [], "facts": {},
        }  # fmt: skip
        self.store.write_run({**record, **keys})
        return name

    def compare(self, **query: Any) -> Comparison:
        """Compare the runs of the store."""
        return compare(self.store, **query)

    def document(self, **query: Any) -> Record:
        """Return what the JSON report holds."""
        return self.compare(**query).to_dict()
