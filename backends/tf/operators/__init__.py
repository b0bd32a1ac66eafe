"""The table of operators: what each ONNX operator is in TensorFlow."""

from __future__ import annotations

from typing import Any, Callable, Dict

from xbackend.worker import control

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

Operator = Callable[..., Any]
"""Takes the node and its inputs, None for one that is left out; gives a Value or several."""

OPERATORS: Dict[str, Operator] = {
    **activation.OPERATORS,
    **convolution.OPERATORS,
    **elementwise.OPERATORS,
    **integers.OPERATORS,
    **linear.OPERATORS,
    **normalise.OPERATORS,
    **places.OPERATORS,
    **pooling.OPERATORS,
    **quantise.OPERATORS,
    **reduce.OPERATORS,
    **resize.OPERATORS,
    **select.OPERATORS,
    **shape.OPERATORS,
}
"""By the operator's full name."""

KNOWN = control.OPERATORS | OPERATORS.keys()
"""Full names of all operators that there are."""
