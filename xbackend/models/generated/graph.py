"""Writes an ONNX graph layer by layer, with weights out of a seed and taps that can be read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from xbackend.models.generated.random_numbers import Array, glorot_bound, he_bound, uniform_signed
from xbackend.models.variant import RELU, Variant

OPSET = 17
IR_VERSION = 8
EPSILON = 0.001
"""What Keras' BatchNormalization adds to a variance."""


class GraphBuilder:
    """A graph that grows; every method appends a layer and returns the name of what it computes.

    Tensors are (1, channels, rows, columns) until they are flattened. `shape` knows all but the
    first extent.
    """

    def __init__(self, seed: str, variant: Variant = RELU) -> None:
        self.seed = seed
        self.variant = variant
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.shape: dict[str, tuple[int, ...]] = {}
        self.parameters = 0
        """How many numbers were drawn."""

    def image_input(self, name: str, rows: int, columns: int, channels: int) -> str:
        """Take pictures with channels last, as Keras does, and turn them."""
        self.input = (name, (1, rows, columns, channels))
        shape = (channels, rows, columns)
        return self._node("Transpose", f"{name}_nchw", [name], shape, perm=[0, 3, 1, 2])

    def conv(
        self,
        x: str,
        name: str,
        channels: int,
        kernel: int,
        stride: int = 1,
        bias: bool = True,
        pad: int | None = None,
    ) -> str:
        """Convolve with padding "same", or with so many zeros on every side."""
        depth, *extents = self.shape[x]
        shape = (channels, depth, kernel, kernel)
        bound = self._bound(depth * kernel * kernel, channels * kernel * kernel)
        inputs = [x, self._weight(f"{name}/kernel", self._draw(f"{name}/kernel", shape) * bound)]
        if bias:
            inputs.append(self._weight(f"{name}/bias", self._small(f"{name}/bias", channels)))
        window, out = _window(extents, kernel, stride, pad)
        return self._node("Conv", name, inputs, (channels, *out), **window)

    def norm(self, x: str, name: str) -> str:
        """Normalise by given statistics: gamma, beta, mean and deviation are drawn."""
        channels = self.shape[x][0]
        gamma: Array = np.float32(1) + self._draw(f"{name}/gamma", (channels,)) * np.float32(0.25)
        beta, mean = (self._small(f"{name}/{word}", channels) for word in ("beta", "mean"))
        drawn = self._draw(f"{name}/deviation", (channels,))
        deviation: Array = np.float32(1.125) + drawn * np.float32(0.25)
        if self.variant.batchnorm:
            return self._batch_norm(x, name, gamma, beta, mean, deviation)
        return self._scale_and_shift(x, name, gamma, beta, mean, deviation)

    def _batch_norm(self, x: str, name: str, gamma: Array, *others: Array) -> str:
        """Add the operator itself, with deviation² - epsilon for a variance."""
        beta, mean, deviation = others
        variance: Array = deviation * deviation - np.float32(EPSILON)
        vectors = {"gamma": gamma, "beta": beta, "mean": mean, "variance": variance}
        inputs = [x, *(self._weight(f"{name}/{word}", each) for word, each in vectors.items())]
        return self._node("BatchNormalization", name, inputs, self.shape[x], epsilon=EPSILON)

    def _scale_and_shift(self, x: str, name: str, gamma: Array, *others: Array) -> str:
        """Add the product and the sum that become of it for each channel.

        x * scale + shift with scale = gamma / deviation and shift = beta - mean * scale, each step
        rounded to float32.
        """
        beta, mean, deviation = others
        scale: Array = gamma / deviation
        shift: Array = beta - mean * scale
        extents = (len(gamma), 1, 1)
        factor = self._weight(f"{name}/scale", scale.reshape(extents))
        term = self._weight(f"{name}/shift", shift.reshape(extents))
        scaled = self._node("Mul", f"{name}_scaled", [x, factor], self.shape[x])
        return self._node("Add", name, [scaled, term], self.shape[x])

    def activate(self, x: str, prefix: str, number: int | str = "") -> str:
        """Append the variant's activation, named after itself, unless it has none."""
        word = self.variant.activation
        name = f"{prefix}{self.variant.suffix}{number}"
        return self._node(word, name, [x], self.shape[x]) if word else x

    def add(self, x: str, y: str, name: str) -> str:
        """Add two tensors of one shape."""
        return self._node("Add", name, [x, y], self.shape[x])

    def pool(self, x: str, name: str, kernel: int, stride: int, pad: int | None = None) -> str:
        """Take the maximum or the average in windows, padded as `conv` does; no pad is averaged."""
        channels, *extents = self.shape[x]
        window, out = _window(extents, kernel, stride, pad)
        attributes = {"kernel_shape": [kernel, kernel], **window}
        return self._node(self.variant.pooling, name, [x], (channels, *out), **attributes)

    def pad(self, x: str, name: str, count: int) -> str:
        """Put so many zeros on every side of each channel."""
        channels, *extents = self.shape[x]
        amounts = np.array([0, 0, count, count] * 2, np.int64)
        self.weights.append(numpy_helper.from_array(amounts, f"{name}/pads"))
        shape = (channels, *(extent + 2 * count for extent in extents))
        return self._node("Pad", name, [x, f"{name}/pads"], shape)

    def global_average_pool(self, x: str, name: str) -> str:
        """Average each channel and drop the extents."""
        channels = self.shape[x][0]
        averaged = self._node("GlobalAveragePool", name, [x], (channels, 1, 1))
        return self._node("Flatten", f"{name}_flat", [averaged], (channels,))

    def flatten(self, x: str, name: str) -> str:
        """Write all numbers in a row, channels last, as Keras does."""
        channels, rows, columns = self.shape[x]
        shape = (rows, columns, channels)
        turned = self._node("Transpose", f"{name}_nhwc", [x], shape, perm=[0, 2, 3, 1])
        return self._node("Flatten", name, [turned], (channels * rows * columns,))

    def dense(self, x: str, name: str, width: int, calm: int = 4) -> str:
        """Multiply with a matrix whose bound is divided by the root of `calm`.

        It is chosen so that no class drowns the others, which would round differences away.
        """
        (depth,) = self.shape[x]
        bound = self._bound(calm * depth, calm * width)
        kernel = self._draw(f"{name}/kernel", (width, depth)) * bound
        inputs = [
            x,
            self._weight(f"{name}/kernel", kernel),
            self._weight(f"{name}/bias", self._small(f"{name}/bias", width)),
        ]
        return self._node("Gemm", name, inputs, (width,), transB=1)

    def softmax(self, x: str, name: str) -> str:
        """Turn the last layer into probabilities."""
        return self._node("Softmax", name, [x], self.shape[x], axis=-1)

    def model(self, name: str, output: str) -> onnx.ModelProto:
        """Return the finished model."""
        value, (source, shape) = helper.make_tensor_value_info, self.input
        graph = helper.make_graph(
            self.nodes,
            name,
            [value(source, TensorProto.FLOAT, shape)],
            [value(output, TensorProto.FLOAT, (1, *self.shape[output]))],
            self.weights,
        )
        opsets = [helper.make_opsetid("", OPSET)]
        return helper.make_model(
            graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="xbackend"
        )

    def _bound(self, fan_in: int, fan_out: int) -> np.float32:
        return he_bound(fan_in) if self.variant.start == "he" else glorot_bound(fan_in, fan_out)

    def _draw(self, name: str, shape: Sequence[int]) -> Array:
        drawn = uniform_signed(f"{self.seed}/{name}", shape)
        self.parameters += drawn.size
        return drawn

    def _small(self, name: str, count: int) -> Array:
        return self._draw(name, (count,)) * np.float32(0.125)

    def _weight(self, name: str, array: Array) -> str:
        self.weights.append(numpy_helper.from_array(array.astype("<f4"), name))
        return name

    def _node(
        self, operator: str, name: str, inputs: list[str], shape: Sequence[int], **attributes: Any
    ) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [name], name, **attributes))
        self.shape[name] = tuple(shape)
        return name


def _window(
    extents: Sequence[int], kernel: int, stride: int, pad: int | None = None
) -> tuple[dict[str, list[int]], tuple[int, ...]]:
    """Return a window's attributes and the extents of what it gives.

    Without `pad` zeros go where Keras' "same" puts them: more after than before.

    >>> _window((16, 16), 3, 2)
    ({'pads': [0, 0, 1, 1], 'strides': [2, 2]}, (8, 8))
    """
    if pad is None:
        out = tuple(-(-extent // stride) for extent in extents)
        pairs = zip(extents, out, strict=True)
        totals = [max((end - 1) * stride + kernel - extent, 0) for extent, end in pairs]
    else:
        totals = [2 * pad for _ in extents]
        out = tuple((extent + 2 * pad - kernel) // stride + 1 for extent in extents)
    before = [total // 2 for total in totals]
    after = [total - begin for total, begin in zip(totals, before, strict=True)]
    return {"pads": [*before, *after], "strides": [stride, stride]}, out
