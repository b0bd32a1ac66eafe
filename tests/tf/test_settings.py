"""Every setting of TensorFlow takes effect, is read back, or is refused in one sentence."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
import tensorflow as tf
from onnx import TensorProto, helper, numpy_helper

from xbackend.worker.contract import Session, Unsupported
from xbackend.worker.tensor import from_numpy

Array = np.ndarray[Any, Any]
Fresh = Callable[..., Any]
Prepare = Callable[..., Session]

SAMPLE = np.random.default_rng(1).normal(size=(1, 3, 17, 17)).astype(np.float32)


@pytest.fixture(scope="module")
def network() -> onnx.ModelProto:
    """Two convolutions with a bias and Relu, wide enough for oneDNN and TensorFlow to differ."""
    generator = np.random.default_rng(0)

    def weight(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(generator.normal(size=shape).astype(np.float32), name)

    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["conv1"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv1"], ["relu1"]),
        helper.make_node("Conv", ["relu1", "w2", "b2"], ["conv2"]),
        helper.make_node("Relu", ["conv2"], ["relu2"]),
        helper.make_node("GlobalAveragePool", ["relu2"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w3"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SAMPLE.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 10])],
        [
            weight("w1", 64, 3, 3, 3),
            weight("b1", 64),
            weight("w2", 64, 64, 3, 3),
            weight("b2", 64),
            weight("w3", 64, 10),
        ],
    )
    opset = [helper.make_opsetid("", 18)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8)


def test_settings_that_nobody_set_are_what_tensorflow_does(
    network: onnx.ModelProto, fresh: Fresh
) -> None:
    facts = fresh(network, {"x": SAMPLE}).facts
    assert facts["settings"]["onednn"] in ("on", "off")
    assert (facts["intra_op_threads"], facts["inter_op_threads"]) == (1, 1)
    assert facts["tf32_allowed"] is True
    assert facts["deterministic_ops"] is False
    names = [name for node in network.graph.node for name in node.output]
    assert facts["placement"] == dict.fromkeys(names, "CPU:0")


def test_a_variable_of_the_machine_does_not_decide_what_auto_means(
    network: onnx.ModelProto, fresh: Fresh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)
    usual = fresh(network, {"x": SAMPLE}).facts["settings"]["onednn"]
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0" if usual == "on" else "1")
    assert fresh(network, {"x": SAMPLE}).facts["settings"]["onednn"] == usual


@pytest.mark.parametrize("value", ["on", "off"])
def test_onednn_is_switched(network: onnx.ModelProto, fresh: Fresh, value: str) -> None:
    """The operations of the graph say whose kernels run."""
    facts = fresh(network, {"x": SAMPLE}, onednn=value, mode="function").facts
    assert facts["settings"]["onednn"] == value
    kernels = [name for name in facts["placement"] if "Mkl" in name]
    assert bool(kernels) == (value == "on")


@pytest.mark.parametrize("onednn", ["on", "off"])
def test_onednn_is_held_to_few_instructions_and_says_so(
    network: onnx.ModelProto, fresh: Fresh, onednn: str
) -> None:
    answer = fresh(network, {"x": SAMPLE}, onednn=onednn, onednn_isa="sse41")
    assert answer.facts["onednn_isa"].endswith("SSE4.1")


def test_instructions_of_a_process_that_has_begun_cannot_be_limited(
    network: onnx.ModelProto, prepare: Prepare
) -> None:
    with pytest.raises(Unsupported, match="tf.onednn_isa=sse41 was not taken"):
        prepare(network, onednn_isa="sse41")


def test_threads_are_read_back(network: onnx.ModelProto, fresh: Fresh) -> None:
    facts = fresh(network, {"x": SAMPLE}, threads=2).facts
    assert (facts["intra_op_threads"], facts["inter_op_threads"]) == (2, 2)


def test_deterministic_kernels_are_asked_for(network: onnx.ModelProto, fresh: Fresh) -> None:
    answer = fresh(network, {"x": SAMPLE}, deterministic_ops=True)
    assert answer.facts["deterministic_ops"] is True
    assert answer.outputs["y"].shape == (1, 10)


def test_tf32_is_forbidden(network: onnx.ModelProto, fresh: Fresh) -> None:
    assert fresh(network, {"x": SAMPLE}, tf32=False).facts["tf32_allowed"] is False


def test_a_function_runs_the_graph_that_tensorflow_rewrote(
    network: onnx.ModelProto, prepare: Prepare
) -> None:
    with prepare(network, mode="function") as session:
        session.run({"x": from_numpy(SAMPLE)})
        operations = session.facts()["placement"]
    fused = [name for name in operations if "FusedConv2D" in name]
    assert fused
    assert all(name.startswith("CPU:0 ") for name in operations)


def test_xla_compiles_all_or_nothing(network: onnx.ModelProto, prepare: Prepare) -> None:
    with prepare(network, mode="xla") as session:
        session.run({"x": from_numpy(SAMPLE)})
        assert session.facts()["placement"] == {"CPU:0 compiled by XLA": 1}


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="There is a GPU here.")
def test_a_gpu_that_is_not_there_is_one_sentence(
    network: onnx.ModelProto, prepare: Prepare
) -> None:
    with pytest.raises(Unsupported, match=r"^tf\.device=gpu was asked for, .* finds no GPU here"):
        prepare(network, device="gpu")


def test_threads_of_a_process_that_has_begun_cannot_be_changed(
    network: onnx.ModelProto, prepare: Prepare
) -> None:
    with prepare(network) as session:
        session.run({"x": from_numpy(SAMPLE)})
    with pytest.raises(Unsupported, match="7 threads were asked for"):
        prepare(network, threads=7)


def test_onednn_of_a_process_that_has_begun_cannot_be_changed(
    network: onnx.ModelProto, prepare: Prepare
) -> None:
    with prepare(network) as session:
        now = session.facts()["settings"]["onednn"]
    other = "off" if now == "on" else "on"
    with pytest.raises(Unsupported, match=f"oneDNN's kernels are {now} in this process"):
        prepare(network, onednn=other)
    assert "TF_ENABLE_ONEDNN_OPTS" not in os.environ


@pytest.mark.parametrize("mode", ["eager", "function", "xla"])
def test_a_function_sees_another_shape_and_another_sample(
    network: onnx.ModelProto, prepare: Prepare, mode: str
) -> None:
    """A function is made anew for another shape, and does not remember a sample."""
    free = onnx.ModelProto()
    free.CopyFrom(network)
    free.graph.input[0].CopyFrom(
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "rows", "columns"])
    )
    pair = np.concatenate([SAMPLE, -SAMPLE])
    with prepare(free, mode=mode) as session:
        one, other = (session.run({"x": from_numpy(x)})["y"].array for x in (SAMPLE, -SAMPLE))
        both = session.run({"x": from_numpy(pair)})["y"].array
    np.testing.assert_allclose(both, np.concatenate([one, other]), rtol=1e-5, atol=1e-3)
    assert not np.array_equal(one, other)
