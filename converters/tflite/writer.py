"""Writes a frozen TensorFlow function as a TensorFlow Lite file, in float32 or calibrated int8."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xbackend.errors import InputError, ModelError, UnsupportedOperators
from xbackend.worker.artifact import ValueInfo

from ..libraries.sentence import first_line

Array = np.ndarray[Any, Any]
Samples = list[list[Array]]
"""For each sample one array for each input."""

FLAT_OPTIONS: Mapping[str, tuple[object, ...]] = {"activation": ("int8", "int16")}
"""What a quantized file's activations are, the default first; weights are int8 with either."""

ERF = "A GELU by tanh, which is another function, it has; or choose other backends with --backends."
"""What to say where the exact GELU is what is lacking."""
MISSING_OPERATIONS = re.compile(r"(?:TF Select|Flex|Custom) ops?: ([\w, ]+)")
"""Where the converter lists the operations that TensorFlow Lite lacks."""


def operations(options: Mapping[str, Any]) -> Any:
    """Return which set of TensorFlow Lite's operations a quantized file is made of."""
    import tensorflow as tf

    if options.get("activation") == "int16":
        return tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
    return tf.lite.OpsSet.TFLITE_BUILTINS_INT8


def quantization(options: Mapping[str, Any]) -> str:
    """Say what is quantized to what, for the artifact's record."""
    activation = options.get("activation", "int8")
    return f"int8 weights per channel, {activation} activations, float32 inputs and outputs"


def convert_function(
    function: Any, samples: Samples, path: Path, options: Mapping[str, Any]
) -> bytes:
    """Convert a concrete function; with samples, quantize it after what they give.

    Its weights are frozen first: the converter leaves them out otherwise. Raises ModelError in
    the name of the model at `path`.
    """
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    return written(convert_variables_to_constants_v2(function), samples, path, options)


def written(frozen: Any, samples: Samples, path: Path, options: Mapping[str, Any]) -> bytes:
    """Convert a frozen function; with samples, quantize it after what they give.

    Raises ModelError in the name of the model at `path`.
    """
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen], None)
    if samples:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: iter(samples)
        converter.target_spec.supported_ops = [operations(options)]
    try:
        data: bytes = converter.convert()
    except Exception as error:  # the converter raises anything
        raise unwritten(error, path) from error
    return data


def unwritten(error: Exception, path: Path) -> ModelError:
    """Return what says why there is no file, with the operations that TensorFlow Lite lacks."""
    said = str(error)
    lacking = sorted(
        {name for found in MISSING_OPERATIONS.findall(said) for name in found.split(", ")}
    )
    if lacking:
        names = ", ".join(lacking)
        hint = ERF if "Erf" in lacking else "Choose other backends with --backends."
        return UnsupportedOperators(
            f"{path} has operations that TensorFlow Lite lacks: {names}. {hint}"
        )
    return ModelError(f"TensorFlow Lite's converter cannot convert {path}: {first_line(error)}")


def read_samples(path: Path | None, values: Sequence[ValueInfo]) -> Samples:
    """Return sample inputs from an .npz, along an axis of their own or each a batch of one.

    Raises InputError where an input has no array, or one that does not fit its shape.
    """
    if path is None:
        return []
    with np.load(path, allow_pickle=False) as archive:
        columns = [_column(archive, value, len(values)) for value in values]
    return [list(row) for row in zip(*columns, strict=False)]


def _column(archive: Mapping[str, Array], value: ValueInfo, inputs: int) -> list[Array]:
    names = list(archive)
    if value.name not in names and not inputs == len(names) == 1:
        raise InputError(f"The sample inputs hold no array '{value.name}'.")
    array = archive[value.name if value.name in names else names[0]]
    stacked = value.shape is None or array.ndim > len(value.shape)
    rows = array if stacked else array[:, None]
    if not len(rows) or not _fits(rows[0].shape, value):
        raise InputError(
            f"The samples of input '{value.name}' have the shape {array.shape}, which does not "
            f"give {value.shape}."
        )
    return [row.astype(value.dtype) for row in rows]


def _fits(shape: tuple[int, ...], value: ValueInfo) -> bool:
    if value.shape is None:
        return True
    each = zip(shape, value.shape, strict=False)
    return len(shape) == len(value.shape) and all(e in (n, None) for n, e in each)


def calibration(samples: Samples, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what decided a quantization, for the artifact's record; empty without samples."""
    if not samples:
        return {}
    digest = hashlib.sha256()
    for array in _arrays(samples):
        digest.update(np.ascontiguousarray(array).tobytes())
    return {
        "calibration": {"samples": len(samples), "sha256": digest.hexdigest()},
        "quantization": quantization(options),
    }


def _arrays(samples: Samples) -> Iterator[Array]:
    for row in samples:
        yield from row
