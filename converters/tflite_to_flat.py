"""TensorFlow Lite to the flat graph: the file as it is, and which tensor is which ONNX value."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from xbackend.errors import ConversionError
from xbackend.numerics.alignment import (
    FLOAT_TOLERANCE,
    QUANTIZED_TOLERANCE,
    Array,
    Perm,
    RecordedTensor,
    align,
)
from xbackend.plugins.converter import (
    ConversionRequest,
    ConversionResult,
    ConverterSpec,
    WeightReport,
)
from xbackend.worker.artifact import MANIFEST, Layer
from xbackend.worker.graph import Graph, read_graph

from .onnx.names import unique_names
from .onnx_to_graph import layers_of
from .tflite.file import read_flat_file, refuse_foreign_operations
from .tflite.interface import (
    Port,
    feeds,
    input_orders,
    output_ports,
    own_ports,
    plain_name,
    to_flat,
)
from .tflite.interpreter import FlatInterpreter
from .tflite.witness import NoWitness, recorded_values

SPEC = ConverterSpec(
    name="tflite_to_flat",
    conversions=(("tflite", "flat"), ("tflite-int8", "flat-int8")),
    convert="xbackend.converters.tflite_to_flat:convert",
    modules=("numpy", "onnx"),
    extra="tflite",
    distributions=("ai-edge-litert", "tflite-runtime", "onnx", "onnxruntime-gpu", "onnxruntime"),
    revision=6,
    takes_inputs=True,
    takes_hub=True,
)

ROUNDING = "QUANTIZE"
"""What makes integers of the numbers that another tensor holds: no value of the float graph."""

FROM_SOURCE = "keras_to_tflite"
"""The converter that writes a file without the ONNX graph."""

NOT_THE_SAME = 1e-2
"""Distance of float outputs from which the two graphs are not the same model."""


@dataclass(frozen=True)
class NamedGraph:
    """What became known of a flat graph's tensors."""

    inputs: list[Port]
    outputs: list[Port]
    taps: list[tuple[int, str, Perm | None]]
    """Tensor's number, ONNX value's name, transposition; in the order of the ONNX graph."""
    layers: tuple[Layer, ...]
    steps: Mapping[int, tuple[float, int]]
    """Scale and zero point of tensors whose integers stand for reals, by number."""
    notes: dict[str, Any] = field(default_factory=dict)


def convert(request: ConversionRequest) -> ConversionResult:
    """Copy the file to `model.tflite` and write `taps.json` beside it."""
    file = read_flat_file(request.source)
    refuse_foreign_operations(file, request.source)
    flat = FlatInterpreter(request.source)
    if request.hub is None:
        named = _named_by_itself(flat)
    else:
        named = _named_after(request.hub, flat, request)
    shutil.copyfile(request.source, request.output / "model.tflite")
    text = json.dumps(_document(named))
    (request.output / "taps.json").write_text(text, encoding="utf-8")
    return ConversionResult(
        model="model.tflite",
        weights=WeightReport(identical=tuple(file.weights()), changed=()),
        inputs=tuple(port.value for port in named.inputs),
        outputs=tuple(port.value for port in named.outputs),
        layers=named.layers,
        notes=named.notes,
    )


def _document(named: NamedGraph) -> dict[str, Any]:
    return {
        "inputs": [_row(port.index, port.value.name, port.perm) for port in named.inputs],
        "outputs": [_row(port.index, port.value.name, port.perm) for port in named.outputs],
        "taps": [_tap(named, *tap) for tap in named.taps],
    }


def _tap(named: NamedGraph, index: int, name: str, perm: Perm | None) -> dict[str, Any]:
    """Return a row that also says what the integers of a tensor stand for."""
    row = _row(index, name, perm)
    if index not in named.steps:
        return row
    scale, zero_point = named.steps[index]
    return {**row, "scale": scale, "zero_point": zero_point}


def _row(index: int, name: str, perm: Perm | None) -> dict[str, Any]:
    return {"index": int(index), "name": name, "perm": None if perm is None else list(perm)}


def _named_by_itself(flat: FlatInterpreter) -> NamedGraph:
    """Name each tensor as the file does, by the first of joined names where that is unique."""
    full = {index: str(flat.details[index]["name"]) for index in flat.operators}
    short = unique_names({name: name.partition(";")[0] for name in full.values()})
    taps = {index: short[name] or f"tensor_{index}" for index, name in full.items()}
    layers = [
        Layer(taps[index], place, operator)
        for place, (index, operator) in enumerate(flat.operators.items())
    ]
    outputs = [taps.get(d["index"], d["name"]) for d in flat.outputs]
    return NamedGraph(
        inputs=own_ports(flat.inputs, [plain_name(d["name"]) for d in flat.inputs]),
        outputs=own_ports(flat.outputs, outputs),
        taps=[(index, name, None) for index, name in taps.items()],
        layers=tuple(layers),
        steps=flat.steps(),
        notes={"names": "the file's own: there is no ONNX graph of this model"},
    )


def _named_after(hub: Path, flat: FlatInterpreter, request: ConversionRequest) -> NamedGraph:
    """Name tensors after the ONNX values that compute the same on the same inputs."""
    graph = read_graph(hub)
    quantized = flat.is_quantized()
    trial = _agreeing(graph, hub, flat, request, quantized)
    series = flat.series(trial.flat)
    fixed = {port.index: port for port in trial.outputs}
    names = {port.value.name for port in trial.outputs}
    matches = align(
        [s for index, s in series.items() if index not in fixed and s.operator != ROUNDING],
        [value for value in trial.values if value.name not in names],
        quantized,
    )
    numbers = {tensor.position: index for index, tensor in series.items()}
    taps = [(numbers[m.flat.position], m.value.name, m.perm) for m in matches]
    taps += [(port.index, port.value.name, port.perm) for port in trial.outputs]
    layers = layers_of(graph)
    places = {layer.tap: layer.layer for layer in layers}
    kept = sorted((tap for tap in taps if tap[1] in places), key=lambda tap: places[tap[1]])
    notes = _notes(trial, len(series), quantized)
    return NamedGraph(trial.inputs, trial.outputs, kept, layers, flat.steps(), notes)


@dataclass(frozen=True)
class AlignmentTrial:
    """Both graphs, run on the same inputs under one pairing of inputs and outputs."""

    inputs: list[Port]
    outputs: list[Port]
    distances: list[float]
    """How far each output is apart; NaN where the ONNX graph could not be run."""
    flat: list[dict[int, Array]]
    values: list[RecordedTensor]
    witness: str
    """What computed the ONNX graph's values."""
    problem: str = ""
    """Why the ONNX graph could not be run."""


def _agreeing(
    graph: Graph, hub: Path, flat: FlatInterpreter, request: ConversionRequest, quantized: bool
) -> AlignmentTrial:
    """Return the first pairing of inputs under which the outputs agree, else the closest."""
    limit = QUANTIZED_TOLERANCE if quantized else FLOAT_TOLERANCE
    best: AlignmentTrial | None = None
    for ports in input_orders(graph.inputs, flat.inputs, request.source):
        trial = _try(graph, hub, flat, ports, request, quantized)
        if best is None or max(trial.distances) < max(best.distances):
            best = trial
        if trial.problem or max(trial.distances) <= limit:
            break
    far = best is None or (not quantized and max(best.distances) > NOT_THE_SAME)
    if best is None or not best.outputs or (far and not _made_apart(request.source)):
        raise ConversionError(
            f"The outputs of {request.source} are not those of its ONNX graph: they are "
            f"{max(best.distances) if best else float('inf'):.3g} apart, relative to the largest."
        )
    return best


def _made_apart(file: Path) -> bool:
    """Tell whether a file was converted from the model itself and not from its ONNX graph.

    Then the two may be different functions, as an exporter may be wrong, and the file is run.
    """
    try:
        manifest = json.loads((file.parent / MANIFEST).read_text(encoding="utf-8"))
        return str(manifest["steps"][-1]["converter"]) == FROM_SOURCE
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return False


def _try(
    graph: Graph,
    hub: Path,
    flat: FlatInterpreter,
    ports: list[Port],
    request: ConversionRequest,
    quantized: bool,
) -> AlignmentTrial:
    trials = feeds(ports, request.inputs, noise=not quantized)
    arrays = {
        port.index: [to_flat(port, feed[port.value.name]) for feed in trials] for port in ports
    }
    runs = [
        flat.run([arrays[detail["index"]][place] for detail in flat.inputs])
        for place in range(len(trials))
    ]
    values, witness, problem = _witnessed(graph, hub, trials)
    wanted = {value.name for value in graph.outputs}
    outputs, distances = output_ports(
        graph.outputs,
        flat.outputs,
        {d["index"]: [run[d["index"]] for run in runs] for d in flat.outputs},
        {value.name: value.arrays for value in values if value.name in wanted},
        quantized,
    )
    return AlignmentTrial(ports, outputs, distances, runs, values, witness, problem)


def _witnessed(
    graph: Graph, hub: Path, trials: Sequence[Mapping[str, Array]]
) -> tuple[list[RecordedTensor], str, str]:
    """Return the graph's values and who computed them, or why nobody could."""
    try:
        return *recorded_values(graph, hub, trials), ""
    except NoWitness as error:
        return [], "", str(error)


def _notes(trial: AlignmentTrial, tensors: int, quantized: bool) -> dict[str, Any]:
    """Return how sure the names are."""
    limit = QUANTIZED_TOLERANCE if quantized else FLOAT_TOLERANCE
    outputs = {
        port.value.name: {
            "distance": None if np.isnan(far) else far,
            "verified": bool(far <= limit),
        }
        for port, far in zip(trial.outputs, trial.distances, strict=True)
    }
    measure = "root mean square" if quantized else "largest element"
    notes: dict[str, Any] = {
        "names": "ONNX values that compute the same on the same inputs",
        "tolerance": {"value": limit, "of": measure},
        "tensors": tensors,
        "outputs": outputs,
        "witness": trial.witness,
    }
    if not quantized and max(trial.distances, default=0.0) > NOT_THE_SAME:
        notes["problem"] = "the model's ONNX graph is another function than this file"
    return {**notes, "problem": trial.problem} if trial.problem else notes
