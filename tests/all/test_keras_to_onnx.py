"""Keras models become ONNX with every weight's bits, Keras's names, and Keras's arithmetic."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.numpy_helper import to_array

from xbackend.errors import ModelError

NORMALIZATIONS = ("stem_norm", "branch_norm", "deep_norm")
VECTORS = ("gamma", "beta", "moving_mean", "moving_variance")

RESTORED = """
import tf2onnx.tf_loader as loader
import tf2onnx.tfonnx as rewriters
from tf2onnx.optimizer.back_to_back_optimizer import _func_map as pairs
from tf2onnx.optimizer.transpose_optimizer import TransposeOptimizer
from xbackend.converters.libraries.tf2onnx_patches import without_constant_folding

def state():
    join = rewriters.rewrite_biasadd_with_conv2d
    return loader.tf_optimize_grappler, TransposeOptimizer._mul_handler, dict(pairs), join

before = state()
try:
    with without_constant_folding():
        assert state()[0] is not before[0] and state()[1] is not before[1]
        assert state()[3] is not before[3]
        assert set(before[2]) - set(pairs) == {("Conv", "BatchNormalization")}
        raise KeyError
except KeyError:
    pass
assert state() == before
"""


def _source(folder: Path, name: str, source_format: str) -> Path:
    return folder / (name if source_format == "savedmodel" else f"{name}.{source_format}")


def _onnx(keras_models: Path, convert: Any, name: str, source_format: str = "keras") -> Any:
    source = _source(keras_models, name, source_format)
    return convert("keras_to_onnx", source, source_format, "onnx")


def _weights(folder: Path, name: str) -> dict[str, np.ndarray]:
    with np.load(folder / f"{name}.npz") as known:
        return {key.partition(":")[2]: known[key] for key in known.files if key[0] == "w"}


def _initializers(path: Path) -> dict[str, np.ndarray]:
    return {tensor.name: to_array(tensor) for tensor in onnx.load(path).graph.initializer}


@pytest.mark.parametrize("source_format", ["keras", "h5", "savedmodel"])
def test_every_weight_of_a_plain_cnn_keeps_its_bits(
    keras_models: Path, convert: Any, source_format: str
) -> None:
    made = _onnx(keras_models, convert, "small", source_format)
    assert len(made.identical) == len(_weights(keras_models, "small")) == 8
    assert made.changed == set()
    held = {array.tobytes() for array in _initializers(made.path).values()}
    for name, weight in _weights(keras_models, "small").items():
        order = (3, 2, 0, 1) if weight.ndim == 4 else range(weight.ndim)
        assert np.ascontiguousarray(weight.transpose(order)).tobytes() in held, name


@pytest.mark.parametrize("source_format", ["keras", "h5", "savedmodel"])
def test_only_the_vectors_of_normalizations_change(
    keras_models: Path, convert: Any, source_format: str
) -> None:
    made = _onnx(keras_models, convert, "norm", source_format)
    wanted = {f"{layer}/{vector}" for layer in NORMALIZATIONS for vector in VECTORS}
    ends = {"/".join(name.split("/")[-2:]) for name in made.changed}
    assert ends == wanted
    assert len(made.identical) == len(_weights(keras_models, "norm")) - len(wanted)


def test_a_normalization_is_one_multiplication_and_one_addition(
    keras_models: Path, convert: Any
) -> None:
    made = _onnx(keras_models, convert, "norm")
    operators = Counter(node.op_type for node in onnx.load(made.path).graph.node)
    assert (operators["Mul"], operators["Conv"], operators["BatchNormalization"]) == (3, 5, 0)
    known = _weights(keras_models, "norm")
    held = [array.reshape(-1) for array in _initializers(made.path).values()]
    for layer in NORMALIZATIONS:
        gamma, beta, mean, variance = (
            known[f"{layer}/{vector}"].astype(np.float64) for vector in VECTORS
        )
        scale = gamma / np.sqrt(variance + 1e-3)
        for expected in (scale, beta - mean * scale):
            near = [
                array.shape == expected.shape and np.allclose(array, expected, rtol=1e-5, atol=1e-6)
                for array in held
            ]
            assert near.count(True) == 1


@pytest.mark.parametrize("source_format", ["keras", "h5", "savedmodel"])
@pytest.mark.parametrize("name", ["small", "norm"])
def test_the_outputs_are_close_to_those_of_keras(
    keras_models: Path, convert: Any, run_onnx: Any, name: str, source_format: str
) -> None:
    made = _onnx(keras_models, convert, name, source_format)
    with np.load(keras_models / f"{name}.npz") as known:
        outputs = list(run_onnx(made.path, known["image"]).values())
        wanted = [known[key] for key in known.files if key.startswith("output:")]
    for output, expected in zip(outputs, wanted, strict=True):
        np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-6)


def test_inputs_and_outputs_are_named_as_keras_layers_in_their_order(
    keras_models: Path, convert: Any
) -> None:
    graph = onnx.load(_onnx(keras_models, convert, "norm").path).graph
    assert [value.name for value in graph.input] == ["image"]
    assert [value.name for value in graph.output] == ["scores", "label"]


def test_the_batch_is_one_and_no_node_computes_a_shape(keras_models: Path, convert: Any) -> None:
    made = _onnx(keras_models, convert, "small")
    model = onnx.load(made.path)
    shape = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    assert shape == [1, 12, 12, 3]
    assert not {"Shape", "Gather", "Slice", "Concat"} & {n.op_type for n in model.graph.node}
    assert made.result["notes"]["batch"] == 1
    assert [entry.version for entry in model.opset_import if not entry.domain] == [17]
    onnx.checker.check_model(model)


def test_values_are_named_after_layers_without_what_tracing_adds(
    keras_models: Path, convert: Any
) -> None:
    graph = onnx.load(_onnx(keras_models, convert, "small").path).graph
    names = [name for node in graph.node for name in node.output]
    assert {"conv1", "relu1", "pool1", "conv2", "flat", "dense1", "label"} <= set(names)
    assert [name for name in names if name.endswith(":0") or "small" in name] == []


def test_switching_folding_off_is_undone_even_after_an_error() -> None:
    pytest.importorskip("h5py")
    subprocess.run([sys.executable, "-c", RESTORED], check=True, capture_output=True)


def test_a_layer_that_onnx_lacks_is_named(keras_models: Path, convert: Any) -> None:
    with pytest.raises(ModelError, match=r"cannot express in ONNX: Erfinv\."):
        _onnx(keras_models, convert, "exotic")


GELU = """
import math, sys
import keras, numpy as np, onnxruntime
from xbackend.converters.keras_to_onnx import convert
from xbackend.plugins.converter import ConversionRequest
from pathlib import Path

folder = Path(sys.argv[1])
keras.Sequential([keras.Input((6,)), keras.layers.Activation("gelu")]).save(folder / "gelu.keras")
convert(ConversionRequest(folder / "gelu.keras", "keras", "onnx", folder))
session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
x = np.float32([[-3, -1, -0.5, 0, 1, 3]])
(y,) = session.run(None, {session.get_inputs()[0].name: x})
right = [0.5 * v * math.erfc(-v / math.sqrt(2)) for v in x[0].tolist()]
assert np.allclose(y[0], right, rtol=0, atol=5e-7), (y, right)
"""


def test_the_exact_gelu_of_keras_is_written_with_the_error_function(tmp_path: Path) -> None:
    """Its Erfc is no operator of ONNX; the right values are those of Python's math.erfc."""
    pytest.importorskip("h5py")
    done = subprocess.run(
        [sys.executable, "-c", GELU, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


NORMALIZATION = """
import sys
from pathlib import Path
import keras, numpy as np, onnxruntime
from xbackend.converters.keras_to_onnx import convert
from xbackend.plugins.converter import ConversionRequest

folder = Path(sys.argv[1])
layer = keras.layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[4.0, 4.0, 4.0])
keras.Sequential([keras.Input((3,)), layer]).save(folder / "scaled.keras")
convert(ConversionRequest(folder / "scaled.keras", "keras", "onnx", folder))
session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
(value,) = session.get_inputs()
(y,) = session.run(None, {value.name: np.float32([[3, 2, 7]])})
assert y.tolist() == [[1, 0, 2]], y
"""


def test_numbers_that_a_layer_holds_beside_its_weights_are_constants(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    done = subprocess.run(
        [sys.executable, "-c", NORMALIZATION, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
