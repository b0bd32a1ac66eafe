"""Converts models, and tells which layers of an int8 model overflow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from xbackend.api.arguments import (
    PathLike,
    Progress,
    Settings,
    StoreLike,
    Words,
    display_of,
    execution_context,
    settings_texts,
    store_of,
    words,
)
from xbackend.api.results import Listing
from xbackend.api.runs import source_of
from xbackend.api.samples import Inputs, chosen_samples
from xbackend.diagnosis.saturation_run import SaturationReport, measure_run
from xbackend.errors import UsageError
from xbackend.execution.convert import ConvertedFile, convert_files
from xbackend.execution.request import RunRequest


def convert(
    model: object,
    to: Words,
    *,
    output: PathLike = ".",
    inputs: Inputs = None,
    options: Settings = None,
    force: bool = False,
    example_inputs: Any = None,
    store: StoreLike = None,
    progress: Progress = None,
) -> Listing[ConvertedFile]:
    """Convert a model into files, and say which weights kept their bits.

    Args:
        model: As for `run`.
        to: Formats, such as `"onnx,tflite"` or `["onnx-int8"]`.
        output: The folder of the files.
        inputs: Samples that calibrate a quantization; as for `run`.
        options: How converters work: `{"onnx_to_int8.weight": "uint8"}`.
        force: Overwrite files that are there.
        example_inputs: As for `run`.
        store: A folder; default: $XBACKEND_STORE or .xbackend.
        progress: A function that is told of each step by a `ProgressEvent`.

    Returns:
        A file for each format, with the steps that led there.

    Raises:
        UsageError: For an unknown format, and for a file that is there.
        ConversionError: Where a converter fails.

    Example:
        >>> import xbackend as xb
        >>> (file,) = xb.convert("cifar10-small", to="onnx", output="converted")
        >>> file.path.name, file.changed_weights
        ('cifar10-small.onnx', ())
    """
    targets = words(to)
    if not targets:
        raise UsageError("'--to' needs a format, such as --to onnx,tflite.")
    there = store_of(store)
    with chosen_samples(inputs) as given:
        source = source_of(model, there, example_inputs)
        request = RunRequest(
            source,
            inputs=given.path,
            choice=given.choice,
            options=settings_texts(options),
        )
        log = display_of(progress).log
        found = convert_files(request, targets, Path(output), force, there, log)
    return Listing(found, "conversion", "files")


def saturation(
    model: object = None,
    *,
    inputs: Inputs = None,
    options: Settings = None,
    example_inputs: Any = None,
    timeout: float = 600.0,
    jobs: int | None = None,
    store: StoreLike = None,
    progress: Progress = None,
) -> SaturationReport:
    """Tell which layers of a model in int8 overflow in kernels that saturate 16 bits.

    The model runs in exact integers, so what the inputs reach is exact.

    Args:
        model: As for `run`.
        inputs: As for `run`.
        options: How it is quantized: `{"onnx_to_int8.weight": "uint8"}`.
        example_inputs: As for `run`.
        timeout: Seconds for the worker.
        jobs: Workers at once.
        store: A folder; default: $XBACKEND_STORE or .xbackend.
        progress: A function that is told of each step by a `ProgressEvent`.

    Returns:
        The layers that overflow for some input, and how far these inputs go.

    Raises:
        XbackendError: Where the model cannot be had in int8.

    Example:
        >>> import xbackend as xb
        >>> found = xb.saturation("cifar10-small")
        >>> [each.tap for each in found.layers if each.share]
        ['conv1_quantized']
    """
    there = store_of(store)
    with chosen_samples(inputs) as given:
        request = RunRequest(
            model=source_of(model, there, example_inputs),
            inputs=given.path,
            choice=given.choice,
            options=settings_texts(options),
        )
        return measure_run(request, execution_context(there, jobs, timeout, progress))
