"""Three real trained networks, on their own images, under every kernel and runtime."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xbackend.plugins.converter import ConversionRequest
from xbackend.plugins.registry import importable, load_object
from xbackend.worker.artifact import Artifact
from xbackend.worker.tensor import from_numpy

IMAGES = {"cifar10": "cifar10", "fmnist": "fmnist", "mnist_cnn": "mnist"}
OPERATIONS = {"cifar10": 52, "fmnist": 34, "mnist_cnn": 7}
RUNTIMES = {"tflite-runtime": "tflite_runtime", "litert": "ai_edge_litert"}


@pytest.fixture(params=sorted(IMAGES))
def network(request: pytest.FixtureRequest, shared: Path, tmp_path: Path) -> tuple[Artifact, Any]:
    """Return a network as a flat artifact, named by itself, and ten images."""
    folder = shared / "models" / "foreNNsic"
    if not folder.is_dir():
        pytest.skip("The real models are not in ../shared.")
    source = Path(shutil.copy(folder / f"{request.param}.tflite", tmp_path))
    output = tmp_path / "flat"
    output.mkdir()
    convert = load_object("xbackend.converters.tflite_to_flat:convert")
    result = convert(ConversionRequest(source, "tflite", "flat", output))
    interface = (result.inputs, result.outputs, result.layers)
    artifact = Artifact(output, "flat", request.param, *interface, {"model": result.model})
    return artifact, np.load(folder / f"{IMAGES[request.param]}_batch.npy")[:10]


def _outputs(prepare: Any, artifact: Artifact, images: Any, **settings: str) -> Any:
    with prepare(artifact, **settings) as session:
        rows = [session.run({artifact.inputs[0].name: from_numpy(image[None])}) for image in images]
    return np.concatenate([next(iter(row.values())).array for row in rows])


def test_all_kernels_and_runtimes_are_close_and_give_probabilities(
    prepare: Any, network: tuple[Artifact, Any]
) -> None:
    artifact, images = network
    found = {
        (runtime, delegate): _outputs(prepare, artifact, images, runtime=runtime, delegate=delegate)
        for runtime, module in RUNTIMES.items()
        if importable(module)
        for delegate in ("xnnpack", "none", "reference")
    }
    reference = found[next(key for key in found if key[1] == "reference")]
    np.testing.assert_allclose(reference.sum(axis=1), 1, atol=1e-5)
    for output in found.values():
        np.testing.assert_allclose(output, reference, atol=1e-4)


def test_every_operation_is_a_tap_whose_last_is_the_output(
    prepare: Any, network: tuple[Artifact, Any]
) -> None:
    artifact, images = network
    inputs = {artifact.inputs[0].name: from_numpy(images[:1])}
    with prepare(artifact, delegate="none") as session:
        output = session.run(inputs)[artifact.outputs[0].name]
        tapped = dict(session.tap(inputs, session.taps))
    assert len(tapped) == len(artifact.layers) == OPERATIONS[artifact.digest]
    assert list(tapped) == [layer.tap for layer in artifact.layers]
    assert tapped[artifact.outputs[0].name].record() == output.record()
