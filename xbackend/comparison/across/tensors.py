"""Tensors of a run as real numbers, in whatever layout and with whatever step they were kept."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xbackend.errors import StoreError
from xbackend.numerics.alignment import Perm
from xbackend.store.artifact_files import artifact_folder
from xbackend.store.records import Record, Run
from xbackend.store.store import Store
from xbackend.worker.graph import Graph, read_graph
from xbackend.worker.objects import write_tensor
from xbackend.worker.tensor import Tensor, cast, from_numpy

Array = np.ndarray[Any, Any]
Step = tuple[float, int]
"""Scale and zero point of integers that stand for reals."""
OUTPUT_SCALES = {"QuantizeLinear": (1, 2), "QLinearConv": (6, 7), "QLinearMatMul": (6, 7)}
"""Where operators that give integers read the scale and zero point of these."""
MOST_JSON = 1 << 28


@dataclass
class TensorReader:
    """Reads tensors of a store as reals, each once, and keeps what it makes of them."""

    store: Store
    steps_of: dict[str, Mapping[str, Step]] = field(default_factory=dict)
    """Of an artifact, by its digest: the tensors whose integers stand for reals."""
    content: dict[str, str] = field(default_factory=dict)

    def steps(self, run: Run) -> Mapping[str, Step]:
        """Return what the integers of a run's tensors stand for, by name."""
        digest = str((run.row.get("artifact") or {}).get("digest"))
        if digest not in self.steps_of:
            self.steps_of[digest] = {**_flat_steps(self.store, digest), **_graph_steps(self, run)}
        return self.steps_of[digest]

    def graph(self, digest: str) -> Graph | None:
        """Return the ONNX graph of an artifact; None where the store has none that is sound."""
        if not (self.store.folder / "artifacts" / digest / "graph.json").is_file():
            return None
        try:
            return read_graph(artifact_folder(self.store, digest))
        except (OSError, ValueError, KeyError, IndexError, StoreError):
            return None

    def hub(self, digest: str, model: str) -> Graph | None:
        """Return the ONNX graph beside which a flat graph was named, if that is of one model."""
        path = self.store.folder / "artifacts" / digest / "artifact.json"
        try:
            steps = json.loads(self.store.read_file(path, MOST_JSON))["steps"]
            hub = str(steps[-1]["hub"])
            held = self.store.folder / "artifacts" / hub / "artifact.json"
            source = json.loads(self.store.read_file(held, MOST_JSON))["source"]["digest"]
        except (OSError, ValueError, KeyError, TypeError, IndexError, StoreError):
            return None
        return self.graph(hub) if source == model else None

    def reals(self, row: Record, step: Step | None) -> Array:
        """Return a tensor as floats. Raises StoreError where its bytes are not there."""
        tensor = self.store.read_tensor(row)
        array = cast(tensor, "float32").array if tensor.dtype == "bfloat16" else tensor.array
        if step is not None:
            scale, zero_point = step
            return ((array.astype(np.float64) - zero_point) * scale).astype(np.float32)
        return array if array.dtype.kind == "f" else array.astype(np.float64)

    def has(self, row: Record) -> bool:
        """Tell whether the store holds a tensor; of some layers only digests are kept."""
        return self.store.object_path(str(row["digest"])).is_file()

    def derived(self, row: Record, perm: Perm | None, step: Step | None) -> Record:
        """Keep a tensor turned, and as reals, and return its record; itself where it is as it is.

        Raises StoreError.
        """
        if perm is None and step is None:
            return {key: row[key] for key in ("dtype", "shape", "digest")}
        tensor = self.store.read_tensor(row)
        if step is not None:
            tensor = from_numpy(self.reals(row, step))
        if perm is not None:
            tensor = Tensor(tensor.dtype, tensor.array.transpose(perm))
        try:
            return write_tensor(str(self.store.folder), tensor)
        except OSError as error:
            raise StoreError(
                f"Cannot write to {self.store.folder}: {error.strerror or error}. Comparing other "
                "files keeps turned tensors there: free space or permissions."
            ) from error

    def content_key(self, row: Record) -> str:
        """Return what tensors of the same numbers share, however their axes lie."""
        digest = str(row["digest"])
        if digest not in self.content:
            tensor = self.store.read_tensor(row)
            flat = np.sort(np.ascontiguousarray(tensor.array), axis=None)
            self.content[digest] = f"{tensor.dtype} {Tensor(tensor.dtype, flat).digest()}"
        return self.content[digest]


def _flat_steps(store: Store, digest: str) -> dict[str, Step]:
    """Return what `taps.json` of a flat graph says of its integers."""
    path = store.folder / "artifacts" / digest / "taps.json"
    try:
        rows = json.loads(store.read_file(path, MOST_JSON))["taps"]
        return {
            str(row["name"]): (float(row["scale"]), int(row["zero_point"]))
            for row in rows
            if "scale" in row
        }
    except (OSError, ValueError, KeyError, TypeError, StoreError):
        return {}


def _graph_steps(reader: TensorReader, run: Run) -> dict[str, Step]:
    """Return the scales of integers that a quantized ONNX graph computes."""
    graph = reader.graph(str((run.row.get("artifact") or {}).get("digest")))
    found: dict[str, Step] = {}
    if graph is None:
        return found
    for node in graph.nodes:
        places = OUTPUT_SCALES.get(node.operator)
        if places is None or len(node.inputs) <= max(places):
            continue
        scale, zero = (graph.constants.get(node.inputs[place]) for place in places)
        if scale is not None and zero is not None and scale.array.size == zero.array.size == 1:
            found[node.outputs[0]] = (float(scale.array.item()), int(zero.array.item()))
    return found
