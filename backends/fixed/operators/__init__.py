"""All operators of `fixed` by domain and name, and how a node is computed by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..formats import in_its_format
from . import (
    activation,
    contraction,
    einsum,
    elementwise,
    layout,
    linear,
    normalise,
    pooling,
    quantized,
    reduction,
    resize,
    select,
    trees,
)

if TYPE_CHECKING:
    from typing import List, Mapping, Optional

    from xbackend.worker.graph import Node

    Array = np.ndarray[Any, Any]

MOVING = {**layout.OPERATORS, **select.OPERATORS}
"""What moves elements and computes none: the bits stay, those of a NaN too."""

FLOAT_PRODUCTS = frozenset(contraction.OPERATORS)
"""What sums products of floats; a model in int8 has none."""

COMPUTING = {
    key: operator
    for family in (
        elementwise,
        activation,
        reduction,
        normalise,
        pooling,
        resize,
        contraction,
        einsum,
        linear,
        quantized,
        trees,
    )
    for key, operator in family.OPERATORS.items()
}
"""What computes elements."""

OPERATORS = {**MOVING, **COMPUTING}
"""What computes the operator of each domain and name."""


def compute(node: Node, values: Mapping[str, Array]) -> List[Array]:
    """Compute a node's outputs from the values that there are."""
    inputs: List[Optional[Array]] = [values[name] if name else None for name in node.inputs]
    key = (node.domain, node.operator)
    if key in MOVING:
        outputs: List[Array] = MOVING[key](node, inputs)
        return outputs
    return in_its_format(COMPUTING[key], node, inputs)
