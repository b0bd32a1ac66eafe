"""Finds which layers must stay in float32 in a narrower format, and tries it."""

from __future__ import annotations

from typing import Any

from xbackend.api.arguments import (
    Progress,
    Settings,
    StoreLike,
    Words,
    execution_context,
    settings_texts,
    store_of,
    words,
)
from xbackend.api.runs import source_of
from xbackend.api.samples import Inputs, chosen_samples
from xbackend.execution.request import RunRequest
from xbackend.mitigation.mixed_precision import MixedPrecision, try_mixed_precision


def mixed_precision(
    model: object = None,
    *,
    precision: str = "float16",
    backends: Words = None,
    inputs: Inputs = None,
    settings: Settings = None,
    example_inputs: Any = None,
    timeout: float = 600.0,
    jobs: int | None = None,
    store: StoreLike = None,
    progress: Progress = None,
) -> MixedPrecision:
    """Find which layers must stay in float32 so that nothing overflows, and try it.

    The model runs in the narrower format, in float64, and again with the layers kept that have
    numbers too large for the format, and those that read them.

    Args:
        model: As for `run`.
        precision: `float16` or `bfloat16`.
        backends: Such as `["ort", "torch"]`; default: all that are installed.
        inputs: As for `run`.
        settings: As for `run`.
        example_inputs: As for `run`.
        timeout: Seconds for each worker.
        jobs: Workers at once; default: one for each core.
        store: A folder; default: $XBACKEND_STORE or .xbackend.
        progress: A function that is told of each step by a `ProgressEvent`.

    Returns:
        The layers, `option` as `onnx_to_cast.keep` takes it, and for each backend what
        is not finite and the error against float64, before and after.

    Raises:
        UsageError: For another precision.
        XbackendError: Where no run gives an output, or none can be made in float64.

    Example:
        >>> import xbackend as xb
        >>> xb.mixed_precision(precision="float32")
        Traceback (most recent call last):
        ...
        xbackend.errors.UsageError: 'float32' is no format that layers are kept out of. Choose \
one of: float16, bfloat16.
    """
    there = store_of(store)
    with chosen_samples(inputs) as given:
        request = RunRequest(
            model=source_of(model, there, example_inputs),
            backends=words(backends, "backends="),
            inputs=given.path,
            choice=given.choice,
            settings=settings_texts(settings),
        )
        context = execution_context(there, jobs, timeout, progress)
        return try_mixed_precision(request, precision, context)
