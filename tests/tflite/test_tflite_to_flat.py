"""A flat artifact is the file itself and says which of its tensors is which ONNX value."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from xbackend.converters.tflite import interpreter as flat_interpreter
from xbackend.errors import ConversionError, InputError, ModelError
from xbackend.testing.small_models import small_model
from xbackend.worker.artifact import Artifact, Layer, ValueInfo
from xbackend.worker.tensor import from_numpy

TURNED = [0, 3, 1, 2]


def taps(artifact: Artifact) -> list[tuple[str, Any]]:
    """Return the names and transpositions in `taps.json`."""
    rows = json.loads((artifact.folder / "taps.json").read_text())["taps"]
    return [(row["name"], row["perm"]) for row in rows]


def test_the_contracts_cnn_is_named_after_its_onnx_values(contract: Artifact) -> None:
    assert taps(contract) == [
        ("relu", TURNED),
        ("pool", TURNED),
        ("flat", None),
        ("dense", None),
        ("probabilities", None),
    ]
    assert contract.inputs == (ValueInfo("x", "float32", (1, 2, 8, 8)),)
    assert contract.outputs == (ValueInfo("probabilities", "float32", (1, 5)),)


def test_layers_are_those_of_the_onnx_graph(contract: Artifact) -> None:
    assert contract.layers == (
        Layer("conv", 0, "Conv", ("x",)),
        Layer("relu", 1, "Relu", ("conv",)),
        Layer("pool", 2, "MaxPool", ("relu",)),
        Layer("flat", 3, "Flatten", ("pool",)),
        Layer("dense", 4, "Gemm", ("flat",)),
        Layer("probabilities", 5, "Softmax", ("dense",)),
    )


def test_the_file_is_copied_whole_and_its_weights_are_its_own(
    contract: Artifact, data: Path
) -> None:
    copied = (contract.folder / "model.tflite").read_bytes()
    assert copied == (data / "contract.tflite").read_bytes()
    assert len(contract.manifest["weights"].identical) == 4
    assert contract.manifest["weights"].changed == ()


def test_the_output_is_verified_and_the_tolerance_is_told(contract: Artifact) -> None:
    notes = contract.manifest["notes"]
    assert notes["tolerance"] == {"value": 1e-4, "of": "largest element"}
    assert notes["outputs"]["probabilities"]["verified"] is True
    assert notes["outputs"]["probabilities"]["distance"] < 1e-6
    assert notes["tensors"] == 7


def test_a_quantized_graph_is_named_within_a_stated_tolerance(contract_int8: Artifact) -> None:
    assert [name for name, _ in taps(contract_int8)] == [
        "relu",
        "pool",
        "flat",
        "dense",
        "probabilities",
    ]
    notes = contract_int8.manifest["notes"]
    assert notes["tolerance"] == {"value": 0.1, "of": "root mean square"}


def test_an_input_rounded_to_integers_is_no_value_of_the_float_graph(flatten: Any) -> None:
    """QUANTIZE gives what a Transpose of the input gives, but for the rounding."""
    weight = small_model().model.graph.initializer[0]
    nodes = [
        helper.make_node("Transpose", ["x"], ["turned"], perm=TURNED),
        helper.make_node("Conv", ["turned", weight.name], ["conv"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("Transpose", ["relu"], ["y"], perm=[0, 2, 3, 1]),
    ]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 8, 8, channels])
        for name, channels in (("x", 2), ("y", 3))
    ]
    graph = helper.make_graph(nodes, "turned", values[:1], values[1:], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    samples = {"x": np.random.default_rng(0).uniform(-1, 1, (2, 8, 8, 2)).astype(np.float32)}
    artifact = flatten("plain-int8", model, samples, precision="-int8")
    assert taps(artifact) == [("relu", TURNED), ("y", None)]


def test_fused_branches_and_two_outputs_are_told_apart(flatten: Any, data: Path) -> None:
    """What is fused away has no tap: normalization into convolutions, bias and ReLU after them."""
    model = onnx.load(data / "branches.onnx")
    computed = [name for node in model.graph.node for name in node.output]
    artifact = flatten("branches", model)
    found = taps(artifact)
    operators = {layer.tap: layer.operator for layer in artifact.layers}
    assert [operators[name] for name, _ in found] == [
        "Relu",
        "Add",
        "Relu",
        "Conv",
        "Squeeze",
        "Gemm",
        "Gemm",
        "Softmax",
    ]
    assert [perm for _, perm in found] == [TURNED] * 4 + [None] * 4
    assert [name for name, _ in found] == [n for n in computed if n in dict(found)]
    assert [value.name for value in artifact.outputs] == ["scores", "label"]


def test_outputs_in_another_order_are_found_by_what_they_compute(
    flatten: Any, prepare: Any, data: Path
) -> None:
    model = onnx.load(data / "branches.onnx")
    scores, label = list(model.graph.output)
    model.graph.ClearField("output")
    model.graph.output.extend([label, scores])
    artifact = flatten("branches", model)
    image = from_numpy(np.random.default_rng(1).random((1, 8, 8, 3), np.float32))
    with prepare(artifact) as session:
        outputs = session.run({"image": image})
    assert {name: tensor.shape for name, tensor in outputs.items()} == {
        "label": (1, 2),
        "scores": (1, 5),
    }
    assert outputs["label"].array.sum() == pytest.approx(1, abs=1e-6)


def difference_model(first: str, second: str) -> onnx.ModelProto:
    """Build first - second."""
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4])
        for name in (first, second, "y")
    ]
    nodes = [helper.make_node("Sub", [first, second], ["y"])]
    graph = helper.make_graph(nodes, "difference", values[:2], values[2:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


@pytest.mark.parametrize("names", [("first", "second"), ("p", "q")])
def test_inputs_in_another_order_are_found_by_name_or_by_what_comes_out(
    flatten: Any, prepare: Any, names: tuple[str, str]
) -> None:
    """The file takes (b, a) and gives a - b; its ONNX graph takes (a, b)."""
    artifact = flatten("difference", difference_model(*names))
    assert [value.name for value in artifact.inputs] == list(names)
    large, small = np.full((1, 4), 5, np.float32), np.full((1, 4), 2, np.float32)
    with prepare(artifact) as session:
        output = session.run({names[0]: from_numpy(large), names[1]: from_numpy(small)})["y"]
    assert output.array.tolist() == [[3, 3, 3, 3]]


def test_without_an_onnx_graph_tensors_have_the_files_names(flatten: Any, prepare: Any) -> None:
    artifact = flatten("contract")
    assert artifact.inputs == (ValueInfo("x", "float32", (1, 2, 8, 8)),)
    assert [layer.operator for layer in artifact.layers] == [
        "TRANSPOSE",
        "CONV_2D",
        "MAX_POOL_2D",
        "TRANSPOSE",
        "RESHAPE",
        "FULLY_CONNECTED",
        "SOFTMAX",
    ]
    assert [layer.tap for layer in artifact.layers] == [name for name, _ in taps(artifact)]
    assert all(perm is None for _, perm in taps(artifact))
    small = small_model()
    with prepare(artifact) as session:
        (output,) = session.run(small.inputs).values()
        tapped = dict(session.tap(small.inputs, session.taps))
    np.testing.assert_allclose(output.array, small.values["probabilities"], rtol=1e-5)
    relu = small.values["relu"].transpose(0, 2, 3, 1)
    np.testing.assert_allclose(tapped[artifact.layers[1].tap].array, relu, rtol=1e-5, atol=1e-5)


def test_the_graph_of_another_model_is_refused(flatten: Any) -> None:
    small = small_model()
    weight = small.model.graph.initializer[0]
    weight.raw_data = (np.frombuffer(weight.raw_data, np.float32) * 2).tobytes()
    with pytest.raises(ConversionError, match="are not those of its ONNX graph"):
        flatten("contract", small.model)


def test_a_file_that_was_converted_without_the_graph_runs_although_the_graph_is_wrong(
    flatten: Any, prepare: Any, tmp_path: Path
) -> None:
    small = small_model()
    weight = small.model.graph.initializer[0]
    weight.raw_data = (np.frombuffer(weight.raw_data, np.float32) * 2).tobytes()
    told = {"steps": [{"converter": "keras_to_tflite"}]}
    (tmp_path / "artifact.json").write_text(json.dumps(told))
    artifact = flatten("contract", small.model)
    assert [value.name for value in artifact.outputs] == ["probabilities"]
    assert [name for name, _ in taps(artifact)] == ["probabilities"]  # no layer is the graph's
    notes = artifact.manifest["notes"]
    assert notes["outputs"]["probabilities"]["verified"] is False
    assert notes["problem"] == "the model's ONNX graph is another function than this file"
    with prepare(artifact) as session:
        (output,) = session.run(small.inputs).values()
    np.testing.assert_allclose(output.array, small.values["probabilities"], rtol=1e-5)


def test_a_graph_with_another_number_of_inputs_is_refused(flatten: Any) -> None:
    with pytest.raises(ConversionError, match="has 2 inputs and its ONNX graph 1"):
        flatten("difference", small_model().model)


def test_a_graph_with_inputs_of_another_shape_is_refused(flatten: Any) -> None:
    other = difference_model("first", "second")
    other.graph.input[1].type.tensor_type.shape.dim[1].dim_value = 1
    with pytest.raises(ConversionError, match=r"The inputs of .*, second \(1, 4\), first .*, are"):
        flatten("difference", other)


def test_samples_of_another_shape_are_refused(flatten: Any) -> None:
    samples = {"x": np.zeros((3, 2, 4, 4), np.float32)}
    with pytest.raises(InputError, match=r"shape \(3, 2, 4, 4\), which does not give"):
        flatten("contract", small_model().model, samples)


def test_samples_of_another_name_are_refused(flatten: Any) -> None:
    samples = {"p": np.zeros((3, 1, 4), np.float32)}
    with pytest.raises(InputError, match="hold no array 'q'"):
        flatten("difference", difference_model("p", "q"), samples)


@pytest.mark.parametrize("shape", [(3, 2, 8, 8), (3, 1, 2, 8, 8), (1, 2, 8, 8)])
def test_samples_lie_along_a_first_axis_of_their_own_or_of_the_model(
    flatten: Any, shape: tuple[int, ...]
) -> None:
    samples = {"x": np.random.default_rng(0).random(shape, np.float32)}
    artifact = flatten("contract", small_model().model, samples)
    assert len(taps(artifact)) == 5


def test_a_graph_that_cannot_be_computed_is_paired_by_place_and_says_so(flatten: Any) -> None:
    """Neither ONNX Runtime nor `fixed` has an operator of that name."""
    model = small_model().model
    model.graph.node[1].domain = "com.microsoft"
    model.graph.node[1].op_type = "NoSuchOperator"
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    artifact = flatten("contract", model)
    assert taps(artifact) == [("probabilities", None)]
    notes = artifact.manifest["notes"]
    assert "NoSuchOperator" in notes["problem"]
    assert notes["outputs"]["probabilities"] == {"distance": None, "verified": False}


def scale_model(opset: int) -> onnx.ModelProto:
    """Build a normalisation whose statistics are 0 and 1: y = 2 x."""
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 4, 2, 2]) for n in "xy")
    numbers = {"scale": 2.0, "bias": 0.0, "mean": 0.0, "variance": 1.0}
    weights = [
        helper.make_tensor(name, TensorProto.FLOAT, [4], [value] * 4)
        for name, value in numbers.items()
    ]
    node = helper.make_node("BatchNormalization", ["x", *numbers], ["y"], epsilon=0.0)
    graph = helper.make_graph([node], "scale", [x], [y], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


@pytest.mark.parametrize("opset", [9, 13, 15])
@pytest.mark.parametrize("hidden", [None, "onnxruntime"])
def test_normalisation_of_every_opset_is_judged_as_inference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opset: int, hidden: str | None
) -> None:
    """The evaluator of onnx computes opsets 9 to 13 as training, 0.7 from what is right."""
    from xbackend.converters.tflite.witness import recorded_values
    from xbackend.testing.artifacts import make_artifact
    from xbackend.worker.graph import read_graph

    if hidden:
        monkeypatch.setitem(sys.modules, hidden, None)
    hub = make_artifact(scale_model(opset), tmp_path / "hub").folder
    x = np.random.default_rng(0).random((1, 4, 2, 2), np.float32)
    (value,), witness = recorded_values(read_graph(hub), hub, [{"x": x}])
    np.testing.assert_allclose(value.arrays[0], 2 * x, rtol=1e-6)
    assert not hidden or witness == "fixed"


def test_inputs_that_are_no_numbers_leave_the_names_as_they_are(flatten: Any) -> None:
    x = np.random.default_rng(0).random((2, 1, 2, 8, 8), np.float32)
    x[0, 0, 0, 0, 0] = np.nan
    artifact = flatten("contract", small_model().model, {"x": x})
    assert artifact.manifest["notes"]["outputs"]["probabilities"]["verified"] is True
    assert len(taps(artifact)) == 5


def test_foreign_operations_are_refused_before_a_runtime_sees_them(flatten: Any) -> None:
    with pytest.raises(ModelError, match="NoSuchOperator"):
        flatten("foreign")


def test_without_a_runtime_the_cure_is_told(flatten: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flat_interpreter, "RUNTIMES", ("no_such_runtime",))
    with pytest.raises(ConversionError, match=r"pip install 'xbackend\[tflite\]'"):
        flatten("contract")


@pytest.mark.parametrize("package", ["ai_edge_litert", "tflite_runtime"])
def test_either_runtime_gives_the_same_names(
    flatten: Any, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    pytest.importorskip(package)
    monkeypatch.setattr(flat_interpreter, "RUNTIMES", (package,))
    assert taps(flatten("contract", small_model().model))[0] == ("relu", TURNED)


def test_a_single_number_is_given_without_axes() -> None:
    """A model's sample rate is one: the runtime refuses it with an axis of extent 1."""
    from xbackend.backends.tflite.session import Row

    rate = np.asarray(16000, np.int64)
    detail = {"dtype": np.int64, "quantization_parameters": {"scales": [], "zero_points": []}}
    assert flat_interpreter._quantized(rate, detail).shape == ()
    assert Row(0, "sr", None).to_flat(from_numpy(rate)).shape == ()
