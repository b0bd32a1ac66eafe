"""How operators read their inputs: which are there, and how scales broadcast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from xbackend.worker.geometry import shapes

from . import arithmetic

if TYPE_CHECKING:
    from typing import Callable, List, Optional, Tuple

    Array = np.ndarray[Any, Any]
    Inputs = List[Optional[Array]]

MICROSOFT = "com.microsoft"
"""The domain of ONNX Runtime's own operators."""


@dataclass(frozen=True)
class Scale:
    """How the integers of one whole tensor stand for real numbers."""

    scale: Array
    """A float32 scalar."""
    zero_point: Array
    """A scalar of the tensor's own type: the integer that stands for 0."""

    @property
    def dtype(self) -> str:
        """Name of the integers' format."""
        return str(self.zero_point.dtype.name)

    def quantize(self, values: Array) -> Array:
        """Return the nearest integers of float32 values."""
        return arithmetic.quantize(values, self.scale, self.zero_point, self.dtype)

    def dequantize(self, values: Array) -> Array:
        """Return the float32 values that integers stand for."""
        return arithmetic.dequantize(values, self.scale, self.zero_point)

    def centre(self, values: Array) -> Array:
        """Take the zero point off, exactly."""
        return values.astype(np.int64) - self.zero_point.astype(np.int64)


def given(inputs: Inputs, index: int) -> Optional[Array]:
    """Return an optional input; None where it is left out."""
    return inputs[index] if index < len(inputs) else None


def need(inputs: Inputs, index: int) -> Array:
    """Return an input that must be there. Raises ValueError where it is left out."""
    array = given(inputs, index)
    if array is None:
        raise ValueError(f"An operator lacks its input {index}.")
    return array


def scale_of(inputs: Inputs, index: int, dtype: str) -> Scale:
    """Read a tensor's scale from an input, and its zero point from the next one; 0 if missing."""
    zero_point = zero_or(given(inputs, index + 1), dtype)
    return Scale(need(inputs, index).reshape(()), zero_point.reshape(()))


def zero_or(zero_point: Optional[Array], dtype: str) -> Array:
    """Return a zero point, 0 where it is left out."""
    return np.zeros((), dtype) if zero_point is None else zero_point


def along(array: Array, axis: int, rank: int) -> Array:
    """Shape a scale or zero point so that it broadcasts along one axis of a tensor."""
    if array.size == 1:
        return array.reshape(())
    return array.reshape(shapes.along(axis, rank))


def per_row(array: Array) -> Array:
    """Shape a scale or zero point of a matrix's rows."""
    if array.size == 1:
        return array.reshape(())
    return array.reshape(-1, 1) if array.ndim == 1 else array


def per_column(array: Array) -> Array:
    """Shape a scale or zero point of a matrix's columns."""
    return array.reshape(()) if array.size == 1 else array


def rows_along(
    values: Array, axis: int, whole: bool = False
) -> Tuple[Array, Callable[[Array], Array]]:
    """Bring what lies along an axis into rows, and return how to undo it.

    As a whole, all axes from that one on are a row together.
    """
    if whole:
        rows = values.reshape(shapes.flattened(values.shape, axis))
        return rows, lambda back: back.reshape(values.shape)
    moved = np.moveaxis(values, axis, -1)
    rows = moved.reshape(-1, moved.shape[-1])
    return rows, lambda back: np.moveaxis(back.reshape(moved.shape), -1, axis)


def rounded(function: Callable[[Array], Array], values: Array) -> Array:
    """Evaluate a function of float64, and round what it gives to the format once."""
    with np.errstate(all="ignore"):
        return np.asarray(function(values.astype(np.float64))).astype(values.dtype)
