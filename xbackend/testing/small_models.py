"""Two small CNNs with weights made of integers, and what every value of them must be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xbackend.worker.tensor import Tensor, cast, from_numpy

if TYPE_CHECKING:
    import onnx

Array = np.ndarray[Any, Any]

OPSET = 13
IR_VERSION = 8


@dataclass(frozen=True, eq=False)
class SmallModel:
    """A model, one input for it, and its values in order of computation."""

    model: onnx.ModelProto
    inputs: Mapping[str, Tensor]
    """By name; every element is exact in every precision."""
    values: Mapping[str, Array]
    """What each node gives, the output last, from NumPy in float64 or in exact integers."""
    tolerance: float
    """How far a value may be away, relative to the largest magnitude of its tensor."""

    @property
    def output(self) -> str:
        """Name of the one output."""
        return list(self.values)[-1]


TOLERANCES = {"float32": 1e-5, "float64": 1e-12, "float16": 1e-2, "bfloat16": 6e-2, "int8": 0.0}
"""By precision; int8 is exact because all of its scales are powers of two."""


def small_model(precision: str = "float32", batch: str | int = 1) -> SmallModel:
    """Build the CNN of a precision; `batch` is the first extent of the input, a name if free."""
    sample = integers((1, 2, 8, 8), 5, 17) / 8
    if precision == "int8":
        values = int8_values(sample)
        return SmallModel(
            int8_model(batch), {"x": from_numpy(sample.astype(np.float32))}, values, 0.0
        )
    inputs = {"x": cast(from_numpy(sample), precision)}
    model = float_model(precision, batch)
    return SmallModel(model, inputs, float_values(sample), TOLERANCES[precision])


def integers(shape: tuple[int, ...], step: int, modulus: int) -> Array:
    """Return small whole numbers around 0 as float64, the same on every machine.

    >>> integers((5,), 2, 5).tolist()
    [-2.0, 0.0, 2.0, -1.0, 1.0]
    """
    count = int(np.prod(shape))
    return ((np.arange(count) * step % modulus) - modulus // 2).reshape(shape).astype(np.float64)


CONV_WEIGHT = integers((3, 2, 3, 3), 7, 13)
CONV_BIAS = integers((3,), 2, 5)
DENSE_WEIGHT = integers((48, 5), 11, 13)
DENSE_BIAS = integers((5,), 3, 7)


def float_model(precision: str, batch: str | int) -> onnx.ModelProto:
    """Build Conv, Relu, MaxPool, Flatten, Gemm, Softmax."""
    from onnx import helper

    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["conv"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("MaxPool", ["relu"], ["pool"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["pool"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w2", "b2"], ["dense"]),
        helper.make_node("Softmax", ["dense"], ["probabilities"], axis=1),
    ]
    weights = {
        "w1": CONV_WEIGHT / 16,
        "b1": CONV_BIAS / 4,
        "w2": DENSE_WEIGHT / 64,
        "b2": DENSE_BIAS / 4,
    }
    tensors = {name: cast(from_numpy(array), precision) for name, array in weights.items()}
    return _model(nodes, tensors, (precision, batch), "probabilities")


def float_values(x: Array) -> dict[str, Array]:
    """Compute every value of the float model in float64."""
    conv = convolve(x, CONV_WEIGHT / 16) + (CONV_BIAS / 4)[:, None, None]
    relu = np.maximum(conv, 0)
    pool = max_pool(relu)
    flat = pool.reshape(1, -1)
    dense = flat @ (DENSE_WEIGHT / 64) + DENSE_BIAS / 4
    powers = np.exp(dense - dense.max())
    probabilities = powers / powers.sum()
    hidden = {"conv": conv, "relu": relu, "pool": pool, "flat": flat, "dense": dense}
    return {**hidden, "probabilities": probabilities}


def int8_model(batch: str | int) -> onnx.ModelProto:
    """Build QuantizeLinear, QLinearConv, MaxPool, Flatten, QLinearMatMul, DequantizeLinear."""
    from onnx import helper

    conv = ["xq", "s3", "z128", "w1", "s4", "z0", "s6", "u0", "b1"]
    dense = ["flat", "s6", "u0", "w2", "s5", "z0", "s3", "z128"]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s3", "z128"], ["xq"]),
        helper.make_node("QLinearConv", conv, ["conv"], pads=[1, 1, 1, 1]),
        helper.make_node("MaxPool", ["conv"], ["pool"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["pool"], ["flat"]),
        helper.make_node("QLinearMatMul", dense, ["dense"]),
        helper.make_node("DequantizeLinear", ["dense", "s3", "z128"], ["scores"]),
    ]
    scales = {f"s{k}": from_numpy(np.array(2.0**-k, np.float32)) for k in (3, 4, 5, 6)}
    zeros = {
        "z128": from_numpy(np.array(128, np.uint8)),
        "u0": from_numpy(np.array(0, np.uint8)),
        "z0": from_numpy(np.array(0, np.int8)),
    }
    weights = {
        "w1": from_numpy(CONV_WEIGHT.astype(np.int8)),
        "b1": from_numpy((CONV_BIAS * 32).astype(np.int32)),
        "w2": from_numpy(DENSE_WEIGHT.astype(np.int8)),
    }
    return _model(nodes, {**scales, **zeros, **weights}, ("float32", batch), "scores")


def int8_values(x: Array) -> dict[str, Array]:
    """Compute every value of the int8 model; all numbers are whole, or halves before rounding."""
    quantized = saturate(x * 8, 128)
    products = convolve(quantized - 128, CONV_WEIGHT) + (CONV_BIAS * 32)[:, None, None]
    conv = saturate(products * 2.0**-1, 0)
    pool = max_pool(conv)
    flat = pool.reshape(1, -1)
    dense = saturate(flat @ DENSE_WEIGHT * 2.0**-8, 128)
    hidden = {"xq": quantized, "conv": conv, "pool": pool, "flat": flat, "dense": dense}
    return {**hidden, "scores": (dense - 128) / 8}


def saturate(values: Array, zero_point: int) -> Array:
    """Round to nearest, ties to even, add the zero point and keep within 8 bits."""
    return np.clip(np.rint(values) + zero_point, 0, 255)


def convolve(x: Array, weight: Array) -> Array:
    """Convolve a batch of one with 3×3 kernels, one zero around it."""
    padded = np.pad(x[0], ((0, 0), (1, 1), (1, 1)))
    height, width = x.shape[2:]
    parts = [
        np.einsum("oc,chw->ohw", weight[:, :, i, j], padded[:, i : i + height, j : j + width])
        for i in range(3)
        for j in range(3)
    ]
    return np.asarray(np.sum(parts, axis=0))[None]


def max_pool(x: Array) -> Array:
    """Keep the largest of each 2×2 block."""
    batch, channels, height, width = x.shape
    blocks = x.reshape(batch, channels, height // 2, 2, width // 2, 2)
    return np.asarray(blocks.max(axis=(3, 5)))


def unknown_operator_model(operator: str) -> onnx.ModelProto:
    """Build Relu and then an operator that nothing knows."""
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("Relu", ["x"], ["relu"]),
        helper.make_node(operator, ["relu"], ["y"], domain="com.microsoft"),
    ]
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 4]) for n in ("x", "y")]
    graph = helper.make_graph(nodes, "unknown", values[:1], values[1:])
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


def _model(
    nodes: list[onnx.NodeProto],
    tensors: Mapping[str, Tensor],
    kind: tuple[str, str | int],
    output: str,
) -> onnx.ModelProto:
    from onnx import helper

    dtype, batch = kind
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", _onnx_type(dtype), [batch, 2, 8, 8])],
        [helper.make_tensor_value_info(output, _onnx_type(dtype), [batch, 5])],
        [_initializer(name, tensor) for name, tensor in tensors.items()],
    )
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


def _initializer(name: str, tensor: Tensor) -> onnx.TensorProto:
    from onnx import helper

    return helper.make_tensor(name, _onnx_type(tensor.dtype), tensor.shape, tensor.data(), raw=True)


def _onnx_type(dtype: str) -> int:
    from onnx import TensorProto

    name = {"float32": "FLOAT", "float64": "DOUBLE"}.get(dtype, dtype.upper())
    return int(TensorProto.DataType.Value(name))
