"""Any ONNX model to TensorFlow Lite, by way of the executor of the `tf` backend."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from typing import Any

from xbackend.errors import ConversionError, InputError, UnsupportedOperators
from xbackend.plugins import registry
from xbackend.plugins.converter import ConversionRequest, ConversionResult, ConverterSpec
from xbackend.preparation.conversion import weights
from xbackend.worker.artifact import ValueInfo
from xbackend.worker.contract import Unsupported, load_adapter
from xbackend.worker.graph import Graph, read_graph

from .tflite.file import read_flat_file
from .tflite.writer import FLAT_OPTIONS, Samples, calibration, convert_function, read_samples

SPEC = ConverterSpec(
    name="onnx_to_tflite",
    conversions=(("onnx", "tflite"), ("onnx", "tflite-int8")),
    convert="xbackend.converters.onnx_to_tflite:convert",
    modules=("tensorflow",),
    extra="tf",
    distributions=("tensorflow",),
    takes_inputs=True,
    takes_hub=True,
    executor="tf",
    options=FLAT_OPTIONS,
    options_for=("tflite-int8",),
)

BATCH = 1
"""What a free first extent becomes: samples are run one at a time."""


def convert(request: ConversionRequest) -> ConversionResult:
    """Write `model.tflite`, with the ONNX model's own layout of inputs and outputs.

    Extents that are free become those of the samples, the batch one. Raises UnsupportedOperators
    where one is missing, InputError where samples are missing or do not fit.
    """
    if request.hub is None:
        raise ConversionError(
            f"{request.source} has no prepared graph to convert, because the onnx package is "
            "missing. Install it with: pip install onnx"
        )
    graph = read_graph(request.hub)
    samples = read_samples(request.inputs, graph.inputs)
    shapes = _shapes(graph.inputs, samples)
    quantized = request.target_format == "tflite-int8"
    if quantized and not samples:
        raise InputError(
            f"Quantizing {request.source} to int8 needs sample inputs to calibrate with: give "
            "them with --inputs."
        )
    used = samples if quantized else []
    path = request.output / "model.tflite"
    function = _function(graph, shapes, request)
    path.write_bytes(convert_function(function, used, request.source, request.options))
    return ConversionResult(
        model=path.name,
        weights=weights.compare_weights(_weights(graph), read_flat_file(path).weights().values()),
        notes={
            "shapes": {name: list(shape) for name, shape in shapes.items()},
            **calibration(used, request.options),
        },
    )


def _function(graph: Graph, shapes: dict[str, tuple[int, ...]], request: ConversionRequest) -> Any:
    """Return the graph as a concrete function, made by the backend's adapter."""
    spec = registry.backend("tf")
    for key, value in spec.environment.items():
        os.environ.setdefault(key, value.format(threads=1))
    adapter: Any = load_adapter(spec.adapter, importlib.import_module)
    try:
        return adapter.concrete_function(graph, shapes)
    except Unsupported as error:
        raise UnsupportedOperators(
            f"{request.source} cannot become a TensorFlow function: {error}"
        ) from error


def _shapes(values: Sequence[ValueInfo], samples: Samples) -> dict[str, tuple[int, ...]]:
    """Fill in free extents. Raises InputError where nothing tells them."""
    if samples:
        return {v.name: a.shape for v, a in zip(values, samples[0], strict=True)}
    return {value.name: _shape(value) for value in values}


def _shape(value: ValueInfo) -> tuple[int, ...]:
    extents = list(value.shape or [None])
    if extents and extents[0] is None:
        extents[0] = BATCH
    if value.shape is None or None in extents:
        raise InputError(
            f"The input '{value.name}' has the shape {value.shape}, which TensorFlow Lite needs in "
            "full: give a sample with --inputs."
        )
    return tuple(int(extent) for extent in extents if extent is not None)


def _weights(graph: Graph) -> dict[str, Any]:
    """Return the source's weights: constants of real numbers, but for single ones."""
    return {
        name: tensor.array
        for name, tensor in graph.constants.items()
        if tensor.array.dtype.kind == "f" and tensor.array.ndim
    }
