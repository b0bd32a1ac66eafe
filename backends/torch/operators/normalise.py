"""Normalisations."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, Mapping, Optional, Tuple, Union

import torch
import torch.nn.functional as F
from torch import Tensor

from .operator import Operator, has_output

if TYPE_CHECKING:
    from xbackend.worker.graph import Node


def _batch(
    node: Node, value: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor
) -> Tensor:
    epsilon = node.attributes["epsilon"]
    return F.batch_norm(value, mean, variance, scale, bias, training=False, eps=epsilon)


def _lacks_training(node: Node, constants: Mapping[str, Any]) -> str:
    if node.attributes.get("training_mode") or any(node.outputs[1:]):
        return "with training_mode=1, which is not inference"
    return ""


def _local_response(node: Node, value: Tensor) -> Tensor:
    """Normalise over neighbouring channels; of an even window ONNX has the odd one behind."""
    size = node.attributes["size"]
    rest = (node.attributes["alpha"], node.attributes["beta"], node.attributes["bias"])
    if size % 2:
        return F.local_response_norm(value, size, *rest)
    return F.local_response_norm(value.flip(1), size, *rest).flip(1)


def _instance(node: Node, value: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    epsilon = node.attributes["epsilon"]
    return F.instance_norm(value, weight=scale, bias=bias, use_input_stats=True, eps=epsilon)


def _layer(
    node: Node, value: Tensor, scale: Tensor, bias: Optional[Tensor] = None
) -> Union[Tensor, Tuple[Tensor, Tensor, Tensor]]:
    """Normalise over the last axes; a scale of another shape is applied afterwards."""
    axis = node.attributes["axis"] % value.dim()
    shape = list(value.shape[axis:])
    epsilon = node.attributes["epsilon"]
    fused = list(scale.shape) == shape and (bias is None or list(bias.shape) == shape)
    weights = (scale, bias) if fused else (None, None)
    result, mean, deviation = torch.native_layer_norm(value, shape, *weights, epsilon)
    if not fused:
        result = result * scale if bias is None else result * scale + bias
    if has_output(node, 1) or has_output(node, 2):
        return result, mean, deviation
    return result


def _group(node: Node, value: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    groups, epsilon = node.attributes["num_groups"], node.attributes["epsilon"]
    if scale.shape[0] == value.shape[1]:
        return F.group_norm(value, groups, scale, bias, epsilon)
    each = value.shape[1] // groups
    return F.group_norm(
        value, groups, scale.repeat_interleave(each), bias.repeat_interleave(each), epsilon
    )


def _lp(node: Node, value: Tensor) -> Tensor:
    return F.normalize(value, p=node.attributes["p"], dim=node.attributes["axis"])


def _mean_variance(node: Node, value: Tensor) -> Tensor:
    axes = node.attributes["axes"]
    centred = value - value.mean(axes, keepdim=True)
    return centred / (torch.sqrt(torch.square(centred).mean(axes, keepdim=True)) + 1e-9)


def _dropout(
    node: Node, value: Tensor, ratio: Any = None, training: Any = None
) -> Union[Tensor, Tuple[Tensor, Tensor]]:
    """Drop nothing: this is inference. The mask is of the input's format before opset 10."""
    if not has_output(node, 1):
        return value
    dtype = value.dtype if node.attributes["opset"] < 10 else torch.bool
    return value, torch.ones_like(value, dtype=dtype)


def _lacks_dropping(node: Node, constants: Mapping[str, Any]) -> str:
    training = node.inputs[2] if len(node.inputs) > 2 else ""
    if not training:
        return ""
    if training not in constants:
        return "with a computed training_mode"
    if bool(constants[training].array.all()) and prod(constants[training].shape):
        return "with training_mode=1, which is not inference"
    return ""


TABLE = {
    "BatchNormalization": Operator(_batch, lacks=_lacks_training),
    "Dropout": Operator(_dropout, lacks=_lacks_dropping),
    "GroupNormalization": Operator(_group),
    "InstanceNormalization": Operator(_instance),
    "LRN": Operator(_local_response),
    "LayerNormalization": Operator(_layer),
    "LpNormalization": Operator(_lp),
    "MeanVarianceNormalization": Operator(_mean_variance),
}
