"""Normalisations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping, Optional, Tuple, Union

import torch
import torch.nn.functional as F
from torch import Tensor

from xbackend.worker.contract import Unsupported

from .operator import Operator

if TYPE_CHECKING:
    from xbackend.worker.graph import Node

AT_RANDOM = "with training_mode=1, which drops at random"
CURE = "Choose other backends with --backends."


def _batch(
    node: Node, value: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor
) -> Union[Tensor, Tuple[Tensor, Tensor, Tensor]]:
    """Normalise by the given statistics, or in training mode by those of the batch."""
    epsilon = node.attributes["epsilon"]
    if not node.attributes.get("training_mode"):
        return F.batch_norm(value, mean, variance, scale, bias, training=False, eps=epsilon)
    axes = [axis for axis in range(value.dim()) if axis != 1]
    now, spread = value.mean(axes), value.var(axes, correction=0)
    result = F.batch_norm(value, now, spread, scale, bias, training=False, eps=epsilon)
    keep = node.attributes["momentum"]
    return result, mean * keep + now * (1 - keep), variance * keep + spread * (1 - keep)


def _lacks_statistics(node: Node, constants: Mapping[str, Any]) -> str:
    """Before opset 14 further outputs ask for training, without an attribute that says so."""
    asked = any(node.outputs[1:]) and not node.attributes.get("training_mode")
    return "with statistics as outputs" if asked else ""


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
    if node.gives(1) or node.gives(2):
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
    """Drop nothing. The mask is of the input's format before opset 10.

    Raises Unsupported where an input that is computed asks to drop at random.
    """
    if training and ratio != 0:
        raise Unsupported(f"Backend 'torch' lacks Dropout {AT_RANDOM}. {CURE}")
    if not node.gives(1):
        return value
    dtype = value.dtype if node.attributes["opset"] < 10 else torch.bool
    return value, torch.ones_like(value, dtype=dtype)


def _lacks_dropping(node: Node, constants: Mapping[str, Any]) -> str:
    ratio, training = (constants.get(name) for name in (*node.inputs[1:], "", "")[:2])
    if training is None or not training.array.any():
        return ""
    return "" if ratio is not None and not ratio.array.any() else AT_RANDOM


TABLE = {
    "BatchNormalization": Operator(_batch, unsupported_reason=_lacks_statistics),
    "Dropout": Operator(_dropout, python=(1, 2), unsupported_reason=_lacks_dropping),
    "GroupNormalization": Operator(_group),
    "InstanceNormalization": Operator(_instance),
    "LRN": Operator(_local_response),
    "LayerNormalization": Operator(_layer),
    "LpNormalization": Operator(_lp),
    "MeanVarianceNormalization": Operator(_mean_variance),
}
