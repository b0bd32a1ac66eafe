"""What the tests of TensorFlow Lite share: shipped models as artifacts, and sessions over them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from xbackend.plugins import registry
from xbackend.plugins.converter import ConversionRequest, ConversionResult
from xbackend.plugins.registry import load_object
from xbackend.testing.artifacts import default_settings, load_backend, make_artifact
from xbackend.testing.small_models import small_model
from xbackend.worker.artifact import Artifact
from xbackend.worker.contract import Session, SettingValue

Prepare = Callable[..., Session]
Flatten = Callable[..., Artifact]
DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="session")
def data() -> Path:
    """Folder of the shipped models; `make.py` in it says what they are."""
    return DATA


@pytest.fixture
def prepare() -> Prepare:
    """Open a session over an artifact, with the default settings but for some."""
    spec = registry.backend("tflite")

    def opened(artifact: Artifact, **changes: SettingValue) -> Session:
        return load_backend(spec).prepare(artifact, {**default_settings(spec), **changes})

    return opened


@pytest.fixture
def flatten(tmp_path: Path) -> Flatten:
    """Make a flat artifact of a file, named after an ONNX model where one is given."""

    def made(
        name: str,
        model: onnx.ModelProto | None = None,
        samples: Mapping[str, np.ndarray[Any, Any]] | None = None,
        precision: str = "",
    ) -> Artifact:
        path = shutil.copy(DATA / f"{name}.tflite", tmp_path)
        inputs = None
        if samples is not None:
            inputs = tmp_path / f"{name}.npz"
            np.savez(inputs, **samples)
        output = tmp_path / f"{name}-flat"
        output.mkdir()
        hub = None if model is None else make_artifact(model, tmp_path).folder
        request = ConversionRequest(
            Path(path), f"tflite{precision}", f"flat{precision}", output, inputs, hub
        )
        return _artifact(convert(request), request)

    return made


def convert(request: ConversionRequest) -> ConversionResult:
    """Run the converter in this process."""
    result: ConversionResult = load_object("xbackend.converters.tflite_to_flat:convert")(request)
    return result


def _artifact(result: ConversionResult, request: ConversionRequest) -> Artifact:
    return Artifact(
        folder=request.output,
        format=request.target_format,
        digest="",
        inputs=result.inputs,
        outputs=result.outputs,
        layers=result.layers,
        manifest={"model": result.model, "notes": dict(result.notes), "weights": result.weights},
    )


@pytest.fixture
def contract(flatten: Flatten) -> Artifact:
    """Return the CNN of the contract, whose every value NumPy knows."""
    return flatten("contract", small_model().model)


@pytest.fixture
def contract_int8(flatten: Flatten) -> Artifact:
    """Return the same CNN, quantized."""
    small = small_model()
    samples = {"x": small.inputs["x"].array}
    return flatten("contract-int8", small.model, samples, precision="-int8")
