"""A tensor as bits: an array and the name of its format, bfloat16 included."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Dict, Tuple

import numpy as np

STORAGE = {"bfloat16": "uint16"}
"""Formats that NumPy lacks, and the NumPy dtype that holds their bits."""


@dataclass(frozen=True)
class Tensor:
    """An array whose bits are those of the format `dtype`."""

    dtype: str
    """NumPy's name of the format, or `bfloat16`."""
    array: np.ndarray[Any, Any]
    """The elements; bfloat16 is kept as the uint16 of the same bits."""

    @property
    def shape(self) -> Tuple[int, ...]:
        """The extent of each axis."""
        return tuple(int(extent) for extent in self.array.shape)

    def data(self) -> bytes:
        """Return the elements as little-endian bytes in C order."""
        array = np.ascontiguousarray(self.array)
        return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()

    def digest(self) -> str:
        """Return the SHA-256 of `data()`, in hexadecimal."""
        return hashlib.sha256(self.data()).hexdigest()

    def record(self) -> Dict[str, Any]:
        """Return dtype, shape and digest, as a run's record holds them."""
        return {"dtype": self.dtype, "shape": list(self.shape), "digest": self.digest()}


def from_numpy(array: np.ndarray[Any, Any]) -> Tensor:
    """Wrap a NumPy array under its own dtype.

    >>> from_numpy(np.zeros((1, 2), np.float32)).dtype
    'float32'
    """
    return Tensor(array.dtype.name, array)


def storage_dtype(dtype: str) -> np.dtype[Any]:
    """Return the little-endian NumPy dtype that holds a format.

    >>> storage_dtype("bfloat16").name
    'uint16'
    """
    return np.dtype(STORAGE.get(dtype, dtype)).newbyteorder("<")


def from_bytes(dtype: str, shape: Tuple[int, ...], data: bytes) -> Tensor:
    """Read a tensor from little-endian bytes. Raises ValueError if their number does not fit."""
    return Tensor(dtype, np.frombuffer(data, storage_dtype(dtype)).reshape(shape))


def cast(tensor: Tensor, dtype: str) -> Tensor:
    """Round a tensor to another format, to nearest, ties to even; the identity where it has it.

    Only NumPy and integers are used, so the bits are the same on every machine.
    """
    if tensor.dtype == dtype:
        return tensor
    array = _float32_of_bfloat16(tensor.array) if tensor.dtype == "bfloat16" else tensor.array
    if dtype == "bfloat16":
        return Tensor(dtype, _bfloat16_of_float32(array.astype(np.float32)))
    with np.errstate(over="ignore"):
        return Tensor(dtype, array.astype(storage_dtype(dtype)))


def _float32_of_bfloat16(bits: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def _bfloat16_of_float32(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    bits = np.ascontiguousarray(values).view(np.uint32)
    odd = (bits >> np.uint32(16)) & np.uint32(1)
    rounded = ((bits + np.uint32(0x7FFF) + odd) >> np.uint32(16)).astype(np.uint16)
    quiet = ((bits >> np.uint32(16)) | np.uint32(0x40)).astype(np.uint16)
    return np.where(np.isnan(values), quiet, rounded).reshape(values.shape)
