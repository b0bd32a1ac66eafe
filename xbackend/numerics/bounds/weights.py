"""Which weights a sample has touched: a weight that only met zeros could hold any number."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from .arithmetic import Array


def touched(operator: str, attributes: Mapping[str, Any], x: Array, weights: Array) -> Array | None:
    """Return of each weight, up to its output channels, whether it met a number other than 0.

    Of Conv: input channel and place in the window, for each group; of Gemm and MatMul: the common
    axis. None for other operators.

    >>> touched("MatMul", {}, np.array([[1.0, 0.0]]), np.ones((2, 3))).tolist()
    [True, False]
    """
    if operator == "Conv":
        return _window(attributes, x, weights)
    if operator == "MatMul" and weights.ndim == 2 and x.ndim:
        return np.asarray((x != 0).reshape(-1, x.shape[-1]).any(0))
    if operator == "Gemm":
        return np.asarray((x != 0).any(1 if attributes.get("transA") else 0))
    return None


def _window(attributes: Mapping[str, Any], x: Array, weights: Array) -> Array | None:
    kernel = weights.shape[2:]
    rank = len(kernel)
    if str(attributes.get("auto_pad", "NOTSET")) not in ("NOTSET", "VALID", ""):
        return None
    pads = list(attributes.get("pads") or [0] * 2 * rank)
    strides = list(attributes.get("strides") or [1] * rank)
    dilations = list(attributes.get("dilations") or [1] * rank)
    live = (x != 0).any(0)
    found = np.zeros((live.shape[0], *kernel), bool)
    for place in itertools.product(*map(range, kernel)):
        parts: list[slice] = []
        for axis, at in enumerate(place):
            extent = x.shape[2 + axis]
            reach = dilations[axis] * (kernel[axis] - 1) + 1
            count = (extent + pads[axis] + pads[rank + axis] - reach) // strides[axis] + 1
            first = at * dilations[axis] - pads[axis]
            skipped = max(0, -(first // strides[axis])) if first < 0 else 0
            stop = min(extent, first + (count - 1) * strides[axis] + 1)
            parts.append(slice(first + skipped * strides[axis], max(0, stop), strides[axis]))
        places = (slice(None), *parts)
        area = live[places]
        here = (slice(None), *place)
        found[here] = area.reshape(len(live), -1).any(1)
    return found
