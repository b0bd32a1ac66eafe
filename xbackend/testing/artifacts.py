"""Makes artifacts and sessions inside of a test's own process."""

from __future__ import annotations

import importlib
import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from xbackend.plugins.converter import ConversionRequest, ConversionResult, ConverterSpec
from xbackend.plugins.installed import installed
from xbackend.plugins.registry import load_object
from xbackend.worker.artifact import Artifact
from xbackend.worker.contract import Backend, BackendSpec, SettingValue, load_adapter

if TYPE_CHECKING:
    import onnx


def make_artifact(model: onnx.ModelProto, folder: Path, target_format: str = "graph") -> Artifact:
    """Write a model and convert it, in this process, by the one arrow that leads to a format.

    Raises what the converter raises, and LookupError where none has the arrow.
    """
    import onnx

    source_format = target_format.replace("graph", "onnx", 1)
    output = folder / target_format
    output.mkdir(parents=True)
    source = folder / "source.onnx"
    onnx.save_model(model, source)
    request = ConversionRequest(source, source_format, target_format, output)
    result = _convert(request)
    return Artifact(
        folder=output,
        format=target_format,
        digest="",
        inputs=result.inputs,
        outputs=result.outputs,
        layers=result.layers,
        manifest={"notes": dict(result.notes)},
    )


def _convert(request: ConversionRequest) -> ConversionResult:
    result: ConversionResult = load_object(
        _converter(request.source_format, request.target_format)
    )(request)
    return result


@cache
def _converter(source_format: str, target_format: str) -> str:
    """Find the function that has an arrow; those named after its target are asked first."""
    points = installed().entry_points["xbackend.converters"]
    suffix = "_to_" + target_format.partition("-")[0]
    for name in sorted(points, key=lambda name: (not name.endswith(suffix), name)):
        spec: ConverterSpec = load_object(points[name])
        if (source_format, target_format) in spec.conversions:
            return spec.convert
    raise LookupError(f"No installed converter makes '{target_format}' from '{source_format}'.")


def load_backend(spec: BackendSpec) -> Backend:
    """Import an adapter as a worker does: with the environment of its spec, one thread."""
    for key, value in spec.environment.items():
        os.environ[key] = value.format(threads=1)
    return load_adapter(spec.adapter, importlib.import_module)


def default_settings(spec: BackendSpec, precision: str | None = None) -> dict[str, SettingValue]:
    """Return every setting of a backend with its default, threads and precision among them."""
    return {
        **spec.defaults(),
        "threads": 1,
        "precision": precision or spec.default_precision,
    }
