"""Graphs of many quantized nodes with random integers, scales and zero points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx

MICROSOFT = "com.microsoft"


class RandomNodes:
    """Many nodes in one graph, whose inputs are constants."""

    def __init__(self, seed: int = 0) -> None:
        from onnx import helper

        self.random = np.random.default_rng(seed)
        self.nodes = [helper.make_node("Identity", ["x"], ["identity"])]
        self.constants: list[onnx.TensorProto] = []

    def add(self, operator: str, *inputs: Any, domain: str = MICROSOFT, **attributes: Any) -> None:
        """Add a node; an input that is None is left out."""
        from onnx import helper, numpy_helper

        name = f"{operator}{len(self.nodes)}"
        names = [f"{name}.{i}" if item is not None else "" for i, item in enumerate(inputs)]
        self.constants += [
            numpy_helper.from_array(np.asarray(item), key)
            for key, item in zip(names, inputs, strict=True)
            if key
        ]
        node = helper.make_node(operator, names, [name], domain=domain, **attributes)
        self.nodes.append(node)

    def model(self) -> onnx.ModelProto:
        """Return the graph, from `x` to `identity`, both of one element."""
        from onnx import TensorProto, helper

        values = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [1])
            for name in ("x", "identity")
        ]
        graph = helper.make_graph(self.nodes, "nodes", values[:1], values[1:], self.constants)
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid(MICROSOFT, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)

    def integers(self, dtype: str, *shape: int) -> Any:
        """Draw integers from all of a type."""
        limits = np.iinfo(dtype)
        return self.random.integers(limits.min, limits.max + 1, shape).astype(dtype)

    def scale(self, middle: float = 0.05) -> Any:
        """Draw a scale; every third is a simple fraction, which makes ties."""
        if self.random.integers(3) == 0:
            return np.float32(2.0 ** self.random.integers(-4, 1) * self.random.integers(1, 6))
        return np.float32(middle * np.exp(self.random.normal()))

    def pair(self, dtype: str) -> tuple[Any, Any]:
        """Draw a scale and a zero point."""
        return self.scale(), self.integers(dtype)


ALL_INT8_VALUES = {name: np.arange(256).astype(np.uint8).view(name) for name in ("uint8", "int8")}

BROADCASTS = [
    ((2, 3, 4, 5), (1, 3, 1, 1)), ((3, 1, 1), (2, 3, 4, 5)), ((), (4, 3)), ((4, 3), ()),
    ((1, 1), (1, 1)), ((5, 1), (1, 7)), ((1, 7), (5, 1)), ((1,), (4, 1)), ((4, 1), (1,)),
    ((2, 3, 1), (3, 4)), ((1, 3, 4), (2, 3, 4)), ((2, 1, 4), (1, 3, 1)), ((10,), (6, 10)),
]  # fmt: skip


def elementwise(nodes: RandomNodes, dtype: str) -> None:
    """Add sums and products of all pairs of elements, and of tensors that broadcast."""
    a, b = np.repeat(ALL_INT8_VALUES[dtype], 256), np.tile(ALL_INT8_VALUES[dtype], 256)
    for operator in ("QLinearAdd", "QLinearMul"):
        for _ in range(12):
            nodes.add(operator, a, *nodes.pair(dtype), b, *nodes.pair(dtype), *nodes.pair(dtype))
        for left, right in BROADCASTS * 4:
            first, second = nodes.integers(dtype, *left), nodes.integers(dtype, *right)
            pairs = [nodes.pair(dtype) for _ in range(3)]
            nodes.add(operator, first, *pairs[0], second, *pairs[1], *pairs[2])


def tables(nodes: RandomNodes, dtype: str) -> None:
    """Add operators that ONNX Runtime computes through tables."""
    least = np.array(np.iinfo(dtype).min, dtype)
    for _ in range(40):
        x, y = nodes.pair(dtype), nodes.pair(dtype)
        slope = float(np.float32(nodes.random.uniform(0.01, 0.9)))
        rows = nodes.integers(dtype, 5, int(nodes.random.integers(2, 300)))
        nodes.add("QLinearLeakyRelu", ALL_INT8_VALUES[dtype], *x, *y, alpha=slope)
        nodes.add("QLinearSigmoid", ALL_INT8_VALUES[dtype], *x, np.float32(1 / 256), least)
        nodes.add("QLinearConcat", *y, rows, *x, rows, *y, axis=1)
        nodes.add("QLinearSoftmax", rows, *x, np.float32(1 / 256), least, opset=13, axis=1)
        nodes.add("QLinearSoftmax", rows, *x, np.float32(1 / 256), least, opset=11, axis=0)


def pools(nodes: RandomNodes, dtype: str) -> None:
    """Add averages over windows and over images."""
    for _ in range(40):
        image, source = nodes.integers(dtype, 2, 3, 9, 11), nodes.pair(dtype)
        target = source[0] * np.float32(nodes.random.uniform(0.3, 1)), nodes.integers(dtype)
        kernel = [int(v) for v in nodes.random.integers(1, 5, 2)]
        window: dict[str, Any] = {
            "kernel_shape": kernel,
            "strides": [int(v) for v in nodes.random.integers(1, 4, 2)],
            "pads": [int(nodes.random.integers(0, k)) for k in kernel * 2],
            "count_include_pad": int(nodes.random.integers(2)),
            "ceil_mode": int(nodes.random.integers(2)),
        }
        nodes.add("QLinearAveragePool", image, *source, *target, **window)
        nodes.add("QLinearGlobalAveragePool", image, *source, *target)


def linear(nodes: RandomNodes, dtype: str, mixed: bool = True) -> None:
    """Add products and convolutions per tensor and per channel.

    `mixed` has every other weight of uint8 activations in int8.
    """
    for index in range(40):
        kind = "int8" if dtype == "int8" or (mixed and index % 2) else "uint8"
        columns = int(nodes.random.integers(2, 30))
        a, b = nodes.integers(dtype, 7, 25), nodes.integers(kind, 25, columns)
        many = columns if index % 3 else 1
        right = np.full(many, 0.01, np.float32) * (1 + np.arange(many, dtype=np.float32))
        zeros = nodes.integers(kind, many)
        bias = nodes.random.integers(-9999, 9999, columns).astype(np.int32)
        left, target = nodes.pair(dtype), (nodes.scale(20.0), nodes.integers(dtype))
        nodes.add("QLinearMatMul", a, *left, b, right, zeros, *target, domain="")
        nodes.add("QGemm", a, *left, b, right, zeros, bias, *target)
        nodes.add("QGemm", a, *left, b, right, zeros, bias)
        groups = (1, 2, 4)[index % 3]
        kernel, image = (
            nodes.integers(kind, 8, 4 // groups, 3, 2),
            nodes.integers(dtype, 1, 4, 9, 8),
        )
        scales = np.full(8, 0.01, np.float32) * (1 + np.arange(8, dtype=np.float32))
        same = np.full(8, nodes.integers(kind), kind)
        how = {"group": groups, "strides": [1 + index % 2, 1], "pads": [index % 2, 0, 1, 1]}
        nodes.add("QLinearConv", image, *left, kernel, scales, same, *target, domain="", **how)


def rounding(nodes: RandomNodes, dtype: str) -> None:
    """Add conversions from and to floats, at ties, ends and what is no number."""
    for _ in range(40):
        scale, zero = nodes.pair(dtype)
        ties = (np.arange(-400, 400) + 0.5) * np.float64(scale)
        corners = [np.nan, np.inf, -np.inf, 0.0, -0.0, 3e38, -3e38, 1e-45]
        values = np.concatenate([corners, ties, nodes.random.normal(size=500) * 100 * scale])
        nodes.add("QuantizeLinear", values.astype(np.float32), scale, zero, domain="")
        nodes.add("DequantizeLinear", ALL_INT8_VALUES[dtype], scale, zero, domain="")
