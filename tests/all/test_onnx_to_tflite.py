"""Any ONNX model becomes a TensorFlow Lite file that computes what the TensorFlow executor does."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from xbackend.converters.onnx_to_graph import convert as to_graph
from xbackend.converters.tflite.file import read_flat_file
from xbackend.errors import ConversionError, ModelError
from xbackend.plugins.converter import ConversionRequest

Array = np.ndarray[Any, Any]

BESIDE = """
import importlib, json, sys
from pathlib import Path
import numpy as np
import tensorflow as tf
from xbackend.plugins import registry
from xbackend.worker.contract import load_adapter
from xbackend.worker.graph import read_graph

flat, hub, inputs = sys.argv[1:]
arrays = dict(np.load(inputs))
graph = read_graph(Path(hub))
adapter = load_adapter(registry.backend("tf").adapter, importlib.import_module)
function = adapter.concrete_function(graph, {name: a.shape for name, a in arrays.items()})
expected = function(*[tf.constant(arrays[value.name]) for value in graph.inputs])
kind = tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
interpreter = tf.lite.Interpreter(flat, experimental_op_resolver_type=kind)
interpreter.allocate_tensors()
for detail, value in zip(interpreter.get_input_details(), graph.inputs):
    interpreter.set_tensor(detail["index"], arrays[value.name])
interpreter.invoke()
details = interpreter.get_output_details()
found = [interpreter.get_tensor(detail["index"]) for detail in details]
rows = [{"shape": list(a.shape), "same": a.shape == b.shape,
         "far": float(np.abs(a - b).max() / np.abs(b).max())}
        for a, b in zip(found, (tensor.numpy() for tensor in expected))]
operations = [op["op_name"] for op in interpreter._get_ops_details()]
names = [interpreter._get_tensor_details(op["outputs"][0], 0)["name"]
         for op in interpreter._get_ops_details()]
formats = [str(np.dtype(d["dtype"])) for d in interpreter.get_input_details() + details]
print(json.dumps({"rows": rows, "operations": operations, "names": names, "formats": formats}))
"""


class Workshop:
    """Writes models and converts them, each in a process of its own."""

    def __init__(self, folder: Path, convert: Callable[..., Any]) -> None:
        self.folder = folder
        self.run = convert

    def convert(
        self,
        model: onnx.ModelProto,
        samples: dict[str, Array] | None = None,
        int8: bool = False,
        options: tuple[tuple[str, Any], ...] = (),
    ) -> Any:
        """Convert a model; with samples, those tell free extents and calibrate."""
        source = self.folder / "model.onnx"
        onnx.save_model(model, source)
        (self.folder / "hub").mkdir()
        to_graph(ConversionRequest(source, "onnx", "graph", self.folder / "hub"))
        inputs = self.folder / "samples.npz" if samples else None
        if samples:
            np.savez(self.folder / "samples.npz", **samples)  # type: ignore[arg-type]
        target = "tflite-int8" if int8 else "tflite"
        hub = self.folder / "hub"
        return self.run("onnx_to_tflite", source, "onnx", target, inputs, hub, options)

    def beside(self, made: Any, **inputs: Array) -> dict[str, Any]:
        """Run the file and the executor in one process, and compare their outputs."""
        path = self.folder / "inputs.npz"
        np.savez(path, **inputs)  # type: ignore[arg-type]
        command = [
            sys.executable,
            "-c",
            BESIDE,
            str(made.path),
            str(self.folder / "hub"),
            str(path),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answer


@pytest.fixture
def workshop(tmp_path: Path, convert: Callable[..., Any]) -> Workshop:
    return Workshop(tmp_path, convert)


def numbers(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(0, 0.5, shape).astype(np.float32)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, Sequence[Any]],
    outputs: dict[str, int],
    **weights: Array,
) -> onnx.ModelProto:
    """Make a float32 model; outputs are given with their rank."""
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in inputs.items()],
        [
            helper.make_tensor_value_info(n, TensorProto.FLOAT, [None] * rank)
            for n, rank in outputs.items()
        ],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opset = [helper.make_opsetid("", 18)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8)


def node(operator: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, inputs.split(), [output], **attributes)


def keras_like(batch: Any = 1) -> onnx.ModelProto:
    """Write the built-in network's graph with other weights: from Keras, so NHWC outside."""
    nodes = [
        node("Transpose", "image", "first", perm=[0, 3, 1, 2]),
        node("Conv", "first k1 b1", "conv1", auto_pad="SAME_UPPER"),
        node("Relu", "conv1", "relu1"),
        node("MaxPool", "relu1", "pool1", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", "pool1 k2 b2", "conv2", pads=[2, 2, 2, 2]),
        node("Relu", "conv2", "relu2"),
        node("MaxPool", "relu2", "pool2", kernel_shape=[2, 2], strides=[2, 2]),
        node("Transpose", "pool2", "last", perm=[0, 2, 3, 1]),
        node("Reshape", "last flat", "flattened"),
        node("Gemm", "flattened d1 c1", "dense1"),
        node("Relu", "dense1", "relu3"),
        node("MatMul", "relu3 d2", "product"),
        node("Add", "product c2", "dense2"),
        node("Softmax", "dense2", "scores"),
    ]
    return model(
        nodes,
        {"image": [batch, 32, 32, 3]},
        {"scores": 2},
        k1=numbers(3, 3, 3, 3, seed=1),
        b1=numbers(3, seed=2),
        k2=numbers(5, 3, 5, 5, seed=3),
        b2=numbers(5, seed=4),
        flat=np.array([-1, 320], np.int64),
        d1=numbers(320, 32, seed=5) / 8,
        c1=numbers(32, seed=6),
        d2=numbers(32, 10, seed=7),
        c2=numbers(10, seed=8),
    )


IMAGES = numbers(8, 32, 32, 3, seed=9)


@pytest.fixture(scope="module")
def network(
    tmp_path_factory: pytest.TempPathFactory, convert: Callable[..., Any]
) -> tuple[Any, dict[str, Any]]:
    """Convert that graph, its batch left free, and run it beside the executor."""
    workshop = Workshop(tmp_path_factory.mktemp("network"), convert)
    made = workshop.convert(keras_like("n"))
    return made, workshop.beside(made, image=IMAGES[:1])


def test_a_network_from_keras_needs_no_transposition(network: tuple[Any, dict[str, Any]]) -> None:
    _, answer = network
    assert answer["operations"] == [
        "CONV_2D",
        "MAX_POOL_2D",
        "CONV_2D",
        "MAX_POOL_2D",
        "RESHAPE",
        "FULLY_CONNECTED",
        "FULLY_CONNECTED",
        "SOFTMAX",
    ]
    (row,) = answer["rows"]
    assert row["same"]
    assert row["far"] < 1e-6


def test_every_weight_keeps_its_bits_where_nothing_is_folded(
    network: tuple[Any, dict[str, Any]],
) -> None:
    made, _ = network
    assert made.identical == {"k1", "b1", "k2", "b2", "d1", "c1", "d2", "c2"}
    assert made.changed == set()


def test_tensors_are_named_after_the_values_that_they_compute(
    network: tuple[Any, dict[str, Any]],
) -> None:
    _, answer = network
    parts = [{part.partition("/")[0] for part in name.split(";")} for name in answer["names"]]
    assert {"conv1", "relu1"} <= parts[0]
    assert "pool1" in parts[1]
    assert {"conv2", "relu2"} <= parts[2]
    assert {"dense1", "relu3"} <= parts[5]


def test_a_free_batch_becomes_one(network: tuple[Any, dict[str, Any]]) -> None:
    made, _ = network
    assert made.result["notes"]["shapes"] == {"image": [1, 32, 32, 3]}


def test_free_extents_are_those_of_the_samples(workshop: Workshop) -> None:
    graph = model(
        [node("Conv", "x w", "conv"), node("Relu", "conv", "y")],
        {"x": ["n", 3, "rows", "columns"]},
        {"y": 4},
        w=numbers(4, 3, 3, 3),
    )
    made = workshop.convert(graph, {"x": numbers(5, 3, 9, 7)})
    assert made.result["notes"]["shapes"] == {"x": [1, 3, 9, 7]}
    answer = workshop.beside(made, x=numbers(1, 3, 9, 7))
    assert answer["rows"][0]["shape"] == [1, 4, 7, 5]


def test_free_extents_that_nothing_tells_are_asked_for(workshop: Workshop) -> None:
    graph = model([node("Relu", "x", "y")], {"x": [1, "columns"]}, {"y": 2})
    with pytest.raises(ConversionError, match=r"input 'x' .* give a sample with --inputs"):
        workshop.convert(graph)


def test_int8_is_calibrated_on_the_samples_and_says_so(workshop: Workshop) -> None:
    made = workshop.convert(keras_like(), {"image": IMAGES}, int8=True)
    notes = made.result["notes"]
    assert notes["calibration"] == {
        "samples": 8,
        "sha256": hashlib.sha256(IMAGES.tobytes()).hexdigest(),
    }
    answer = workshop.beside(made, image=IMAGES[:1])
    assert answer["formats"] == ["float32", "float32"]
    assert answer["operations"][0] == "QUANTIZE"
    assert answer["operations"][-1] == "DEQUANTIZE"
    assert answer["operations"].count("DEQUANTIZE") == 1
    assert answer["rows"][0]["far"] < 0.1
    assert {"k1", "d1"} <= made.changed


def test_activations_of_16_bits_are_an_option(workshop: Workshop) -> None:
    option = (("activation", "int16"),)
    made = workshop.convert(keras_like(), {"image": IMAGES}, int8=True, options=option)
    file = read_flat_file(made.path)
    inner = {file.tensors[index].dtype for _, outputs in file.operations for index in outputs}
    assert inner == {"int16", "float32"}
    assert "int16 activations" in made.result["notes"]["quantization"]


def test_int8_needs_samples(workshop: Workshop) -> None:
    with pytest.raises(ConversionError, match="needs sample inputs to calibrate with"):
        workshop.convert(keras_like(), int8=True)


def test_a_maximum_over_a_padded_border_stays_within_the_range_of_int8(
    workshop: Workshop,
) -> None:
    """Minus infinity in the border would leave no steps for anything else."""
    graph = model(
        [
            node("Conv", "x w", "conv"),
            node("MaxPool", "conv", "y", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
        ],
        {"x": [1, 3, 10, 10]},
        {"y": 4},
        w=numbers(4, 3, 3, 3),
    )
    samples = numbers(8, 3, 10, 10)
    made = workshop.convert(graph, {"x": samples}, int8=True)
    assert workshop.beside(made, x=samples[:1])["rows"][0]["far"] < 0.05


def test_operators_of_every_kind_come_through(workshop: Workshop) -> None:
    """Two inputs and two outputs; depthwise, grouped and transposed convolutions among them."""
    nodes = [
        node("Conv", "x depthwise", "depth", group=4, pads=[1, 1, 1, 1]),
        node("Conv", "depth grouped", "groups", group=2, strides=[2, 2]),
        node("BatchNormalization", "groups scale bias mean variance", "norm"),
        node("HardSwish", "norm", "swish"),
        node("ConvTranspose", "swish up", "wide", strides=[2, 2]),
        node("Resize", "wide  factors", "larger", mode="linear"),
        node("AveragePool", "larger", "average", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("GlobalAveragePool", "average", "pooled"),
        node("Flatten", "pooled", "flat"),
        node("Concat", "flat z", "joined", axis=1),
        node("LayerNormalization", "joined gain", "layer"),
        node("Gelu", "layer", "gelu"),
        node("Gemm", "gelu matrix", "y", transB=1),
        node("ReduceMax", "average axes", "greatest", keepdims=0),
    ]
    nodes[5] = helper.make_node("Resize", ["wide", "", "factors"], ["larger"], mode="linear")
    graph = model(
        nodes,
        {"x": [1, 4, 9, 9], "z": [1, 3]},
        {"y": 2, "greatest": 2},
        depthwise=numbers(4, 1, 3, 3),
        grouped=numbers(6, 2, 3, 3),
        scale=numbers(6),
        bias=numbers(6),
        mean=numbers(6),
        variance=np.abs(numbers(6)) + 1,
        up=numbers(6, 5, 2, 2),
        factors=np.array([1, 1, 2, 2], np.float32),
        gain=numbers(8),
        matrix=numbers(7, 8),
        axes=np.array([2, 3], np.int64),
    )
    graph.opset_import[0].version = 20
    made = workshop.convert(graph)
    answer = workshop.beside(made, x=numbers(1, 4, 9, 9, seed=3), z=numbers(1, 3, seed=4))
    assert [row["shape"] for row in answer["rows"]] == [[1, 7], [1, 5]]
    assert max(row["far"] for row in answer["rows"]) < 1e-5


def test_an_operator_that_the_executor_lacks_is_named(workshop: Workshop) -> None:
    graph = model([node("Unique", "x", "y")], {"x": [1, 3, 3]}, {"y": 1})
    with pytest.raises(ModelError, match="The tf backend has no Unique"):
        workshop.convert(graph)


def test_an_operation_that_tensorflow_lite_lacks_is_named(workshop: Workshop) -> None:
    graph = model([node("Acosh", "x", "y")], {"x": [1, 3]}, {"y": 2})
    with pytest.raises(ModelError, match="TensorFlow Lite lacks: Acosh"):
        workshop.convert(graph)
