"""ONNX operators as PyTorch computes them: one table, a file for each family."""

from __future__ import annotations

from typing import Dict

from . import (
    activation,
    convolution,
    elementwise,
    linear,
    normalise,
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
    **linear.TABLE,
    **normalise.TABLE,
    **pooling.TABLE,
    **quantise.TABLE,
    **reduce.TABLE,
    **resize.TABLE,
    **select.TABLE,
    **shape.TABLE,
}
"""Everything of ONNX's own domain that PyTorch has here; Constant is no operation."""
