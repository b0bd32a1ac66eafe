"""ONNX to int8 ONNX: ONNX Runtime's static quantizer, calibrated on recorded samples."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xbackend.errors import ConversionError, InputError
from xbackend.plugins.converter import ConversionRequest, ConversionResult, ConverterSpec
from xbackend.preparation.conversion import weights

from .libraries.sentence import first_line
from .onnx.quantization_preprocess import (
    array_of,
    decompose_batch_norms,
    fold_batch_norms,
    materialize_constants,
    replace_sum_with_add,
    upgrade_opset,
)
from .onnx.source import drop_initializer_inputs, own_opset, read_onnx

if TYPE_CHECKING:
    import onnx

Array = np.ndarray[Any, Any]

CHOICES: Mapping[str, tuple[object, ...]] = {
    "activation": ("uint8", "int8"),
    "weight": ("int8", "uint8"),
    "format": ("qoperator", "qdq"),
    "per_channel": (False, True),
    "reduce_range": (False, True),
    "fold_batch_norm": (True, False),
}
"""The values of each option, its default first."""

SPEC = ConverterSpec(
    name="onnx_to_int8",
    conversions=(("onnx", "onnx-int8"),),
    convert="xbackend.converters.onnx_to_int8:convert",
    modules=("onnx", "onnxruntime"),
    extra="ort",
    distributions=("onnx", "onnxruntime", "onnxruntime-gpu", "numpy"),
    revision=2,
    takes_inputs=True,
    options=CHOICES,
)

OPSET = 13
"""The oldest in which every operator that the quantizer writes takes 8 bits, scales by axis too."""


@dataclass(frozen=True)
class Options:
    """How to quantize. The defaults are what most people ship on x86.

    uint8 activations with int8 weights are what ONNX Runtime recommends for x86, and the one
    pair of types whose kernel saturates on CPUs with AVX2 but without VNNI.
    """

    activation: str = "uint8"
    weight: str = "int8"
    format: str = "qoperator"
    """`qoperator`: integer operators, whatever the optimiser does. `qdq`: float operators between
    QuantizeLinear and DequantizeLinear, integers only where the optimiser fuses them."""
    per_channel: bool = False
    """One scale for each output channel of a weight, not one for all."""
    reduce_range: bool = False
    """Weights of 7 bits, which no kernel saturates on."""
    fold_batch_norm: bool = True
    """Put a BatchNormalization into the weights of the Conv before it, and write one that follows
    anything else as a product and a sum, as integers need."""


def convert(request: ConversionRequest) -> ConversionResult:
    """Quantize a model and say from what: options, samples, opset, folded nodes."""
    options = read_options(request.options)
    model = read_onnx(request.source)
    source = {t.name: array_of(t) for t in model.graph.initializer}
    opset = own_opset(model)
    model = upgrade_opset(model, OPSET, request.source)
    drop_initializer_inputs(model, ir_version=7)
    materialized = materialize_constants(model)
    renamed = replace_sum_with_add(model)
    folded = fold_batch_norms(model) if options.fold_batch_norm else []
    spelt = decompose_batch_norms(model) if options.fold_batch_norm else []
    samples, calibration = read_samples(request.inputs, model)
    with _scratch(request.output) as scratch:
        ranges = calibrate(model, samples, scratch)
        model = _quantize(model, ranges, options)
    _save(model, request.output / "model.onnx")
    return ConversionResult(
        model="model.onnx",
        weights=weights.compare_weights(source, (array_of(t) for t in model.graph.initializer)),
        notes={
            "options": asdict(options),
            "calibration": calibration,
            "opset": {"source": opset, "target": own_opset(model)},
            "materialized_constants": materialized,
            "sums_as_adds": renamed,
            "folded_batch_norms": folded,
            "spelt_batch_norms": spelt,
        },
    )


def read_options(given: Mapping[str, Any]) -> Options:
    """Check options against their choices. Raises ConversionError with the words that there are."""
    for key, value in given.items():
        if key not in CHOICES:
            names = ", ".join(sorted(CHOICES))
            raise ConversionError(f"onnx_to_int8 has no option '{key}'; it has {names}.")
        if not any(value is choice or value == choice for choice in CHOICES[key]):
            names = " or ".join(str(choice) for choice in CHOICES[key])
            raise ConversionError(f"onnx_to_int8's option '{key}' is {value!r}; it takes {names}.")
    options = Options(**given)
    if options.activation == "int8" and options.weight == "uint8":
        raise ConversionError(
            "ONNX Runtime has no kernel for int8 activations with uint8 weights; "
            "use int8 weights or uint8 activations."
        )
    return options


def read_samples(path: Path | None, model: onnx.ModelProto) -> tuple[list[dict[str, Array]], Any]:
    """Read calibration inputs, split into batches of the model's size, and what to record."""
    if path is None:
        raise ConversionError(
            "Quantization needs samples to calibrate on and got none. Give some with --inputs."
        )
    with np.load(path, allow_pickle=False) as file:
        given = {name: file[name] for name in sorted(file.files)}
    names = [value.name for value in model.graph.input]
    missing = [name for name in names if name not in given]
    if missing:
        raise InputError(
            f"The calibration samples have no input '{missing[0]}', only {', '.join(given)}."
        )
    batches = list(_batches({name: given[name] for name in names}, model))
    if not batches:
        raise InputError("The calibration samples are fewer than one batch of the model.")
    return batches, _record(given, names, len(batches))


def _record(given: Mapping[str, Array], names: list[str], runs: int) -> dict[str, Any]:
    digest = hashlib.sha256()
    for name in names:
        digest.update(f"{name}:{given[name].dtype.name}:{given[name].shape}:".encode())
        digest.update(np.ascontiguousarray(given[name]).tobytes())
    samples = min((len(given[name]) for name in names if given[name].ndim), default=1)
    return {
        "method": "min-max",
        "samples": samples,
        "inferences": runs,
        "digest": digest.hexdigest(),
        "threads": 1,
        "optimization": "none",
    }


def _batches(given: Mapping[str, Array], model: onnx.ModelProto) -> Iterator[dict[str, Array]]:
    columns = {value.name: _column(given[value.name], value) for value in model.graph.input}
    counts = [len(rows) for rows in columns.values() if rows is not None]
    for index in range(min(counts, default=1)):
        yield {name: given[name] if rows is None else rows[index] for name, rows in columns.items()}


def _column(array: Array, value: onnx.ValueInfoProto) -> Array | None:
    """Return an input's samples along an axis of their own, None for one number for all."""
    declared = value.type.tensor_type
    stacked = array.ndim > len(declared.shape.dim) or not declared.HasField("shape")
    size = _batch_size(value)
    if stacked or not size:
        return array if stacked else None
    count = len(array) // size
    return array[: count * size].reshape(count, size, *array.shape[1:])


def _batch_size(value: onnx.ValueInfoProto) -> int:
    """Return the extent of the first axis, 1 where it is free, 0 where there is none."""
    shape = value.type.tensor_type.shape
    if not shape.dim:
        return 0 if value.type.tensor_type.HasField("shape") else 1
    return int(shape.dim[0].dim_value) if shape.dim[0].HasField("dim_value") else 1


def calibrate(
    model: onnx.ModelProto, samples: list[dict[str, Array]], scratch: Path
) -> dict[str, tuple[np.float32, np.float32]]:
    """Return the least and the greatest element of every float32 value over the samples.

    One thread and no optimisation, so that the ranges do not depend on the number of cores.
    Writes the type of every value into the model, so that the quantizer never has to infer one.
    """
    session = _calibration_session(model, scratch)
    names = [output.name for output in session.get_outputs()]
    ranges: dict[str, tuple[np.float32, np.float32]] = {}
    for index, sample in enumerate(samples):
        values = dict(zip(names, _run(session, sample), strict=True))
        if not index:
            _declare(model, values)
        for name, array in (values | sample).items():
            if isinstance(array, np.ndarray) and array.dtype == np.float32 and array.size:
                ranges[name] = _widen(name, ranges.get(name), array)
    return ranges


def _calibration_session(model: onnx.ModelProto, scratch: Path) -> Any:
    import onnx
    import onnxruntime

    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    known = {value.name for value in model.graph.output}
    computed = [name for node in model.graph.node for name in node.output if name]
    watched.graph.output.extend(
        onnx.ValueInfoProto(name=name) for name in computed if name not in known
    )
    onnx.save_model(watched, scratch / "watched.onnx", save_as_external_data=True)
    settings = onnxruntime.SessionOptions()
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    settings.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(
            str(scratch / "watched.onnx"), settings, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        raise ConversionError(f"ONNX Runtime cannot load the model: {first_line(error)}") from error


def _run(session: Any, sample: dict[str, Array]) -> list[Any]:
    try:
        return list(session.run(None, sample))
    except Exception as error:
        raise ConversionError(
            f"ONNX Runtime cannot compute the calibration samples: {first_line(error)}"
        ) from error


def _widen(
    name: str, known: tuple[np.float32, np.float32] | None, array: Array
) -> tuple[np.float32, np.float32]:
    least, greatest = array.min(), array.max()
    if not (np.isfinite(least) and np.isfinite(greatest)):
        raise InputError(
            f"The value '{name}' is infinite or not a number for a calibration sample, "
            "which no integer can hold. Leave that sample out."
        )
    return (least, greatest) if known is None else (min(known[0], least), max(known[1], greatest))


def _declare(model: onnx.ModelProto, values: Mapping[str, Any]) -> None:
    from onnx import helper

    interface = {value.name for value in (*model.graph.input, *model.graph.output)}
    del model.graph.value_info[:]
    for name, array in values.items():
        if isinstance(array, np.ndarray) and name not in interface:
            number = helper.np_dtype_to_tensor_dtype(array.dtype)
            model.graph.value_info.append(helper.make_tensor_value_info(name, number, None))


def _quantize(
    model: onnx.ModelProto, ranges: Mapping[str, tuple[np.float32, np.float32]], options: Options
) -> onnx.ModelProto:
    quantizer = _quantizer(model, _tensors_data(ranges), options)
    try:
        quantizer.quantize_model()
        quantizer.model.topological_sort()
    except (RuntimeError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConversionError(
            f"ONNX Runtime cannot quantize the model: {first_line(error)}"
        ) from error
    quantized: onnx.ModelProto = quantizer.model.model
    del quantized.graph.value_info[:]
    del quantized.metadata_props[:]
    return quantized


def _quantizer(model: onnx.ModelProto, ranges: Any, options: Options) -> Any:
    """Make what `quantize_static` makes once it has its ranges."""
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
    from onnxruntime.quantization.quant_utils import QuantizationMode
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    types = {"uint8": QuantType.QUInt8, "int8": QuantType.QInt8}
    weight, activation = types[options.weight], types[options.activation]
    operators = sorted({*QLinearOpsRegistry, *QDQRegistry})
    how = (options.per_channel, options.reduce_range)
    what: tuple[Any, ...] = (weight, activation, ranges, [], [], operators, {})
    if options.format == "qdq":
        return QDQQuantizer(model, *how, *what)
    return ONNXQuantizer(model, *how, QuantizationMode.QLinearOps, True, *what)


def _tensors_data(ranges: Mapping[str, tuple[np.float32, np.float32]]) -> Any:
    from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData

    pairs = {name: tuple(np.asarray([end]) for end in ends) for name, ends in ranges.items()}
    return TensorsData(CalibrationMethod.MinMax, pairs)


@contextmanager
def _scratch(output: Path) -> Iterator[Path]:
    """Send every temporary file, the quantizer's among them, into a folder that is removed."""
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory(dir=output) as folder:
        tempfile.tempdir = folder
        try:
            yield Path(folder)
        finally:
            tempfile.tempdir = before


def _save(model: onnx.ModelProto, path: Path) -> None:
    path.write_bytes(model.SerializeToString(deterministic=True))
