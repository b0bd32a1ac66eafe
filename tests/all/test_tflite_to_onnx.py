"""TensorFlow Lite files become ONNX that computes the same, with the same weights and layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from xbackend.errors import ModelError

NETWORKS = {"cifar10": ("cifar10", 68), "fmnist": ("fmnist", 44), "mnist_cnn": ("mnist", 6)}
"""Name of the network to that of its images and how many weights it has."""


@pytest.fixture(params=sorted(NETWORKS))
def network(request: pytest.FixtureRequest, shared: Path) -> tuple[Path, np.ndarray, int]:
    """Return a real network's file, three images, and how many weights it has."""
    folder = shared / "models" / "foreNNsic"
    if not folder.is_dir():
        pytest.skip("The real models are not in ../shared.")
    images, weights = NETWORKS[request.param]
    return folder / f"{request.param}.tflite", np.load(folder / f"{images}_batch.npy")[:3], weights


def test_real_networks_keep_their_weights_and_compute_the_same(
    network: tuple[Path, np.ndarray, int], convert: Any, run_flat: Any, run_onnx: Any
) -> None:
    path, images, weights = network
    made = convert("tflite_to_onnx", path, "tflite", "onnx")
    assert len(made.identical) == weights
    assert made.changed == set()
    (output,) = run_onnx(made.path, images).values()
    (expected,) = run_flat(path, images)
    np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-6)


def test_real_networks_keep_their_inputs_layout(
    network: tuple[Path, np.ndarray, int], convert: Any
) -> None:
    path, images, _ = network
    graph = onnx.load(convert("tflite_to_onnx", path, "tflite", "onnx").path).graph
    shape = [dim.dim_value for dim in graph.input[0].type.tensor_type.shape.dim]
    assert shape == [1, *images.shape[1:]]


def test_values_are_named_after_the_tensors_that_they_are(shared: Path, convert: Any) -> None:
    path = shared / "models" / "foreNNsic" / "mnist_cnn.tflite"
    if not path.is_file():
        pytest.skip("The real models are not in ../shared.")
    graph = onnx.load(convert("tflite_to_onnx", path, "tflite", "onnx").path).graph
    operators = {name: node.op_type for node in graph.node for name in node.output}
    assert operators["mnist_cnn/conv1/Relu/linear"] == "Conv"
    assert operators["mnist_cnn/conv1/Relu"] == "Relu"
    assert operators["mnist_cnn/pool2/MaxPool"] == "MaxPool"
    assert [name for name in operators if ";" in name] == []
    assert [value.name for value in graph.input] == ["conv1_input"]
    assert [value.name for value in graph.output] == ["Identity"]


def test_every_tensor_of_a_real_network_finds_its_value(
    network: tuple[Path, np.ndarray, int], convert: Any
) -> None:
    path, _, _ = network
    made = convert("tflite_to_onnx", path, "tflite", "onnx")
    graph = convert("onnx_to_graph", made.path, "onnx", "graph")
    flat = convert("tflite_to_flat", path, "tflite", "flat", None, graph.path.parent)
    taps = (flat.path.parent / "taps.json").read_text().count('"index"') - 2
    assert taps == flat.result["notes"]["tensors"] >= 7
    assert all(row["verified"] for row in flat.result["notes"]["outputs"].values())


def test_a_small_network_computes_the_same(
    root: Path, convert: Any, run_flat: Any, run_onnx: Any
) -> None:
    path = root / "tests" / "tflite" / "data" / "branches.tflite"
    made = convert("tflite_to_onnx", path, "tflite", "onnx")
    images = np.random.default_rng(4).random((3, 8, 8, 3), np.float32)
    outputs = run_onnx(made.path, images)
    for output, expected in zip(outputs.values(), run_flat(path, images), strict=True):
        np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-6)
    assert made.changed == set()


def test_foreign_operations_and_truncated_files_are_refused(
    root: Path, convert: Any, tmp_path: Path
) -> None:
    data = root / "tests" / "tflite" / "data"
    with pytest.raises(ModelError, match="NoSuchOperator"):
        convert("tflite_to_onnx", data / "foreign.tflite", "tflite", "onnx")
    cut = tmp_path / "cut.tflite"
    cut.write_bytes((data / "contract.tflite").read_bytes()[:900])
    with pytest.raises(ModelError, match=r"cut\.tflite is not a whole TensorFlow Lite file"):
        convert("tflite_to_onnx", cut, "tflite", "onnx")
