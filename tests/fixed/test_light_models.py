"""Public CNNs in ordered floats: all nine are taken, the light ones are computed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from xbackend.plugins import registry
from xbackend.testing.artifacts import default_settings, load_backend, make_artifact
from xbackend.testing.suite_cases import LightModel, light_models
from xbackend.worker.contract import Session
from xbackend.worker.tensor import from_numpy

SPEC = registry.backend("fixed")
COMPUTED = {"light_squeezenet", "light_shufflenet"}


def prepare(model: LightModel, folder: Path) -> Session:
    artifact = make_artifact(onnx.load(model.path), folder)
    return load_backend(SPEC).prepare(artifact, default_settings(SPEC, "float32"))


@pytest.mark.parametrize("model", light_models(), ids=lambda model: model.name)
def test_a_public_cnn_is_taken_and_a_light_one_gives_the_suites_output(
    model: LightModel, tmp_path: Path
) -> None:
    with prepare(model, tmp_path) as session:
        if model.name not in COMPUTED:
            return
        (output,) = session.run({model.input: from_numpy(model.sample())}).values()
    expected = model.path.with_name(f"{model.name}_output_0.pb")
    wanted = numpy_helper.to_array(onnx.load_tensor(expected))
    np.testing.assert_allclose(output.array, wanted, rtol=2e-3, atol=1e-7)
