"""A Keras file or SavedModel as what the `tf` backend runs beside the graph: a copy, and names.

The file is copied only after it was checked, as for every other conversion: it holds no code.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from xbackend.errors import ConversionError
from xbackend.plugins.converter import (
    ConversionRequest,
    ConversionResult,
    ConverterSpec,
    WeightReport,
)
from xbackend.worker.artifact import Artifact, read_artifact

from .keras.source import BATCH, TraceableModel, load_traceable
from .onnx.values import Shape, shapes_of_values, unmatched_taps

SPEC = ConverterSpec(
    name="keras_to_source",
    conversions=(("keras", "source-tf"), ("h5", "source-tf"), ("savedmodel", "source-tf")),
    convert="xbackend.converters.keras_to_source:convert",
    modules=("tensorflow", "onnx"),
    extra="tf",
    distributions=("tensorflow", "keras", "onnx"),
    takes_hub=True,
)

FILE = "source.json"

CHANNELS_FIRST = frozenset(
    "Conv ConvTranspose MaxPool AveragePool GlobalAveragePool GlobalMaxPool BatchNormalization "
    "DepthToSpace SpaceToDepth InstanceNormalization".split()
)
"""Operators that have the channels second, whatever the extents."""


def convert(request: ConversionRequest) -> ConversionResult:
    """Write the copy and `source.json`: which layers are which values of the graph."""
    if request.hub is None:
        raise ConversionError(f"{request.source} has no ONNX graph to name its layers after.")
    hub = read_artifact(request.hub)
    source = load_traceable(request.source, request.source_format)
    _check_interface(source, hub, request.source)
    taps = dict(_matched(source.owner, request.hub, hub))
    file = _copied(request)
    document = {
        "kind": request.source_format,
        "file": file,
        "inputs": list(source.inputs),
        "outputs": list(source.outputs),
        "taps": taps,
    }
    (request.output / FILE).write_text(json.dumps(document), encoding="utf-8")
    unmatched = unmatched_taps(hub, taps)
    return ConversionResult(
        model=file,
        weights=WeightReport(tuple(source.weights), ()),
        inputs=hub.inputs,
        outputs=hub.outputs,
        layers=hub.layers,
        notes={"kind": request.source_format, "matched": len(taps), "unmatched": unmatched},
    )


def _copied(request: ConversionRequest) -> str:
    """Copy the source and return the copy's name."""
    if request.source_format == "savedmodel":
        shutil.copytree(request.source, request.output / "savedmodel")
        return "savedmodel"
    name = f"model.{request.source_format}"
    shutil.copyfile(request.source, request.output / name)
    return name


def _check_interface(source: TraceableModel, hub: Artifact, path: Path) -> None:
    """Raise ConversionError where inputs and outputs cannot be named after the graph's."""
    for what, own, exported in (
        ("inputs", source.inputs, hub.inputs),
        ("outputs", source.outputs, hub.outputs),
    ):
        if len(own) != len(exported):
            raise ConversionError(
                f"{path} has {len(own)} {what} and its exported graph {len(exported)}, so which is "
                "which is not known."
            )


def _matched(model: Any, folder: Path, hub: Artifact) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield values of the graph that are a Keras layer's output, and how its axes lie."""
    import onnx

    shapes = shapes_of_values(onnx.load(folder / "model.onnx"))
    operators = {layer.tap: layer.operator for layer in hub.layers}
    for name, shape in _output_shapes(model).items():
        known = shapes.get(name)
        if name not in operators or known is None:
            continue
        first = channels_first(shape, known, operators[name])
        if first is not None:
            yield name, {"layer": name, "channels_first": first}


def _output_shapes(model: Any) -> dict[str, Shape]:
    """Return the shape of what each layer gives, the batch fixed, if it is called once.

    The backend finds the same calls (`backends/tf/source.py`).
    """
    functional = getattr(model, "_functional", None) or model
    calls: dict[str, list[Any]] = {}
    for node in chain(*getattr(functional, "_nodes_by_depth", {}).values()):
        calls.setdefault(str(node.operation.name), []).append(node.output_tensors)
    alone = {name: tensors[0] for name, tensors in calls.items() if len(tensors) == 1}
    shapes = {name: tuple(t[0].shape) for name, t in alone.items() if len(t) == 1}
    return {
        name: (BATCH, *shape[1:]) if shape and shape[0] is None else shape
        for name, shape in shapes.items()
    }


def channels_first(shape: Shape, known: Shape, operator: str) -> bool | None:
    """Tell whether a value of the graph has a layer's axes with the last one second.

    None where it has neither order, or where the shapes agree both ways and nothing else tells.

    >>> channels_first((1, 8, 8, 3), (1, 3, 8, 8), "Relu")
    True
    >>> channels_first((1, 8, 8, 8), (1, 8, 8, 8), "Relu") is None
    True
    """
    moved = (shape[0], shape[-1], *shape[1:-1]) if len(shape) > 2 else shape
    same, turned = shape == known, moved == known
    if len(shape) < 3:
        return False if same else None
    if same and turned:
        return True if operator in CHANNELS_FIRST else None
    return turned if same or turned else None
