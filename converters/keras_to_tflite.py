"""Keras and SavedModel to TensorFlow Lite, in float32 or with int8 inside and float32 outside."""

from __future__ import annotations

from typing import Any

from xbackend.errors import InputError
from xbackend.plugins.converter import ConversionRequest, ConversionResult, ConverterSpec
from xbackend.preparation.conversion import weights
from xbackend.worker.artifact import ValueInfo

from .keras.source import BATCH, TraceableModel, load_traceable
from .tflite.file import read_flat_file
from .tflite.writer import FLAT_OPTIONS, Samples, calibration, read_samples, unwritten, written

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


def convert(request: ConversionRequest) -> ConversionResult:
    """Write `model.tflite`, with the batch fixed at one and the model's own layout."""
    source = load_traceable(request.source, request.source_format)
    notes: dict[str, Any] = {"batch": BATCH}
    samples: Samples = []
    if request.target_format == "tflite-int8":
        samples = _samples(source, request)
        notes |= calibration(samples, request.options)
    path = request.output / "model.tflite"
    path.write_bytes(_flat(source, samples, request))
    return ConversionResult(
        model=path.name,
        weights=weights.compare_weights(source.weights, read_flat_file(path).weights().values()),
        notes=notes,
    )


def _flat(source: TraceableModel, samples: Samples, request: ConversionRequest) -> bytes:
    """Convert the frozen function; with samples, quantize it after them."""
    try:
        frozen = source.frozen()
    except Exception as error:  # tracing raises anything
        raise unwritten(error, request.source) from error
    return written(frozen, samples, request.source, request.options)


def _samples(source: TraceableModel, request: ConversionRequest) -> Samples:
    """Return the calibration inputs, one list of arrays for each sample. Raises InputError."""
    if request.inputs is None:
        raise InputError(
            f"Quantizing {request.source} to int8 needs sample inputs to calibrate with: give "
            "them with --inputs."
        )
    values = [
        ValueInfo(name, spec.dtype.name, None if spec.shape.rank is None else tuple(spec.shape))
        for name, spec in zip(source.inputs, source.signature, strict=True)
    ]
    return read_samples(request.inputs, values)
