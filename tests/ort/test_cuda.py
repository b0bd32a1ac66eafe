"""ONNX Runtime on an NVIDIA GPU; skipped as a whole where there is none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import numpy as np
import pytest

from xbackend.plugins import registry
from xbackend.testing.artifacts import default_settings, load_backend, make_artifact
from xbackend.testing.contract import BackendContract, assert_close
from xbackend.testing.expected_failures import ExpectedFailure
from xbackend.testing.small_models import small_model
from xbackend.worker.contract import Session, SettingValue, Unsupported
from xbackend.worker.tensor import from_numpy

Prepare = Callable[..., Session]

SPEC = registry.backend("ort")


def obstacle(folder: Path) -> str:
    """Return why CUDA cannot be used here; empty if it can."""
    artifact = make_artifact(small_model().model, folder)
    try:
        load_backend(SPEC).prepare(artifact, {**default_settings(SPEC), "provider": "cuda"})
    except Unsupported as error:
        return str(error)
    return ""


with TemporaryDirectory() as scratch:
    lack = obstacle(Path(scratch))
if lack:
    pytest.skip(lack, allow_module_level=True)


class TestOrtOnCuda(BackendContract):
    """The adapter on the first GPU, with products in full float32."""

    spec = SPEC
    settings: ClassVar[Mapping[str, SettingValue]] = {"provider": "cuda", "tf32": False}
    expected = (
        ExpectedFailure(
            pattern="test_every_precision_is_close_or_refused[float64]",
            kind="wrong value",
            reason="The CUDA provider's double Softmax is only as close as float32 (1.1e-8).",
            version="onnxruntime-gpu 1.31.1, NVIDIA H200",
        ),
    )


def test_the_convolution_runs_on_the_gpu_and_the_gpu_is_named(
    prepare: Prepare, tmp_path: Path
) -> None:
    small = small_model()
    with prepare(make_artifact(small.model, tmp_path), provider="cuda") as session:
        session.run(small.inputs)
        facts = session.facts()
    assert "Conv" in facts["nodes"]["CUDAExecutionProvider"]
    assert facts["gpu"]
    assert facts["settings"] == {"provider": "cuda"}


def test_both_choices_of_tf32_are_close_to_each_other(prepare: Prepare, tmp_path: Path) -> None:
    small = small_model()
    artifact = make_artifact(small.model, tmp_path)
    third = {"x": from_numpy(small.inputs["x"].array / np.float32(3))}
    outputs = []
    for tf32 in (True, False):
        with prepare(artifact, provider="cuda", tf32=tf32) as session:
            assert_close(session.run(small.inputs)[small.output], small, small.output)
            outputs.append(session.run(third)[small.output].array)
    assert np.allclose(outputs[0], outputs[1], rtol=1e-2)
