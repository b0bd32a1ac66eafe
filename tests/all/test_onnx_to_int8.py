"""The quantizer's result is ONNX Runtime's own, is recorded, and comes out the same each time."""

from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from xbackend.converters.onnx.quantization_preprocess import decompose_batch_norms, fold_batch_norms
from xbackend.converters.onnx_to_int8 import convert
from xbackend.errors import ConversionError, InputError
from xbackend.plugins.converter import ConversionRequest, ConversionResult
from xbackend.testing.random_nets import NETS, RandomNet, normalised_net, plain_net, samples


def request(folder: Path, model: onnx.ModelProto, x: Any, **options: Any) -> ConversionRequest:
    """Write a model and its samples, and ask for the int8 model in a folder of its own."""
    onnx.save(model, folder / "source.onnx")
    np.savez(folder / "inputs.npz", x=x)
    output = folder / f"output{len(list(folder.iterdir()))}"
    output.mkdir()
    source = folder / "source.onnx"
    return ConversionRequest(
        source, "onnx", "onnx-int8", output, folder / "inputs.npz", None, options
    )


def quantize(
    folder: Path, model: onnx.ModelProto, x: Any, **options: Any
) -> tuple[onnx.ModelProto, ConversionResult]:
    asked = request(folder, model, x, **options)
    result = convert(asked)
    assert [path.name for path in asked.output.iterdir()] == [result.model]
    return onnx.load(asked.output / result.model), result


def operators(model: onnx.ModelProto) -> set[str]:
    return {node.op_type for node in model.graph.node}


def constants(model: onnx.ModelProto) -> dict[str, Any]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


class Reader:
    """What `quantize_static` reads samples from."""

    def __init__(self, x: Any) -> None:
        self.rows = iter(x)

    def get_next(self) -> Any:
        return next(({"x": row[None]} for row in self.rows), None)


@pytest.mark.parametrize("form", ["qoperator", "qdq"])
@pytest.mark.parametrize("name", ["plain", "branched"])
def test_the_model_is_the_one_of_quantize_static(tmp_path: Path, name: str, form: str) -> None:
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    model = NETS[name]()
    x = samples(model, 6)
    ours, _ = quantize(tmp_path, model, x, format=form)
    quantize_static(
        tmp_path / "source.onnx",
        tmp_path / "theirs.onnx",
        Reader(x),
        quant_format={"qoperator": QuantFormat.QOperator, "qdq": QuantFormat.QDQ}[form],
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    theirs = onnx.load(tmp_path / "theirs.onnx")
    assert list(ours.graph.node) == list(theirs.graph.node)
    mine, wanted = constants(ours), constants(theirs)
    assert {name: array.tobytes() for name, array in mine.items()} == {
        name: array.tobytes() for name, array in wanted.items()
    }


def test_the_default_is_in_integers_throughout(tmp_path: Path) -> None:
    model = NETS["branched"]()
    quantized, result = quantize(tmp_path, model, samples(model, 3))
    floats = {"Conv", "Gemm", "Add", "Mul", "AveragePool", "GlobalAveragePool", "Softmax"}
    assert operators(quantized) & floats == set()
    assert constants(quantized)["conv.w_quantized"].dtype == np.int8
    assert constants(quantized)["x_zero_point"].dtype == np.uint8
    assert result.notes["options"] == {
        "activation": "uint8",
        "weight": "int8",
        "format": "qoperator",
        "per_channel": False,
        "reduce_range": False,
        "fold_batch_norm": True,
    }


def test_the_interface_is_the_float_models(tmp_path: Path) -> None:
    model = plain_net(batch="n")
    quantized, _ = quantize(tmp_path, model, samples(model, 3))
    assert list(quantized.graph.input) == list(model.graph.input)
    assert list(quantized.graph.output) == list(model.graph.output)


@pytest.mark.parametrize(
    ("options", "activation", "weight"),
    [
        ({"activation": "int8"}, np.int8, np.int8),
        ({"weight": "uint8"}, np.uint8, np.uint8),
        ({"format": "qdq"}, np.uint8, np.int8),
    ],
)
def test_an_option_decides_the_types(
    tmp_path: Path, options: Any, activation: Any, weight: Any
) -> None:
    model = plain_net()
    quantized, _ = quantize(tmp_path, model, samples(model, 3), **options)
    found = constants(quantized)
    assert found["x_zero_point"].dtype == activation
    assert found["conv1.w_quantized"].dtype == weight
    assert ("Conv" in operators(quantized)) == (options.get("format") == "qdq")


def test_weights_have_a_scale_per_channel_or_seven_bits_on_demand(tmp_path: Path) -> None:
    model = plain_net()
    x = samples(model, 3)
    wide = constants(quantize(tmp_path, model, x)[0])
    narrow = constants(quantize(tmp_path, model, x, reduce_range=True)[0])
    channels = constants(quantize(tmp_path, model, x, per_channel=True)[0])
    assert np.abs(wide["conv2.w_quantized"].astype(int)).max() == 127
    assert np.abs(narrow["conv2.w_quantized"].astype(int)).max() <= 64
    assert (wide["conv2.w_scale"].shape, channels["conv2.w_scale"].shape) == ((), (5,))


def test_the_calibration_is_recorded(tmp_path: Path) -> None:
    model = plain_net()
    x = samples(model, 5)
    _, result = quantize(tmp_path, model, x)
    digest = hashlib.sha256(b"x:float32:(5, 3, 32, 32):" + x.tobytes()).hexdigest()
    assert result.notes["calibration"] == {
        "method": "min-max",
        "samples": 5,
        "inferences": 5,
        "digest": digest,
        "threads": 1,
        "optimization": "none",
    }


def test_ranges_are_those_of_the_samples(tmp_path: Path) -> None:
    model = plain_net()
    x = samples(model, 4)
    found = constants(quantize(tmp_path, model, x)[0])
    low, high = float(x.min()), float(x.max())
    assert float(found["x_scale"]) == pytest.approx((high - low) / 255, rel=1e-6)
    assert int(found["x_zero_point"]) == round(-low / float(found["x_scale"]))


def test_a_batch_of_the_models_own_size_is_taken_at_once(tmp_path: Path) -> None:
    model = plain_net(batch=2)
    _, result = quantize(tmp_path, model, samples(model, 5))
    assert result.notes["calibration"]["samples"] == 5
    assert result.notes["calibration"]["inferences"] == 2


PROGRAM = """
import sys
from pathlib import Path
from xbackend.plugins.converter import ConversionRequest
from xbackend.converters.onnx_to_int8 import convert
source, inputs, output = map(Path, sys.argv[1:])
convert(ConversionRequest(source, "onnx", "onnx-int8", output, inputs))
"""


def test_the_same_bytes_come_out_of_every_process(tmp_path: Path) -> None:
    model = NETS["branched"]()
    asked = request(tmp_path, model, samples(model, 3))
    digests = set()
    for seed in ("1", "2"):
        output = tmp_path / seed
        output.mkdir()
        command = [sys.executable, "-c", PROGRAM, asked.source, asked.inputs, output]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run(command, check=True, env=environment, capture_output=True, timeout=120)
        digests.add(hashlib.sha256((output / "model.onnx").read_bytes()).hexdigest())
    assert len(digests) == 1


def test_temporary_files_are_in_the_output_folder_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "no-such-folder"
    monkeypatch.setattr(tempfile, "tempdir", str(elsewhere))
    model = plain_net()
    quantize(tmp_path, model, samples(model, 2))
    assert tempfile.tempdir == str(elsewhere)
    assert not elsewhere.exists()


def test_an_older_opset_is_converted_first(tmp_path: Path) -> None:
    model = plain_net(opset=11)
    quantized, result = quantize(tmp_path, model, samples(model, 2))
    assert result.notes["opset"] == {"source": 11, "target": 13}
    assert "MaxPool" in operators(quantized)
    assert "pool1_quantized" in {name for node in quantized.graph.node for name in node.output}


def test_every_float_weight_is_told_as_changed(tmp_path: Path) -> None:
    model = plain_net()
    _, result = quantize(tmp_path, model, samples(model, 2))
    assert result.weights.identical == ()
    assert set(result.weights.changed) == {tensor.name for tensor in model.graph.initializer}


def test_a_batch_norm_is_folded_into_its_convolution_alone() -> None:
    model = normalised_net()
    x = samples(model, 1)
    before = ReferenceEvaluator(model).run(None, {"x": x})[0]
    assert fold_batch_norms(model) == ["norm1"]
    assert [node.op_type for node in model.graph.node].count("BatchNormalization") == 1
    after = ReferenceEvaluator(model).run(None, {"x": x})[0]
    assert np.abs(after - before).max() < 1e-5 * np.abs(before).max()


def test_a_batch_norm_that_follows_no_convolution_becomes_a_product_and_a_sum() -> None:
    model = normalised_net()
    x = samples(model, 1)
    before = ReferenceEvaluator(model).run(None, {"x": x})[0]
    vectors = constants(model)
    norm = [node for node in model.graph.node if node.op_type == "BatchNormalization"][1]
    assert decompose_batch_norms(model) == ["norm1", norm.output[0]]
    assert "BatchNormalization" not in operators(model)
    gamma, beta, mean, variance = (float(vectors[name][1]) for name in norm.input[1:])
    factor = gamma / math.sqrt(variance + float(np.float32(1e-5)))
    assert constants(model)[f"{norm.output[0]}/factor"].ravel()[1] == np.float32(factor)
    assert constants(model)[f"{norm.output[0]}/term"].ravel()[1] == np.float32(beta - mean * factor)
    after = ReferenceEvaluator(model).run(None, {"x": x})[0]
    assert np.abs(after - before).max() < 1e-5 * np.abs(before).max()


def test_weights_that_the_graph_makes_itself_are_quantized_too(tmp_path: Path) -> None:
    net = RandomNet(0)
    net.node("turned", "Transpose", net.weight("w", 4, 2), perm=[1, 0])
    net.constant("shape", np.array([2, 1, 1]))
    net.node("bias", "Squeeze", net.node("ones", "ConstantOfShape", "shape"))
    net.node("scores", "Sum", net.node("product", "Gemm", "x", "turned", transB=1), "bias")
    model = net.model("scores", [1, 4], [1, 2])
    quantized, result = quantize(tmp_path, model, np.ones((2, 4), np.float32))
    assert result.notes["materialized_constants"] == ["turned", "ones", "bias"]
    assert result.notes["sums_as_adds"] == ["scores"]
    assert [node.op_type for node in quantized.graph.node] == [
        "QuantizeLinear",
        "QGemm",
        "QLinearAdd",
        "DequantizeLinear",
    ]
    source = numpy_helper.to_array(model.graph.initializer[0])
    scale = float(constants(quantized)["turned_scale"])
    wanted = np.rint(source.T / np.float32(scale)).astype(np.int8)
    assert constants(quantized)["turned_quantized"].tolist() == wanted.tolist()


def test_folding_can_be_switched_off(tmp_path: Path) -> None:
    model = normalised_net()
    x = samples(model, 2)
    folded, told = quantize(tmp_path, model, x)
    whole, silent = quantize(tmp_path, model, x, fold_batch_norm=False)
    counts = [
        [n.op_type for n in m.graph.node].count("BatchNormalization") for m in (folded, whole)
    ]
    assert counts == [0, 2]
    assert told.notes["folded_batch_norms"] == ["norm1"]
    assert len(told.notes["spelt_batch_norms"]) == 1
    assert silent.notes["folded_batch_norms"] == silent.notes["spelt_batch_norms"] == []


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"bits": 4}, "has no option 'bits'; it has activation, fold_batch_norm, format,"),
        ({"format": "qop"}, "'format' is 'qop'; it takes qoperator or qdq"),
        ({"per_channel": "yes"}, "'per_channel' is 'yes'; it takes False or True"),
        ({"activation": "int8", "weight": "uint8"}, "no kernel for int8 activations with uint8"),
    ],
)
def test_an_option_that_there_is_not_is_refused(
    tmp_path: Path, options: Any, sentence: str
) -> None:
    model = plain_net()
    with pytest.raises(ConversionError, match=sentence):
        convert(request(tmp_path, model, samples(model, 1), **options))


def test_samples_are_needed(tmp_path: Path) -> None:
    model = plain_net()
    asked = request(tmp_path, model, samples(model, 1))
    bare = ConversionRequest(asked.source, "onnx", "onnx-int8", asked.output)
    with pytest.raises(ConversionError, match="needs samples to calibrate on"):
        convert(bare)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda x: {"y": x}, "have no input 'x', only y"),
        (lambda x: {"x": x[:0]}, "fewer than one batch"),
        (lambda x: {"x": x * np.float32(np.nan)}, "is infinite or not a number for a calib"),
    ],
    ids=["name", "none", "nan"],
)
def test_samples_that_do_not_fit_are_refused(tmp_path: Path, change: Any, sentence: str) -> None:
    model = plain_net()
    asked = request(tmp_path, model, samples(model, 1))
    np.savez(tmp_path / "inputs.npz", **change(samples(model, 1)))
    with pytest.raises(InputError, match=sentence):
        convert(asked)


def test_a_sample_of_another_shape_is_refused(tmp_path: Path) -> None:
    model = plain_net()
    asked = request(tmp_path, model, samples(model, 1)[:, :, :9])
    with pytest.raises(ConversionError, match="cannot compute the calibration samples"):
        convert(asked)
