"""An artifact on disk: a folder with the model in one format and `artifact.json` about it.

Formats: `graph` (and `graph-float64`, `graph-float16`, `graph-bfloat16`, `graph-int8`) hold the
ONNX graph in files that need no onnx package: `graph.json`, `weights.bin`, and for ONNX Runtime
`model.onnx` and `taps.onnx`, the same model with every value as an output. `tflite` and
`tflite-int8` hold `model.tflite` and `taps.json`. `source-torch` and `source-tf` hold the model's
own program, file or name, and `source.json`: which of its tensors is which ONNX value.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Dict, Tuple

if TYPE_CHECKING:
    from pathlib import Path

MANIFEST = "artifact.json"

GRAPHS = {
    "float32": "graph",
    "float64": "graph-float64",
    "float16": "graph-float16",
    "bfloat16": "graph-bfloat16",
}
"""Precision to the format that holds the ONNX graph in it, of floats."""


@dataclass(frozen=True)
class ValueInfo:
    """A named tensor of the model's interface."""

    name: str
    dtype: str
    """NumPy's name of the format, or `bfloat16`."""
    shape: Tuple[int | None, ...] | None
    """The extents, None for one that is free; None as a whole where the rank is free."""
    axes: Tuple[str, ...] = ()
    """The names of the axes, such as `batch`, empty where one has none; nothing if none has."""


@dataclass(frozen=True)
class Layer:
    """Where a tap comes from: the node of the ONNX graph that computes it."""

    tap: str
    """The ONNX value's name."""
    layer: int
    """Position of the node in the graph, from 0."""
    operator: str
    """The node's operator, such as `Conv`."""
    inputs: Tuple[str, ...] | None = None
    """Names of the computed values and of the model's inputs that the node reads, constants left
    out; None where that is not known."""


@dataclass(frozen=True)
class Artifact:
    """A model in the one format that a backend eats, and how it was made."""

    folder: Path
    format: str
    digest: str
    """SHA-256 over source, converters, their versions and options: the folder's name."""
    inputs: Tuple[ValueInfo, ...]
    outputs: Tuple[ValueInfo, ...]
    layers: Tuple[Layer, ...]
    """Every ONNX value that a node computes, in graph order; empty if nothing is known."""
    manifest: Dict[str, Any]
    """All of `artifact.json`: the steps that made it, packages and versions, weights kept."""

    @property
    def quantized(self) -> bool:
        """Whether its layers hold integer arithmetic, as the names of ONNX's operators tell."""
        names = [layer.operator for layer in self.layers]
        return any("Integer" in name or "Linear" in name or name == "QGemm" for name in names)


def read_artifact(folder: Path) -> Artifact:
    """Read `artifact.json` of a folder.

    Raises OSError, or ValueError, KeyError, TypeError or AttributeError where it is not sound.
    """
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    return Artifact(
        folder=folder,
        format=manifest["format"],
        digest=manifest["digest"],
        inputs=tuple(value_of(row) for row in manifest["inputs"]),
        outputs=tuple(value_of(row) for row in manifest["outputs"]),
        layers=tuple(_layer(row) for row in manifest["layers"]),
        manifest=manifest,
    )


def _layer(row: Dict[str, Any]) -> Layer:
    inputs = row.get("inputs")
    known = None if inputs is None else tuple(inputs)
    return Layer(row["tap"], row["layer"], row["operator"], known)


def value_of(row: Dict[str, Any]) -> ValueInfo:
    """Read a tensor of the interface, as `artifact.json` and `graph.json` hold it."""
    shape = row["shape"]
    axes = tuple(row.get("axes", ()))
    return ValueInfo(row["name"], row["dtype"], None if shape is None else tuple(shape), axes)
