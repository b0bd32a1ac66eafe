"""ONNX operators as PyTorch computes them: one table, a file for each family."""

from __future__ import annotations

from typing import Dict

from . import (
    activation,
    convolution,
    elementwise,
    integers,
    linear,
    normalise,
    places,
    pooling,
    quantise,
    reduce,
    resize,
    select,
    shape,
)
from .operator import Operator

TABLE: Dict[str, Operator] = {
    **activation.TABLE,
    **convolution.TABLE,
    **elementwise.TABLE,
    **integers.TABLE,
    **linear.TABLE,
    **normalise.TABLE,
    **places.TABLE,
    **pooling.TABLE,
    **quantise.TABLE,
    **reduce.TABLE,
    **resize.TABLE,
    **select.TABLE,
    **shape.TABLE,
}
"""Everything of ONNX's own domain that PyTorch has here; Constant is no operation."""
