"""Activations: those that PyTorch has as one function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from xbackend.worker.geometry.shapes import flattened

from .operator import Operator, ignoring_node

if TYPE_CHECKING:
    from xbackend.worker.graph import Node

A_SIXTH = float(np.float32(1 / 6))
"""The slope of `torch.nn.Hardsigmoid` as ONNX stores it."""


def _leaky_relu(node: Node, value: Tensor) -> Tensor:
    return F.leaky_relu(value, node.attributes["alpha"])


def _prelu(node: Node, value: Tensor, slope: Tensor) -> Tensor:
    """Use `F.prelu` where the slope is one number or one for each channel."""
    channels = value.shape[1] if value.dim() > 1 else 1
    aligned = slope.dim() == value.dim() - 1 and slope.shape[:1] == (channels,)
    if slope.numel() == 1 or (aligned and slope.numel() == channels):
        return F.prelu(value, slope.reshape(-1))
    return torch.where(value > 0, value, value * slope)


def _elu(node: Node, value: Tensor) -> Tensor:
    return F.elu(value, node.attributes["alpha"])


def _selu(node: Node, value: Tensor) -> Tensor:
    """Call what `F.selu` calls, with the node's own constants."""
    return torch.ops.aten.elu(value, node.attributes["alpha"], node.attributes["gamma"])


def _celu(node: Node, value: Tensor) -> Tensor:
    return F.celu(value, node.attributes["alpha"])


def _hard_sigmoid(node: Node, value: Tensor) -> Tensor:
    alpha, beta = node.attributes["alpha"], node.attributes["beta"]
    if (alpha, beta) == (A_SIXTH, 0.5):
        return F.hardsigmoid(value)
    return torch.clamp(value * alpha + beta, 0, 1)


def _gelu(node: Node, value: Tensor) -> Tensor:
    return F.gelu(value, approximate=node.attributes["approximate"])


def _thresholded_relu(node: Node, value: Tensor) -> Tensor:
    return F.threshold(value, node.attributes["alpha"], 0.0)


def _shrink(node: Node, value: Tensor) -> Tensor:
    """Move towards zero by the bias beyond a limit, to zero within."""
    limit, bias = node.attributes["lambd"], node.attributes["bias"]
    above = torch.where(value > limit, value - bias, torch.zeros_like(value))
    return torch.where(value < -limit, value + bias, above)


def _over_axis(function: Callable[[Tensor, int], Tensor]) -> Callable[..., Tensor]:
    """Make a softmax; before opset 13 all axes from the named one on count as one."""

    def compute(node: Node, value: Tensor) -> Tensor:
        axis = node.attributes["axis"]
        if not node.attributes.get("coerce_2d"):
            return function(value, axis)
        rows = value.reshape(flattened(value.shape, axis))
        return function(rows, 1).reshape(value.shape)

    return compute


TABLE = {
    "Celu": Operator(_celu),
    "Elu": Operator(_elu),
    "Gelu": Operator(_gelu),
    "HardSigmoid": Operator(_hard_sigmoid),
    "HardSwish": Operator(ignoring_node(F.hardswish)),
    "LeakyRelu": Operator(_leaky_relu),
    "LogSoftmax": Operator(_over_axis(F.log_softmax)),
    "Mish": Operator(ignoring_node(F.mish)),
    "PRelu": Operator(_prelu),
    "Relu": Operator(ignoring_node(torch.relu)),
    "Selu": Operator(_selu),
    "Shrink": Operator(_shrink),
    "Sigmoid": Operator(ignoring_node(torch.sigmoid)),
    "Softmax": Operator(_over_axis(F.softmax)),
    "Softplus": Operator(ignoring_node(F.softplus)),
    "Softsign": Operator(ignoring_node(F.softsign)),
    "Tanh": Operator(ignoring_node(torch.tanh)),
    "ThresholdedRelu": Operator(_thresholded_relu),
}
