"""Weights of 4 bits and of float8 in wider formats, with the same values."""

from __future__ import annotations

import numpy as np
from ml_dtypes import float8_e4m3fn, int4

from xbackend.converters.onnx.narrow import widened
from xbackend.worker.artifact import ValueInfo
from xbackend.worker.graph import Graph, Node
from xbackend.worker.tensor import Tensor


def graph(constants: dict[str, Tensor], *nodes: Node) -> Graph:
    """Make a graph from x to y."""
    ends = (ValueInfo("x", "float32", (3,)),), (ValueInfo("y", "float32", (3,)),)
    return Graph(21, *ends, constants, nodes)


SCALE = Tensor("float32", np.float32([0.5]))


def test_weights_of_4_bits_keep_their_values_and_it_is_told() -> None:
    weight = Tensor("int4", np.array([-8, 0, 7]).astype(int4))
    node = Node("DequantizeLinear", "", "", ("w", "s"), ("y",), {"axis": 0})
    made, told = widened(graph({"w": weight, "s": SCALE}, node))
    assert made.constants["w"].dtype == "int8"
    assert made.constants["w"].array.tolist() == [-8, 0, 7]
    assert told == {"w": "int4 as int8"}


def test_weights_of_float8_become_float32() -> None:
    weight = Tensor("float8_e4m3fn", np.array([0.5, -448]).astype(float8_e4m3fn))
    node = Node("DequantizeLinear", "", "", ("w", "s"), ("y",), {"axis": 0})
    made, told = widened(graph({"w": weight, "s": SCALE}, node))
    assert made.constants["w"].array.tolist() == [0.5, -448]
    assert told == {"w": "float8_e4m3fn as float32"}


def test_what_is_quantized_to_4_bits_is_bounded_by_them() -> None:
    point = Tensor("int4", np.array(1).astype(int4))
    nodes = (
        Node("QuantizeLinear", "", "", ("x", "s", "z"), ("q",), {"axis": 1}),
        Node("DequantizeLinear", "", "", ("q", "s", "z"), ("y",), {"axis": 1}),
    )
    made, told = widened(graph({"s": SCALE, "z": point}, *nodes))
    assert [node.operator for node in made.nodes] == [
        "QuantizeLinear",
        "Clip",
        "DequantizeLinear",
    ]
    low, high = (made.constants[name] for name in made.nodes[1].inputs[1:])
    assert (low.dtype, int(low.array), int(high.array)) == ("int8", -8, 7)
    assert told == {"z": "int4 as int8", "q": "int4 as int8"}


def test_a_weight_that_others_read_stays_as_it_is() -> None:
    weight = Tensor("int4", np.array([1]).astype(int4))
    made, told = widened(graph({"w": weight}, Node("Cast", "", "", ("w",), ("y",), {"to": "int8"})))
    assert made.constants["w"].dtype == "int4"
    assert told == {}
