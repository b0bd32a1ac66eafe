"""What the built-in backends say of emulated processors, and what their records then say."""

import json
import shutil

import onnx
import pytest
from onnx import TensorProto, helper

from xbackend.commands.main import main
from xbackend.platforms.emulation_taint import unfaithful_operators
from xbackend.plugins.registry import backend


def _found(word, version, precision="float32", flags=("sse2", "avx"), **settings):
    """Return the operators that a backend does not trust under emulation."""
    record = {
        "backend_version": version,
        "precision": precision,
        "settings": settings,
        "hardware": {"flags": list(flags)},
    }
    return set(unfaithful_operators(record, backend(word).unfaithful))


def test_tensorflow_rests_its_softmax_and_its_normalisation_on_estimates():
    found = _found("tf", "2.21.0")
    assert {"Softmax", "Gelu", "Reciprocal", "BatchNormalization"} <= found
    assert not {"LogSoftmax", "Sigmoid", "Tanh", "Erf", "Sqrt", "Conv"} & found


def test_the_papers_tensorflow_rests_its_square_root_on_estimates_and_not_its_softmax():
    found = _found("tf", "2.5.0")
    assert {"Sqrt", "BatchNormalization"} <= found
    assert not {"Softmax", "Gelu", "Reciprocal"} & found


def test_a_version_that_nobody_measured_is_trusted_with_neither():
    assert {"Sqrt", "Softmax", "BatchNormalization"} <= _found("tf", "2.15.0")


def test_double_precision_rests_on_no_estimate():
    assert _found("tf", "2.21.0", "float64") == set()


@pytest.mark.parametrize("delegate", ["none", "reference"])
def test_tensorflow_lites_own_kernels_rest_on_no_estimate(delegate):
    for runtime, version in (("tflite-runtime", "2.14.0"), ("litert", "2.3.0")):
        assert _found("tflite", version, delegate=delegate, runtime=runtime) == set()


def test_xnnpacks_logistic_function_is_trusted_from_avx2_on():
    older = {"delegate": "xnnpack", "runtime": "tflite-runtime"}
    assert "Sigmoid" in _found("tflite", "2.14.0", **older)
    assert _found("tflite", "2.14.0", flags=("avx", "avx2"), **older) == set()


def test_litert_rests_its_square_roots_on_estimates_and_not_its_logistic_function():
    found = _found("tflite", "2.3.0", delegate="xnnpack", runtime="litert")
    assert {"Sqrt", "LayerNormalization"} <= found
    assert not {"Sigmoid", "Tanh"} & found
    assert {"Sigmoid", "Tanh"} <= _found("tflite", "9.9", delegate="xnnpack", runtime="litert")


@pytest.mark.parametrize("word", ["ort", "torch", "fixed"])
def test_the_others_are_trusted(word):
    assert backend(word).unfaithful == ()


@pytest.fixture
def model(tmp_path):
    """Write y = sigmoid(r) + r with r = relu(x)."""
    value = helper.make_tensor_value_info
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("Sigmoid", ["r"], ["s"]),
        helper.make_node("Add", ["s", "r"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "gate",
        [value("x", TensorProto.FLOAT, [1, 64])],
        [value("y", TensorProto.FLOAT, [1, 64])],
    )
    path = tmp_path / "gate.onnx"
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path
    )
    return path


@pytest.mark.skipif(
    shutil.which("qemu-x86_64") is None,
    reason="There is no qemu-x86_64 on this machine (Debian: qemu-user).",
)
def test_records_of_emulated_processors_are_marked_where_the_kernel_rests_on_estimates(
    model, tmp_path, capsys
):
    platforms = ("native", "qemu:SandyBridge", "qemu:Haswell")
    words = [word for platform in platforms for word in ("--platform", platform)]
    setting = ["--set", "tflite.runtime=tflite-runtime"]
    store = ["--store", str(tmp_path / "store"), "--json"]
    assert main(["run", str(model), "--backends", "tflite", *setting, *words, *store]) == 0
    records = {row["platform"]: row for row in json.loads(capsys.readouterr().out)}
    assert "emulation_unsafe" not in records["native"]
    assert records["qemu:SandyBridge"]["emulation_unsafe"] == ["s", "y"]
    assert "vrcpps" in records["qemu:SandyBridge"]["emulation_reasons"]["Sigmoid"]
    assert records["qemu:Haswell"]["emulation_unsafe"] == []
