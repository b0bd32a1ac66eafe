"""Which pairs of products overflow 16 bits, by hand, and what inputs reach of that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xbackend.commands.main import main
from xbackend.preparation.saturation import (
    SaturationReach,
    SaturationRisk,
    measure_saturation,
    saturation_reach,
    saturation_risks,
    saturation_warning,
)
from xbackend.worker.artifact import Artifact, Layer
from xbackend.worker.graph import Graph, Node
from xbackend.worker.tensor import from_numpy

Array = np.ndarray[Any, Any]


def graph_of(operator: str, weights: Array, activation: str = "uint8", **attributes: Any) -> Graph:
    """Return a graph of one quantized layer, from `x` to `y`."""
    domain = "com.microsoft" if operator == "QGemm" else ""
    inputs = ("x", "s", "z", "w", "s", "v", "s", "z")
    if operator in ("ConvInteger", "MatMulInteger"):
        inputs = ("x", "w", "z", "v")
    return _graph((Node(operator, domain, "", inputs, ("y",), attributes),), weights, activation)


def qdq_graph(operator: str, weights: Array, activation: str) -> Graph:
    """Return a graph of one float layer between DequantizeLinear."""
    nodes = (
        Node("DequantizeLinear", "", "", ("x", "s", "z"), ("left",), {}),
        Node("DequantizeLinear", "", "", ("w", "s", "v"), ("right",), {}),
        Node(operator, "", "", ("left", "right"), ("y",), {}),
    )
    return _graph(nodes, weights, activation)


def _graph(nodes: tuple[Node, ...], weights: Array, activation: str) -> Graph:
    constants = {
        "w": from_numpy(weights),
        "v": from_numpy(np.zeros((), weights.dtype)),
        "z": from_numpy(np.full((), 3, activation)),
        "s": from_numpy(np.float32([1]).reshape(())),
    }
    return Graph(13, (), (), constants, nodes)


def column(*weights: int) -> Array:
    """Return a matrix of one output."""
    return np.int8(weights).reshape(-1, 1)


@pytest.mark.parametrize(
    ("weights", "possible"),
    [
        ((64, 64, -64, -64), None),  # 255 * 128 = 32640 is at most 32767
        ((65, 64, 0, 0), 32895),
        ((0, 65, 64, 0), None),  # products 1 and 2 are no neighbours
        ((-65, -64, 0, 0), -32895),
        ((127, -127, 127, -127), None),
        ((127, 127, -128, -128), -65280),
        ((0, 0, 127), None),  # an odd one stands alone
    ],
)
@pytest.mark.parametrize("operator", ["QLinearMatMul", "QGemm", "MatMulInteger"])
def test_neighbours_in_a_column_are_added(
    operator: str, weights: tuple[int, ...], possible: int | None
) -> None:
    found = saturation_risks(graph_of(operator, column(*weights)))
    assert found == (() if possible is None else (SaturationRisk("y", operator, possible),))


def test_a_transposed_matrix_has_its_neighbours_in_rows() -> None:
    weights = np.int8([[100, 100, 0, 0]])
    assert saturation_risks(graph_of("QGemm", weights, transB=1)) == (
        SaturationRisk("y", "QGemm", 51000),
    )
    assert saturation_risks(graph_of("QGemm", weights)) == ()


def kernel(shape: tuple[int, ...], *places: tuple[int, ...]) -> Array:
    """Return weights of 0 but for 100 at two places."""
    weights = np.zeros(shape, np.int8)
    for place in places:
        weights[place] = 100
    return weights


def test_neighbours_in_a_convolution_are_channels_of_one_place() -> None:
    shape = (1, 2, 1, 2)
    channels = kernel(shape, (0, 0, 0, 1), (0, 1, 0, 1))
    assert saturation_risks(graph_of("QLinearConv", channels)) == (
        SaturationRisk("y", "QLinearConv", 51000),
    )
    columns = kernel(shape, (0, 0, 0, 0), (0, 0, 0, 1))
    assert saturation_risks(graph_of("QLinearConv", columns)) == ()


def test_with_an_odd_number_of_channels_neighbours_reach_over_places() -> None:
    weights = kernel((1, 3, 1, 2), (0, 2, 0, 0), (0, 0, 0, 1))
    assert saturation_risks(graph_of("ConvInteger", weights)) == (
        SaturationRisk("y", "ConvInteger", 51000),
    )


def test_a_depthwise_convolution_adds_in_32_bits() -> None:
    weights = kernel((2, 1, 1, 2), (0, 0, 0, 0), (0, 0, 0, 1))
    assert saturation_risks(graph_of("QLinearConv", weights, group=2)) == ()
    assert saturation_risks(graph_of("QLinearConv", weights, group=1))


def test_unsigned_weights_and_signed_activations_of_integer_operators_do_not_saturate() -> None:
    assert saturation_risks(graph_of("QLinearMatMul", np.uint8([[255], [255]]))) == ()
    assert saturation_risks(graph_of("QLinearMatMul", column(127, 127), "int8")) == ()


@pytest.mark.parametrize("activation", ["uint8", "int8"])
def test_between_quantize_and_dequantize_signed_activations_saturate_too(activation: str) -> None:
    found = saturation_risks(qdq_graph("MatMul", column(127, 127), activation))
    assert found == (SaturationRisk("y", "MatMul", 64770),)
    assert saturation_risks(qdq_graph("MatMul", np.uint8([[255], [255]]), activation)) == ()


def test_inputs_reach_what_they_reach() -> None:
    graph = graph_of("QLinearMatMul", column(100, 100, -128, -128))
    samples = [np.uint8([[255, 10, 0, 0], [200, 200, 0, 0]]), np.uint8([[0, 0, 100, 50]])]
    (found,) = measure_saturation(graph, lambda name: samples if name == "x" else [])
    assert found == SaturationRisk("y", "QLinearMatMul", -65280, reached=40000, share=1 / 3)


def test_what_is_reached_at_a_border_counts_the_padding_as_the_zero_point() -> None:
    weights = np.int8([127, 127, 0, 0]).reshape(2, 1, 1, 2)
    graph = graph_of("QLinearConv", weights, pads=[0, 1, 0, 0], group=1)
    image = np.full((1, 1, 1, 3), 100, np.uint8)
    (found,) = measure_saturation(graph, lambda name: [image])
    assert found == SaturationRisk("y", "QLinearConv", 64770, reached=25400, share=0.0)
    high = np.full((1, 1, 1, 3), 255, np.uint8)
    (found,) = measure_saturation(graph, lambda name: [high])
    assert (found.reached, found.share) == (64770, pytest.approx(1 / 3))


def test_each_group_sees_its_own_channels() -> None:
    weights = np.zeros((4, 2, 1, 1), np.int8)
    weights[3] = 127
    graph = graph_of("QLinearConv", weights, group=2)
    image = np.uint8([255, 255, 1, 2]).reshape(1, 4, 1, 1)
    (found,) = measure_saturation(graph, lambda name: [image])
    assert (found.possible, found.reached, found.share) == (64770, 3 * 127, 0.0)


def test_without_activations_nothing_is_said_of_them() -> None:
    (found,) = measure_saturation(graph_of("QGemm", column(127, 127)), lambda name: [])
    assert (found.reached, found.share) == (None, None)


def test_the_warning_is_one_sentence_with_the_cure() -> None:
    exposed = [SaturationRisk(name, "QGemm", value) for name, value in zip("abcd", (1, -9, 5, 2))]  # noqa: B905
    assert saturation_warning("m", "It saturates on some", exposed) == (
        "warning: in a, b, c and 1 more layers of m in int8 two products can add up to -9, which "
        "16 bits do not hold: It saturates on some; --option onnx_to_int8.weight=uint8 or "
        "--option onnx_to_int8.reduce_range=true quantizes without that."
    )


def test_the_command_lists_what_the_built_in_models_samples_reach(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["saturation", "--json", "--store", str(tmp_path)]) == 0
    found = {row["tap"]: row for row in json.loads(capsys.readouterr().out)}
    assert list(found) == [
        f"{n}_quantized" for n in ("conv1", "conv2", "dense1", "dense2", "dense3")
    ]
    assert [name for name, row in found.items() if row["share"]] == ["conv1_quantized"]
    assert all(abs(row["reached"]) <= abs(row["possible"]) for row in found.values())
    assert main(["saturation", "--store", str(tmp_path)]) == 0
    assert capsys.readouterr().out.endswith("\nThese inputs overflow in conv1_quantized.\n")


@pytest.mark.parametrize(
    ("operators", "integers"),
    [
        (["Conv", "Relu", "Softmax"], False),
        (["Conv", "QLinearConv"], True),
        (["MatMulInteger"], True),
        (["DequantizeLinear", "Conv"], True),
        (["QGemm"], True),
    ],
)
def test_a_graph_without_integers_is_not_looked_into(operators, integers):
    layers = tuple(Layer(f"t{place}", place, name) for place, name in enumerate(operators, 1))
    assert Artifact(Path(), "graph", "0", (), (), layers, {}).quantized == integers


def test_a_layer_whose_activations_nobody_recorded_is_neither_over_nor_clear() -> None:
    risks = [SaturationRisk("a", "QLinearConv", 40000, 33000, 0.5),
             SaturationRisk("b", "QLinearConv", 40000, 100, 0.0),
             SaturationRisk("c", "QLinearConv", 40000)]  # fmt: skip
    assert saturation_reach(risks) == SaturationReach(("a",), ("b",), ("c",))
