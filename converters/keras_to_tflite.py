"""Keras and SavedModel to TensorFlow Lite, in float32 or with int8 inside and float32 outside."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from xbackend.errors import InputError, ModelError
from xbackend.plugins.converter import ConversionRequest, ConversionResult, ConverterSpec
from xbackend.preparation import weights

from .flat_writer import FLAT_OPTIONS, operations, quantization
from .keras_source import BATCH, TraceableModel, load_traceable
from .tflite_file import read_flat_file

SOURCES = ("keras", "h5", "savedmodel")

SPEC = ConverterSpec(
    name="keras_to_tflite",
    conversions=tuple(
        (source, target) for target in ("tflite", "tflite-int8") for source in SOURCES
    ),
    convert="xbackend.converters.keras_to_tflite:convert",
    modules=("tensorflow",),
    extra="tf",
    distributions=("tensorflow", "keras"),
    takes_inputs=True,
    options=FLAT_OPTIONS,
    options_for=("tflite-int8",),
)

Array = np.ndarray[Any, Any]
Samples = list[list[Array]]


def convert(request: ConversionRequest) -> ConversionResult:
    """Write `model.tflite`, with the batch fixed at one and the model's own layout."""
    source = load_traceable(request.source, request.source_format)
    notes: dict[str, Any] = {"batch": BATCH}
    samples: Samples = []
    if request.target_format == "tflite-int8":
        samples = _samples(source, request)
        notes |= _calibration(samples, request.options)
    path = request.output / "model.tflite"
    path.write_bytes(_flat(source, samples, request))
    return ConversionResult(
        model=path.name,
        weights=weights.compare_weights(source.weights, read_flat_file(path).weights().values()),
        notes=notes,
    )


def _flat(source: TraceableModel, samples: Samples, request: ConversionRequest) -> bytes:
    """Convert the frozen function; with samples, quantize it after them."""
    import tensorflow as tf

    try:
        converter = tf.lite.TFLiteConverter.from_concrete_functions([source.frozen()], None)
        if samples:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = _feeding(samples)
            converter.target_spec.supported_ops = [operations(request.options)]
        data: bytes = converter.convert()
    except Exception as error:  # tracing and the converter raise anything
        raise ModelError(f"{_sentence(error, request.source)}") from error
    return data


def _feeding(samples: Samples) -> Callable[[], Iterator[list[Array]]]:
    def feed() -> Iterator[list[Array]]:
        yield from samples

    return feed


def _sentence(error: Exception, path: Path) -> str:
    """Return one sentence about a failure, with the operations that TensorFlow Lite lacks."""
    said = str(error)
    lacking = sorted(set(re.findall(r"(?:Flex|Custom) ops?: ([\w, ]+)", said)))
    if lacking:
        return f"{path} has operations that TensorFlow Lite lacks: {', '.join(lacking)}."
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    first = lines[0][:300] if lines else type(error).__name__
    return f"TensorFlow Lite's converter cannot convert {path}: {first}"


def _samples(source: TraceableModel, request: ConversionRequest) -> Samples:
    """Return the calibration inputs, one list of arrays for each sample. Raises InputError."""
    if request.inputs is None:
        raise InputError(
            f"Quantizing {request.source} to int8 needs sample inputs to calibrate with: give "
            "them with --inputs."
        )
    with np.load(request.inputs, allow_pickle=False) as archive:
        columns = [
            _column(archive, name, spec, len(source.inputs))
            for name, spec in zip(source.inputs, source.signature, strict=True)
        ]
    return [list(row) for row in zip(*columns, strict=False)]


def _column(archive: Any, name: str, spec: Any, inputs: int) -> list[Array]:
    """Return the samples of one input, each with the batch that the function takes."""
    if name not in archive.files and not (inputs == len(archive.files) == 1):
        raise InputError(f"The sample inputs hold no array '{name}'.")
    array = archive[name if name in archive.files else archive.files[0]]
    rows = array if array.ndim > len(spec.shape) else array[:, None]
    samples = [row.astype(spec.dtype.as_numpy_dtype) for row in rows]
    if not samples or not spec.shape.is_compatible_with(samples[0].shape):
        raise InputError(
            f"The samples of input '{name}' have the shape {array.shape}, which does not give "
            f"{tuple(spec.shape)}."
        )
    return samples


def _calibration(samples: Samples, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what decided the quantization, for the artifact's record."""
    digest = hashlib.sha256()
    for row in samples:
        for array in row:
            digest.update(np.ascontiguousarray(array).tobytes())
    return {
        "calibration": {"samples": len(samples), "sha256": digest.hexdigest()},
        "quantization": quantization(options),
    }
