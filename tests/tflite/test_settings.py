"""Every setting takes effect, and what really computed is told."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from xbackend.plugins import registry
from xbackend.testing.artifacts import load_backend
from xbackend.testing.small_models import small_model
from xbackend.worker.artifact import Artifact
from xbackend.worker.contract import Unsupported
from xbackend.worker.tensor import from_numpy

RUNTIMES = ("tflite-runtime", "litert")
DELEGATES = ("xnnpack", "none", "reference")
MODULES = {"tflite-runtime": "tflite_runtime", "litert": "ai_edge_litert"}


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> str:
    """Return each runtime that is installed."""
    if not registry.importable(MODULES[request.param]):
        pytest.skip(f"The package {MODULES[request.param]} is not installed.")
    return str(request.param)


@pytest.mark.parametrize("delegate", DELEGATES)
def test_every_delegate_computes_every_tap_in_every_runtime(
    prepare: Any, contract: Artifact, runtime: str, delegate: str
) -> None:
    small = small_model()
    with prepare(contract, runtime=runtime, delegate=delegate) as session:
        taps = dict(session.tap(small.inputs, session.taps))
    assert list(taps) == ["relu", "pool", "flat", "dense", "probabilities"]
    for name, tensor in taps.items():
        np.testing.assert_allclose(tensor.array, small.values[name], rtol=1e-5, atol=1e-5)


def test_xnnpack_takes_all_operations_and_the_others_none(
    prepare: Any, contract: Artifact, runtime: str
) -> None:
    found = {}
    for delegate in DELEGATES:
        with prepare(contract, runtime=runtime, delegate=delegate) as session:
            session.run(small_model().inputs)
            found[delegate] = session.facts()
    placed = {delegate: facts["operators"] for delegate, facts in found.items()}
    kinds = ["CONV_2D", "FULLY_CONNECTED", "MAX_POOL_2D", "RESHAPE", "SOFTMAX", "TRANSPOSE"]
    assert placed == {
        "xnnpack": {"count": 7, "delegated": 7, "delegated_kinds": kinds},
        "none": {"count": 7, "delegated": 0, "delegated_kinds": []},
        "reference": {"count": 7, "delegated": 0, "delegated_kinds": []},
    }
    assert {d: f["settings"]["delegate"] for d, f in found.items()} == {d: d for d in DELEGATES}


def test_xnnpack_computes_the_taps_too_and_their_outputs_have_the_same_bits(
    prepare: Any, contract: Artifact, runtime: str
) -> None:
    inputs = small_model().inputs
    with prepare(contract, runtime=runtime, delegate="xnnpack") as session:
        plain = session.run(inputs)
        assert "taps" not in session.facts()
        taps = dict(session.tap(inputs, session.taps))
        facts = session.facts()
    assert facts["settings"]["delegate"] == "xnnpack"
    assert facts["taps"]["delegate"] == "xnnpack"
    assert facts["taps"]["operators"]["delegated"] == 7
    assert facts["taps"]["unreadable"] == []
    assert {name: taps[name].array.tobytes() for name in plain} == {
        name: tensor.array.tobytes() for name, tensor in plain.items()
    }


def test_xnnpack_that_takes_nothing_is_told_as_none(prepare: Any, flatten: Any) -> None:
    pytest.importorskip("tflite_runtime")
    artifact = flatten("plain-int8", precision="-int8")
    with prepare(artifact, runtime="tflite-runtime", delegate="xnnpack") as session:
        assert session.facts()["operators"]["delegated"] == 0
        assert session.facts()["settings"]["delegate"] == "none"
        (reason,) = session.facts()["substituted"].values()
        assert reason.startswith("XNNPACK took none of the model's ")
    with prepare(artifact, runtime="tflite-runtime", delegate="none") as session:
        assert session.facts()["substituted"] == {}


def test_the_older_runtime_leaves_quantized_arithmetic_to_its_own_kernels(
    prepare: Any, contract_int8: Artifact
) -> None:
    pytest.importorskip("tflite_runtime")
    with prepare(contract_int8, runtime="tflite-runtime", delegate="xnnpack") as session:
        assert session.facts()["operators"]["delegated_kinds"] == ["TRANSPOSE"]


def test_two_threads_start_one_more_than_one(
    prepare: Any, contract: Artifact, runtime: str
) -> None:
    started = {}
    for threads in (1, 2):
        with prepare(contract, runtime=runtime, threads=threads) as session:
            session.run(small_model().inputs)
            started[threads] = session.facts()["threads_started"]
    assert started == {1: 0, 2: 1}


def test_reference_kernels_with_two_threads_are_refused(prepare: Any, contract: Artifact) -> None:
    with pytest.raises(Unsupported, match=r"use one thread, not 2: run them with --threads 1\."):
        prepare(contract, delegate="reference", threads=2)


def test_the_version_is_that_of_the_runtime_that_was_chosen(
    contract: Artifact, runtime: str
) -> None:
    backend = load_backend(registry.backend("tflite"))
    settings = {"threads": 1, "precision": "float32", "delegate": "none", "runtime": runtime}
    distribution = {"tflite-runtime": "tflite-runtime", "litert": "ai-edge-litert"}[runtime]
    with backend.prepare(contract, settings) as session:
        assert session.facts()["settings"]["runtime"] == runtime
        assert list(backend.versions())[:2] == ["tflite", distribution]
        assert backend.versions()["tflite"] == importlib.metadata.version(distribution)


def test_auto_takes_the_older_runtime_where_it_is_installed(
    prepare: Any, contract: Artifact
) -> None:
    installed = [name for name in RUNTIMES if registry.importable(MODULES[name])]
    if np.lib.NumpyVersion(np.__version__) >= "2.0.0":
        installed = [name for name in installed if name == "litert"] or installed
    with prepare(contract, runtime="auto") as session:
        assert session.facts()["settings"]["runtime"] == installed[0]


def test_auto_takes_the_newer_runtime_under_numpy_2(
    prepare: Any, contract: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ai_edge_litert")
    monkeypatch.setattr("numpy.__version__", "2.1.3")
    with prepare(contract, runtime="auto") as session:
        assert session.facts()["settings"]["runtime"] == "litert"


@pytest.mark.parametrize("numpy", ["1.19.5", "2.1.3"])
def test_the_older_runtime_under_another_numpy_is_refused_with_the_cure(
    prepare: Any, contract: Artifact, monkeypatch: pytest.MonkeyPatch, numpy: str
) -> None:
    pytest.importorskip("tflite_runtime")
    monkeypatch.setattr("numpy.__version__", numpy)
    with pytest.raises(Unsupported) as caught:
        prepare(contract, runtime="tflite-runtime")
    version = importlib.metadata.version("tflite-runtime")
    assert str(caught.value) == (
        f"tflite-runtime {version} needs NumPy from 1.23 to below 2, this environment has {numpy}. "
        "Use --set tflite.runtime=litert, or pip install 'numpy>=1.23,<2'."
    )


def test_a_runtime_that_is_not_installed_is_named(
    prepare: Any, contract: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    hidden = {"tflite_runtime", "ai_edge_litert"}
    found = "xbackend.backends.tflite.runtime.find_spec"
    monkeypatch.setattr(found, lambda name: None if name in hidden else find(name))
    with pytest.raises(Unsupported, match="pip install ai-edge-litert"):
        prepare(contract, runtime="litert")
    with pytest.raises(Unsupported, match=r"pip install 'xbackend\[tflite\]'"):
        prepare(contract, runtime="auto")


def test_an_operation_that_the_older_runtime_lacks_names_the_newer(
    prepare: Any, flatten: Any
) -> None:
    pytest.importorskip("tflite_runtime")
    with pytest.raises(Unsupported) as caught:
        prepare(flatten("dynamic-range"), runtime="tflite-runtime")
    version = importlib.metadata.version("tflite-runtime")
    assert str(caught.value) == (
        f"tflite-runtime {version} does not have the operation FULLY_CONNECTED version 12, which "
        "this model uses. Use the newer runtime with --set tflite.runtime=litert."
    )


def test_a_file_that_the_older_runtime_cannot_run_goes_to_the_newer_by_itself(
    prepare: Any, flatten: Any
) -> None:
    pytest.importorskip("tflite_runtime")
    pytest.importorskip("ai_edge_litert")
    artifact = flatten("dynamic-range")
    x = np.linspace(-1, 1, 32, dtype=np.float32)[None]
    weight = np.random.default_rng(5).normal(size=(32, 64))
    with prepare(artifact) as session:
        (output,) = session.run({artifact.inputs[0].name: from_numpy(x)}).values()
        assert session.facts()["settings"]["runtime"] == "litert"
    assert np.abs(output.array - x @ weight).max() < 0.02 * np.abs(x @ weight).max()


def test_the_newer_runtime_runs_what_the_older_lacks(prepare: Any, flatten: Any) -> None:
    pytest.importorskip("ai_edge_litert")
    artifact = flatten("dynamic-range")
    x = np.linspace(-1, 1, 32, dtype=np.float32)[None]
    weight = np.random.default_rng(5).normal(size=(32, 64))
    with prepare(artifact, runtime="litert") as session:
        (output,) = session.run({artifact.inputs[0].name: from_numpy(x)}).values()
    assert np.abs(output.array - x @ weight).max() < 0.02 * np.abs(x @ weight).max()


def test_a_free_first_axis_takes_any_number_of_images(
    prepare: Any, flatten: Any, runtime: str
) -> None:
    artifact = flatten("free-batch")
    name = artifact.inputs[0].name
    assert artifact.inputs[0].shape == (None, 8, 8, 2)
    images = np.random.default_rng(3).random((3, 8, 8, 2), np.float32)
    with prepare(artifact, runtime=runtime, delegate="none") as session:
        (together,) = session.run({name: from_numpy(images)}).values()
        alone = [session.run({name: from_numpy(images[i : i + 1])}) for i in range(3)]
    assert together.shape == (3, 8, 8, 3)
    for index, outputs in enumerate(alone):
        (one,) = outputs.values()
        np.testing.assert_allclose(one.array[0], together.array[index], rtol=1e-6, atol=1e-6)


def test_a_free_first_axis_of_the_onnx_graph_resizes_the_flat_one(
    prepare: Any, flatten: Any
) -> None:
    small = small_model(batch="n")
    twice = np.concatenate([small.inputs["x"].array] * 2)
    with prepare(flatten("contract", small.model), delegate="none") as session:
        output = session.run({"x": from_numpy(twice)})["probabilities"].array
    expected = np.concatenate([small.values["probabilities"]] * 2)
    np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-6)


def test_a_shape_that_the_graph_cannot_take_is_told_in_one_sentence(
    prepare: Any, contract: Artifact
) -> None:
    larger = from_numpy(np.zeros((1, 2, 10, 10), np.float32))
    with prepare(contract, delegate="none") as session, pytest.raises(Unsupported) as caught:
        session.run({"x": larger})
    assert "cannot be resized from (1, 2, 8, 8) to (1, 2, 10, 10)" in str(caught.value)


def test_precisions_without_arithmetic_say_why() -> None:
    assert registry.backend("tflite").unsupported_precisions == {
        "float64": "The TensorFlow Lite converter has no float64 layers.",
        "float16": "TensorFlow Lite has no float16 arithmetic on CPUs: it can only store weights "
        "in it.",
        "bfloat16": "TensorFlow Lite has no bfloat16 arithmetic on CPUs: it can only store "
        "weights in it.",
    }


def test_a_channels_first_interface_of_the_onnx_graph_is_kept(prepare: Any, flatten: Any) -> None:
    """The flat graph takes (n, 8, 8, 2) and gives (n, 8, 8, 3); the ONNX graph has both turned."""
    small = small_model()
    names = ("x", "relu")
    shapes = ([1, 2, 8, 8], [1, 3, 8, 8])
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in zip(names, shapes, strict=True)
    ]
    conv = helper.make_node("Conv", ["x", "w"], ["conv"], pads=[1, 1, 1, 1])
    relu = helper.make_node("Relu", ["conv"], ["relu"])
    weight = next(t for t in small.model.graph.initializer if t.name == "w1")
    held = onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight), "w")
    graph = helper.make_graph([conv, relu], "turned", values[:1], values[1:], [held])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    with prepare(flatten("free-batch", model)) as session:
        output = session.run(small.inputs)["relu"]
    bias_free = small.values["conv"] - np.array([-2, 0, 2])[:, None, None] / 4
    np.testing.assert_allclose(output.array, np.maximum(bias_free, 0), rtol=1e-5, atol=1e-5)
