"""Small networks with random weights, to quantize and to run, the same in each test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx

Array = np.ndarray[Any, Any]


class RandomNet:
    """A network that grows node by node; each value is named after its node."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def node(self, name: str, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output."""
        from onnx import helper

        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def constant(self, name: str, array: Array) -> str:
        """Add a constant."""
        from onnx import numpy_helper

        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def weight(self, name: str, *shape: int) -> str:
        """Add a weight of normal numbers that keeps the size of what it multiplies."""
        spread = np.sqrt(np.prod(shape[1:])) if len(shape) > 1 else 4.0
        return self.constant(name, (self.random.normal(size=shape) / spread).astype(np.float32))

    def conv(self, name: str, x: str, shape: tuple[int, ...], **attributes: Any) -> str:
        """Add a convolution with bias; `shape` is the kernel's."""
        kernel, bias = self.weight(f"{name}.w", *shape), self.weight(f"{name}.b", shape[0])
        return self.node(name, "Conv", x, kernel, bias, **attributes)

    def dense(self, name: str, x: str, outputs: int, inputs: int) -> str:
        """Add a fully connected layer."""
        kernel, bias = self.weight(f"{name}.w", outputs, inputs), self.weight(f"{name}.b", outputs)
        return self.node(name, "Gemm", x, kernel, bias, transB=1)

    def norm(self, name: str, x: str, channels: int, **attributes: Any) -> str:
        """Add a BatchNormalization with all of its statistics."""
        parts = [self.weight(f"{name}.{part}", channels) for part in ("scale", "shift", "mean")]
        variance = self.random.uniform(0.5, 2, channels).astype(np.float32)
        parts.append(self.constant(f"{name}.variance", variance))
        return self.node(name, "BatchNormalization", x, *parts, **attributes)

    def model(
        self, output: str, shape: list[Any], outputs: list[Any], opset: int = 17
    ) -> onnx.ModelProto:
        """Return the model from `x` to `output`."""
        from onnx import TensorProto, helper

        graph = helper.make_graph(
            self.nodes,
            "net",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, outputs)],
            self.weights,
        )
        opsets = [helper.make_opsetid("", opset)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def plain_net(seed: int = 0, batch: Any = 1, opset: int = 17) -> onnx.ModelProto:
    """Build two convolutions with poolings and three dense layers, for 32x32 pixels."""
    net = RandomNet(seed)
    x = net.node("relu1", "Relu", net.conv("conv1", "x", (3, 3, 3, 3)))
    x = net.node("pool1", "MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = net.node("relu2", "Relu", net.conv("conv2", x, (5, 3, 5, 5)))
    x = net.node("pool2", "MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = net.node("flat", "Flatten", x)
    x = net.node("relu3", "Relu", net.dense("dense1", x, 128, 125))
    x = net.node("relu4", "Relu", net.dense("dense2", x, 128, 128))
    x = net.node("dense3", "MatMul", x, net.weight("dense3.w", 128, 10))
    x = net.node("scores", "Add", x, net.weight("dense3.b", 10))
    net.node("probabilities", "Softmax", x, axis=1)
    return net.model("probabilities", [batch, 3, 32, 32], [batch, 10], opset)


def branched_net(seed: int = 0) -> onnx.ModelProto:
    """Build a network with an operator of each kind that the quantizer has in integers."""
    net = RandomNet(seed)
    around = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    x = net.node("relu", "Relu", net.conv("conv", "x", (8, 3, 3, 3), **around))
    x = net.node("residual", "Add", x, net.conv("conv2", x, (8, 8, 3, 3), **around))
    x = net.node("average", "AveragePool", x, strides=[2, 2], **around)
    gate = net.node("gate", "Sigmoid", net.conv("depth", x, (8, 1, 3, 3), group=8, **around))
    gated = net.node("gated", "Mul", gate, x)
    leaky = net.node("leaky", "LeakyRelu", x, alpha=0.1)
    joined = net.node("joined", "Concat", gated, leaky, x, axis=1)
    pads = net.constant("pads", np.array([0, 0, 1, 1, 0, 0, 1, 0]))
    x = net.conv("point", net.node("padded", "Pad", joined, pads), (10, 24, 1, 1))
    x = net.node("turned", "Transpose", x, perm=[0, 1, 3, 2])
    x = net.node("mean", "GlobalAveragePool", x)
    net.dense("dense", net.node("flat", "Flatten", x), 10, 10)
    net.node("probabilities", "Softmax", "dense")
    return net.model("probabilities", [1, 3, 16, 16], [1, 10])


def normalised_net(seed: int = 0) -> onnx.ModelProto:
    """Build two convolutions, each before a BatchNormalization; the second is read twice."""
    net = RandomNet(seed)
    x = net.norm("norm1", net.conv("conv1", "x", (4, 3, 3, 3)), 4, epsilon=1e-3)
    second = net.conv("conv2", net.node("relu", "Relu", x), (4, 4, 3, 3))
    net.node("sum", "Add", net.norm("norm2", second, 4), second)
    return net.model("sum", [1, 3, 8, 8], [1, 4, 4, 4])


NETS = {"plain": plain_net, "branched": branched_net, "normalised": normalised_net}


def samples(model: onnx.ModelProto, count: int, seed: int = 0) -> Array:
    """Return inputs for such a network, `count` of them along the first axis."""
    extents = model.graph.input[0].type.tensor_type.shape.dim[1:]
    shape = [count, *(extent.dim_value for extent in extents)]
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)
