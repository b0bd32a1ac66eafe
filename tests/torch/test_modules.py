"""A node gives bit for bit what the same module of PyTorch gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from xbackend.worker.contract import Unsupported
from xbackend.worker.tensor import Tensor

PRECISIONS = ("float32", "float64", "float16", "bfloat16")

ToBits = Callable[[Any], Tensor]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_node_gives_the_same_bits_as_the_module(
    module_case: Any, precision: str, framework: Any, to_bits: ToBits
) -> None:
    module, value, model = module_case.build(precision)
    inputs = {"x": to_bits(value)}
    with torch.inference_mode(), framework.prepare(model, precision=precision) as session:
        try:
            expected = to_bits(module(value)).record()
        except NotImplementedError:  # PyTorch has no LocalResponseNorm in half precision
            with pytest.raises(Unsupported, match="lacks a kernel"):
                session.run(inputs)
            return
        assert session.run(inputs)["y"].record() == expected
        assert dict(session.tap(inputs, ["y"]))["y"].record() == expected


@pytest.mark.parametrize(
    ("module", "operator", "attributes"),
    [
        (torch.nn.SELU(), "Selu", {}),
        (torch.nn.LeakyReLU(), "LeakyRelu", {}),
        (torch.nn.LocalResponseNorm(5), "LRN", {"size": 5}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, torch.nn.Module) else "",
)
def test_defaults_that_float32_rounds_are_the_modules_in_float32(
    module: Any, operator: str, attributes: dict[str, Any], framework: Any, to_bits: ToBits,
    build: Any,
) -> None:  # fmt: skip
    value = torch.linspace(-3, 3, 2 * 6 * 5 * 5).reshape(2, 6, 5, 5)
    model = build.node(operator, {"x": value.numpy()}, **attributes)
    with framework.prepare(model) as session:
        actual = session.run({"x": to_bits(value)})["y"]
    assert actual.record() == to_bits(module(value)).record()


def test_every_layer_of_a_network_has_the_modules_bits(framework: Any, to_bits: ToBits) -> None:
    torch.manual_seed(5)
    layers = {
        "conv": torch.nn.Conv2d(3, 16, 3, stride=2, padding=1),
        "norm": torch.nn.BatchNorm2d(16),
        "relu": torch.nn.ReLU(),
        "pool": torch.nn.MaxPool2d(2),
        "flat": torch.nn.Flatten(),
        "fc": torch.nn.Linear(16 * 8 * 8, 10),
        "prob": torch.nn.Softmax(1),
    }
    network = torch.nn.Sequential(*layers.values()).eval()
    layers["norm"].running_mean.uniform_(-1, 1)
    layers["norm"].running_var.uniform_(0.5, 2)
    value = torch.rand(1, 3, 32, 32)
    expected, here = {}, value
    with torch.inference_mode():
        for name, layer in layers.items():
            here = layer(here)
            expected[name] = to_bits(here).record()
        assert torch.equal(network(value), here)
    inputs = {"x": to_bits(value)}
    with framework.prepare(_network(layers)) as session:
        output = session.run(inputs)["prob"].record()
        taps = {name: tensor.record() for name, tensor in session.tap(inputs, session.taps)}
    assert taps == expected
    assert output == expected["prob"]


def _network(layers: dict[str, Any]) -> Any:
    make = helper.make_node
    nodes = [
        make("Conv", ["x", "conv.weight", "conv.bias"], ["conv"], pads=[1] * 4, strides=[2, 2]),
        make("BatchNormalization", ["conv", *(f"norm.{name}" for name in (
            "weight", "bias", "running_mean", "running_var"))], ["norm"]),
        make("Relu", ["norm"], ["relu"]),
        make("MaxPool", ["relu"], ["pool"], kernel_shape=[2, 2], strides=[2, 2]),
        make("Flatten", ["pool"], ["flat"]),
        make("Gemm", ["flat", "fc.weight", "fc.bias"], ["fc"], transB=1),
        make("Softmax", ["fc"], ["prob"], axis=1),
    ]  # fmt: skip
    weights = [
        numpy_helper.from_array(tensor.numpy(), f"{layer}.{name}")
        for layer, module in layers.items()
        for name, tensor in module.state_dict().items()
        if tensor.is_floating_point()
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 32, 32])],
        [helper.make_tensor_value_info("prob", TensorProto.FLOAT, [1, 10])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_a_general_product_is_addmm(framework: Any, build: Any) -> None:
    torch.manual_seed(3)
    left, right, bias = torch.rand(4, 7), torch.rand(7, 5), torch.rand(4, 1)
    inputs = {"a": left.numpy()}
    constants = {"b": right.numpy(), "c": bias.numpy()}
    model = build.node("Gemm", inputs, constants, alpha=0.5, beta=2.0)
    (actual,) = framework.outputs(model, inputs)
    expected = torch.addmm(bias, left, right, alpha=0.5, beta=2.0)
    assert actual.tobytes() == expected.numpy().tobytes()


def test_a_square_is_the_square_of_pytorch(framework: Any, build: Any) -> None:
    value = torch.linspace(-2, 2, 1001)
    exponent = torch.tensor(2.0).numpy()
    model = build.node("Pow", {"x": value.numpy()}, {"e": exponent})
    (actual,) = framework.outputs(model, {"x": value.numpy()})
    assert actual.tobytes() == (value**2).numpy().tobytes()
