"""Resize: picked elements times weights, added from the lowest place to the highest.

Places and weights are computed in float64 and weights rounded to the format; axes follow each
other in their order, and every product and sum is rounded.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from xbackend.worker.geometry import resize as geometry
from xbackend.worker.geometry.shapes import along

from ..operands import given, need

if TYPE_CHECKING:
    from typing import Callable, Dict, List, Mapping, Optional, Sequence, Tuple

    from xbackend.worker.geometry.resize import Axis
    from xbackend.worker.graph import Node

    Array = np.ndarray[Any, Any]
    Inputs = List[Optional[Array]]


def resize(node: Node, inputs: Inputs) -> List[Array]:
    """Resize by scales or to sizes."""
    x = need(inputs, 0)
    lists = (_listed(given(inputs, index)) for index in (1, 2, 3))
    for place, axis in geometry.axes_of(node, x.shape, *lists).items():
        if axis.cropped or not axis.trivial:
            x = _along(node.attributes, x, place, axis)
    return [x]


def _listed(array: Optional[Array]) -> List[Any]:
    return [] if array is None else array.ravel().tolist()


def _along(attributes: Mapping[str, Any], x: Array, place: int, axis: Axis) -> Array:
    """Resize one axis."""
    origins = axis.origins(attributes["coordinate_transformation_mode"])
    columns = [geometry.taps(attributes, axis, origin, _places) for origin in origins]
    shape = along(place, x.ndim)
    result: Any = None
    for step in range(max(len(column) for column in columns)):
        taps = [c[step] if step < len(c) else (c[-1][0], 0.0) for c in columns]
        part = np.take(x, [axis.clamp(where) for where, _ in taps], axis=place)
        if attributes["mode"] != "nearest":
            part = part * np.array([w for _, w in taps]).astype(x.dtype).reshape(shape)
        result = part if result is None else result + part
    if axis.cropped:
        outside = np.array([axis.is_outside(origin) for origin in origins])
        value = np.array(attributes.get("extrapolation_value", 0.0)).astype(x.dtype)
        result = np.where(outside.reshape(shape), value, result)
    return np.asarray(result)


def _places(origin: float, reach: float) -> Sequence[int]:
    """Return the places within reach, and on the far side one more, of weight 0."""
    return range(math.floor(origin - reach) + 1, math.ceil(origin + reach) + 1)


OPERATORS: Dict[Tuple[str, str], Callable[[Any, Any], Any]] = {("", "Resize"): resize}
"""The operator of each domain and name."""
