"""TensorFlow Lite keeps the contract of a backend, in both of its runtimes."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest

from xbackend.plugins import registry
from xbackend.plugins.converter import ConversionRequest
from xbackend.plugins.registry import load_object
from xbackend.preparation.conversion.convert import find_conversion_path
from xbackend.testing.artifacts import make_artifact
from xbackend.testing.contract import BackendContract
from xbackend.testing.expected_failures import ExpectedFailure
from xbackend.worker.artifact import Artifact
from xbackend.worker.contract import SettingValue

if TYPE_CHECKING:
    import onnx

DATA = Path(__file__).parent / "data"


class FlatContract(BackendContract):
    """The contract on files that were converted before, since TensorFlow converts them."""

    spec = registry.backend("tflite")
    complete_taps = False
    expected = (
        ExpectedFailure(
            "test_every_precision_is_close_or_refused[[]int8[]]",
            "not converted",
            "TensorFlow Lite takes no scales from an ONNX graph: it quantizes the float model.",
            "TensorFlow Lite 2.14 to LiteRT 2.3",
        ),
    )

    def artifact_of(self, model: onnx.ModelProto, folder: Path, precision: str) -> Artifact:
        """Name the tensors of the shipped file after the values of the model."""
        if precision == "int8":
            find_conversion_path({"onnx-int8"}, "flat-int8")
        is_foreign = any(node.domain for node in model.graph.node)
        name = "foreign" if is_foreign else "contract"
        source = Path(shutil.copy(DATA / f"{name}.tflite", folder))
        output = folder / "flat"
        output.mkdir()
        hub = make_artifact(model, folder).folder
        request = ConversionRequest(source, "tflite", "flat", output, hub=hub)
        result = load_object("xbackend.converters.tflite_to_flat:convert")(request)
        interface = (result.inputs, result.outputs, result.layers)
        return Artifact(output, "flat", "", *interface, {"model": result.model})


@pytest.mark.skipif(
    not registry.importable("tflite_runtime"), reason="tflite-runtime is not installed."
)
class TestTfliteRuntime(FlatContract):
    """The older runtime."""

    settings: ClassVar[Mapping[str, SettingValue]] = {"runtime": "tflite-runtime"}


@pytest.mark.skipif(
    not registry.importable("ai_edge_litert"), reason="ai-edge-litert is not installed."
)
class TestLitert(FlatContract):
    """Its successor."""

    settings: ClassVar[Mapping[str, SettingValue]] = {"runtime": "litert"}
