"""The shipped files, read by other programs than those that wrote them."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xbackend.models import catalogue, digits
from xbackend.models.catalogue import BuiltinModel

Array = np.ndarray[Any, Any]

WEIGHTS = [
    f"{layer}/{part}"
    for layer in ("conv1", "conv2", "dense1", "dense2", "dense3")
    for part in ("kernel", "bias")
]

TFLITE = """
import sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter

interpreter = Interpreter(sys.argv[1], num_threads=1)
interpreter.allocate_tensors()
(given,), (got,) = interpreter.get_input_details(), interpreter.get_output_details()
outputs = []
for picture in np.load(sys.argv[2]):
    scale, zero = given["quantization"]
    if scale:
        picture = np.clip(np.round(picture / scale) + zero, -128, 127)
    interpreter.set_tensor(given["index"], picture[None].astype(given["dtype"]))
    interpreter.invoke()
    outputs.append(interpreter.get_tensor(got["index"])[0].astype(np.float32))
np.save(sys.argv[3], outputs)
"""


@pytest.fixture(scope="module")
def model() -> BuiltinModel:
    return catalogue.builtin("cifar10-small")


@pytest.fixture(scope="module")
def weights(model: BuiltinModel) -> dict[str, Array]:
    """The trained weights, read out of the .keras file with h5py alone."""
    import h5py

    def read(group: Any) -> Iterator[Array]:
        for key in sorted(group["vars"], key=int):
            yield np.asarray(group["vars"][key])

    with zipfile.ZipFile(model.files["keras"].path) as archive:
        stream = io.BytesIO(archive.read("model.weights.h5"))
        names = [layer["config"]["name"] for layer in _layers(archive)]
    with h5py.File(stream) as file:
        groups = {
            name: list(read(file["layers"][_group(name, names)]))
            for name in names
            if name.startswith(("conv", "dense"))
        }
    return {
        f"{name}/{part}": array
        for name, arrays in groups.items()
        for part, array in zip(("kernel", "bias"), arrays, strict=True)
    }


def _layers(archive: zipfile.ZipFile) -> list[dict[str, Any]]:
    layers: list[dict[str, Any]] = json.loads(archive.read("config.json"))["config"]["layers"]
    return layers


def _group(name: str, names: list[str]) -> str:
    """Return what Keras calls a layer's group: its class, numbered from the second on."""
    kind = "conv2d" if name.startswith("conv") else "dense"
    number = [other for other in names if other.startswith(name[:4])].index(name)
    return f"{kind}_{number}" if number else kind


@pytest.fixture(scope="module")
def held_out(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Array]:
    """The 359 held-out digits as a file of float32 pictures, and their classes."""
    pytest.importorskip("sklearn")
    images = digits.read().held_out
    path = tmp_path_factory.mktemp("digits") / "held_out.npy"
    np.save(path, images.pixels.astype(np.float32) / np.float32(16))
    return path, images.labels


def accuracy(outputs: Array, labels: Array) -> float:
    return float((outputs.argmax(axis=1) == labels).mean())


def onnx_outputs(path: Path, pictures: Array) -> Array:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"image": picture[None]})[0] for picture in pictures])


def tflite_outputs(path: Path, pictures: Path, scratch: Path) -> Array:
    """Run in a process of its own: two TensorFlow Lite runtimes do not live in one."""
    target = scratch / "outputs.npy"
    command = [sys.executable, "-c", TFLITE, str(path), str(pictures), str(target)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    outputs: Array = np.load(target)
    return outputs


def test_the_keras_file_holds_ten_weights_of_59354_numbers(weights: dict[str, Array]) -> None:
    assert list(weights) == WEIGHTS
    assert sum(array.size for array in weights.values()) == 59354
    assert {array.dtype.name for array in weights.values()} == {"float32"}


@pytest.mark.parametrize("name", WEIGHTS)
def test_a_weight_is_in_the_onnx_file_bit_for_bit(
    model: BuiltinModel, weights: dict[str, Array], name: str
) -> None:
    array = weights[name]
    oihw = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array
    assert np.ascontiguousarray(oihw).tobytes() in model.files["onnx"].path.read_bytes()


@pytest.mark.parametrize("name", WEIGHTS)
def test_a_weight_is_in_the_tflite_file_bit_for_bit(
    model: BuiltinModel, weights: dict[str, Array], name: str
) -> None:
    array = weights[name]
    order = {4: (3, 0, 1, 2), 2: (1, 0), 1: (0,)}[array.ndim]
    data = np.ascontiguousarray(array.transpose(order)).tobytes()
    assert data in model.files["tflite"].path.read_bytes()


def test_the_onnx_values_are_named_after_the_layers(model: BuiltinModel) -> None:
    import onnx

    graph = onnx.load(str(model.files["onnx"].path)).graph
    named = {node.output[0]: node.op_type for node in graph.node}
    layers = {
        "conv1": "Conv", "relu1": "Relu", "pool1": "MaxPool",
        "conv2": "Conv", "relu2": "Relu", "pool2": "MaxPool", "flatten": "Reshape",
        "dense1": "Gemm", "relu3": "Relu", "dense2": "Gemm", "relu4": "Relu",
        "dense3": "Gemm", "softmax": "Softmax",
    }  # fmt: skip
    assert {name: kind for name, kind in named.items() if kind != "Transpose"} == layers
    assert [value.name for value in graph.input] == ["image"]
    assert [value.name for value in graph.output] == ["softmax"]


def test_the_int8_onnx_computes_in_integers(model: BuiltinModel) -> None:
    import onnx

    graph = onnx.load(str(model.files["onnx-int8"].path)).graph
    kinds = [node.op_type for node in graph.node]
    assert kinds.count("QLinearConv") == 2
    assert not {"Conv", "Gemm", "MatMul"} & set(kinds)


@pytest.mark.parametrize(("format_", "least"), [("onnx", 0.95), ("onnx-int8", 0.95)])
def test_onnx_runtime_classifies_the_held_out_digits(
    model: BuiltinModel, held_out: tuple[Path, Array], format_: str, least: float
) -> None:
    outputs = onnx_outputs(model.files[format_].path, np.load(held_out[0]))
    assert accuracy(outputs, held_out[1]) >= least


def test_the_stated_accuracy_is_that_of_the_onnx_file(
    model: BuiltinModel, held_out: tuple[Path, Array]
) -> None:
    stated = model.manifest["training"]["accuracy"]
    found = accuracy(onnx_outputs(model.files["onnx"].path, np.load(held_out[0])), held_out[1])
    assert abs(found - stated) <= 1 / 359


@pytest.mark.parametrize(("format_", "least"), [("tflite", 0.95), ("tflite-int8", 0.95)])
def test_tensorflow_lite_classifies_the_held_out_digits(
    model: BuiltinModel,
    held_out: tuple[Path, Array],
    tmp_path: Path,
    format_: str,
    least: float,
) -> None:
    outputs = tflite_outputs(model.files[format_].path, held_out[0], tmp_path)
    assert accuracy(outputs, held_out[1]) >= least


def test_the_samples_are_the_held_out_digits_that_the_manifest_names(
    model: BuiltinModel, held_out: tuple[Path, Array]
) -> None:
    indices = model.manifest["samples"]["held_out_index"]
    samples = np.load(model.samples, allow_pickle=False)
    assert samples.tobytes() == np.load(held_out[0])[indices].tobytes()
    assert list(model.labels) == held_out[1][indices].tolist()


def test_the_float_model_is_right_on_its_samples_and_ever_less_sure(model: BuiltinModel) -> None:
    outputs = onnx_outputs(model.files["onnx"].path, np.load(model.samples, allow_pickle=False))
    assert outputs.argmax(axis=1).tolist() == list(model.labels)
    usual, hesitant, boundary = outputs.max(axis=1)
    assert usual > 0.999 > hesitant > 0.6 > boundary
