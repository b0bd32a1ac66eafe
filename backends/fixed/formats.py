"""What formats of floats there are, how float16 is computed, and the one NaN."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xbackend.worker.contract import Unsupported

if TYPE_CHECKING:
    from typing import Callable, List, Optional

    from xbackend.worker.graph import Node

    Array = np.ndarray[Any, Any]
    Inputs = List[Optional[Array]]
    Operator = Callable[[Node, Inputs], List[Array]]

DTYPES = frozenset(
    "bool int8 uint8 int16 uint16 int32 uint32 int64 uint64 float16 float32 float64".split(),
)
"""Formats of which elements can be moved and rounded with NumPy alone."""

CASTS = frozenset(["Cast", "CastLike"])
"""Operators that round to another format than that of their input."""

NAN = float("nan")


def in_its_format(operator: Operator, node: Node, inputs: Inputs) -> List[Array]:
    """Compute a node; one of float16 in float32, each output rounded to float16 once.

    A NaN is the one positive quiet NaN without a payload: which one an operation makes depends
    on the processor.
    """
    floats = [a.dtype for a in inputs if a is not None and a.dtype.kind == "f"]
    if not floats or floats[0] != np.float16 or node.operator in CASTS:
        return [one_nan(np.asarray(array)) for array in operator(node, inputs)]
    wide = [_wide(array) for array in inputs]
    return [one_nan(_narrow(np.asarray(array))) for array in operator(node, wide)]


def _wide(array: Optional[Array]) -> Optional[Array]:
    if array is None or array.dtype != np.float16:
        return array
    return array.astype(np.float32)


def _narrow(array: Array) -> Array:
    if array.dtype != np.float32:
        return array
    with np.errstate(over="ignore"):
        return array.astype(np.float16)


def one_nan(array: Array) -> Array:
    """Replace every NaN by the one without sign and payload."""
    if array.dtype.kind != "f":
        return array
    wrong = np.isnan(array)
    if not wrong.any():
        return array
    return np.where(wrong, np.array(NAN).astype(array.dtype), array)


def keep_denormals() -> None:
    """Raise Unsupported in a process whose processor was told to take small numbers for zeros."""
    smallest = np.array([1, 1, 1, 1], np.int32).view(np.float32)
    if not (smallest * np.float32(1.0)).all():
        raise Unsupported("This process takes denormal numbers for zeros, so its bits are no rule.")
