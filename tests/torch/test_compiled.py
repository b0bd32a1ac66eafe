"""torch.compile over the whole walk: one graph, the bits of the compiled module, its taps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from onnx import helper, numpy_helper

from xbackend.worker.contract import Unsupported
from xbackend.worker.tensor import Tensor, from_numpy

ToBits = Callable[[Any], Tensor]


@pytest.fixture
def network() -> Any:
    """Make a module with a convolution, a normalisation and a linear layer."""
    torch.manual_seed(7)
    layers = [torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.BatchNorm2d(8), torch.nn.ReLU()]
    layers += [torch.nn.AvgPool2d(2), torch.nn.Flatten(), torch.nn.Linear(128, 10)]
    return torch.nn.Sequential(*layers, torch.nn.Softmax(1)).eval()


@pytest.fixture
def model(network: Any, build: Any) -> Any:
    """Make the same network in ONNX, with a shape that it computes."""
    make = helper.make_node
    names = ("weight", "bias", "running_mean", "running_var")
    nodes = [
        make("Conv", ["x", "0.weight", "0.bias"], ["conv"], pads=[1] * 4),
        make("BatchNormalization", ["conv", *(f"1.{name}" for name in names)], ["norm"]),
        make("Relu", ["norm"], ["relu"]),
        make("AveragePool", ["relu"], ["pool"], kernel_shape=[2, 2], strides=[2, 2]),
        make("Shape", ["pool"], ["shape"]),
        make("Gather", ["shape", "zero"], ["batch"]),
        make("Concat", ["batch", "rest"], ["target"], axis=0),
        make("Reshape", ["pool", "target"], ["flat"]),
        make("Gemm", ["flat", "5.weight", "5.bias"], ["fc"], transB=1),
        make("Softmax", ["fc"], ["prob"], axis=1),
    ]
    state = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    state |= {"zero": np.asarray([0], np.int64), "rest": np.asarray([-1], np.int64)}
    return build.model(nodes, {"x": np.zeros((1, 3, 8, 8), np.float32)}, state, ["prob"])


def test_compiled_code_gives_the_bits_of_the_compiled_module(
    network: Any, model: Any, framework: Any, to_bits: ToBits
) -> None:
    value = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    inputs = {"x": to_bits(value)}
    with framework.prepare(model, mode="compiled") as session:
        actual = session.run(inputs)["prob"]
        taps = dict(session.tap(inputs, session.taps))
        assert session.facts()["compiled"] == {"functions": 2}
    with torch.inference_mode():
        expected = torch.compile(network, dynamic=False)(value)
    assert actual.record() == to_bits(expected).record()
    assert list(taps) == [name for node in model.graph.node for name in node.output]
    assert taps["shape"].array.tolist() == [1, 8, 4, 4]
    assert np.allclose(taps["prob"].array, actual.array, rtol=1e-6)


def test_an_eager_and_a_compiled_session_do_not_share_anything(
    model: Any, framework: Any, random: Any
) -> None:
    inputs = {"x": from_numpy(random.random((1, 3, 8, 8), np.float32))}
    with framework.prepare(model) as eager, framework.prepare(model, mode="compiled") as compiled:
        before = eager.run(inputs)["prob"].record()
        outcome = compiled.run(inputs)["prob"]
        assert eager.run(inputs)["prob"].record() == before
        assert np.allclose(outcome.array, eager.run(inputs)["prob"].array, rtol=1e-5)


def test_many_models_in_one_process_are_all_compiled(framework: Any, build: Any) -> None:
    """PyTorch stops compiling a function after eight variants, with no more than a warning."""
    value = np.linspace(-2, 2, 10, dtype=np.float32)
    for count in range(1, 11):
        nodes = [helper.make_node("Sin", ["x"], ["s0"])]
        nodes += [helper.make_node("Sin", [f"s{i}"], [f"s{i + 1}"]) for i in range(count)]
        model = build.model(nodes, {"x": value}, {}, [f"s{count}"])
        torch._dynamo.utils.counters.clear()
        (actual,) = framework.outputs(model, {"x": value}, mode="compiled")
        expected = value
        for _ in range(count + 1):
            expected = np.sin(expected)
        assert np.allclose(actual, expected, rtol=1e-5)
        assert torch._dynamo.utils.counters["stats"]["unique_graphs"] >= 1


def test_a_shape_that_depends_on_data_is_refused_in_one_sentence(
    framework: Any, build: Any
) -> None:
    inputs = {"x": np.arange(6, dtype=np.float32), "s": np.asarray([2, 3], np.int64)}
    with pytest.raises(Unsupported, match="cannot make one graph of this model"):
        framework.outputs(build.node("Reshape", inputs), inputs, mode="compiled")


def test_a_weight_keeps_its_bits_when_compiled(framework: Any, build: Any) -> None:
    weight = np.asarray([1e-30, -0.0, 3.4e38], np.float32)
    model = build.model(
        [helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(weight, "w")),
         helper.make_node("Identity", ["w"], ["y"]), helper.make_node("Neg", ["x"], ["z"])],
        {"x": weight}, {}, ["y", "z"],
    )  # fmt: skip
    same, negative = framework.outputs(model, {"x": weight}, mode="compiled")
    assert same.tobytes() == weight.tobytes()
    assert negative.tobytes() == (-weight).tobytes()
