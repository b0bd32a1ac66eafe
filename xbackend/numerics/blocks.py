"""Tensors that are read block by block, as bits: from memory, or from a file of the store."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from xbackend.errors import StoreError
from xbackend.worker.tensor import storage_dtype

if TYPE_CHECKING:
    from xbackend.worker.tensor import Tensor

Bits = np.ndarray[Any, Any]
"""A one-dimensional array of unsigned integers, one for each element of a tensor."""


class TensorBlocks(Protocol):
    """A tensor whose bits can be asked for piece by piece."""

    @property
    def dtype(self) -> str:
        """NumPy's name of the format, or `bfloat16`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The extent of each axis."""

    def bits(self, start: int, stop: int) -> Bits:
        """Return the bits of elements in C order; they hold until the next call."""


@dataclass(frozen=True)
class MemoryBlocks:
    """Blocks of an array, which are views of it."""

    dtype: str
    shape: tuple[int, ...]
    flat: Bits

    def bits(self, start: int, stop: int) -> Bits:
        """Return a view of the array."""
        return self.flat[start:stop]


@dataclass(frozen=True)
class FileBlocks:
    """Blocks of a file of raw little-endian elements, opened only while one is read.

    However large the file and however many there are, each holds one block in memory and none
    holds a file descriptor.
    """

    dtype: str
    shape: tuple[int, ...]
    path: Path
    buffer_cache: list[Bits] = field(default_factory=list, repr=False, compare=False)
    """The buffer that blocks are read into, once there is one."""

    def bits(self, start: int, stop: int) -> Bits:
        """Read a block. Raises StoreError where the file is gone or too short."""
        buffer = self._buffer(stop - start)
        got = self._read(buffer.data.cast("B"), start * buffer.itemsize)
        if got != buffer.nbytes:
            raise StoreError(
                f"{self.path} ends before element {stop} of {self.dtype} {list(self.shape)}: "
                "delete it and run again."
            )
        return buffer

    def _buffer(self, count: int) -> Bits:
        if not self.buffer_cache or self.buffer_cache[0].size < count:
            self.buffer_cache[:] = [np.empty(count, unsigned_dtype(self.dtype))]
        return self.buffer_cache[0][:count]

    def _read(self, into: memoryview, offset: int) -> int:
        try:
            handle = os.open(self.path, os.O_RDONLY)
            try:
                return os.preadv(handle, [into], offset)
            finally:
                os.close(handle)
        except OSError as error:
            raise StoreError(f"Cannot read {self.path}: {error.strerror or error}.") from error


def blocks_of_tensor(tensor: Tensor) -> MemoryBlocks:
    """Give a tensor in memory as blocks; it is copied only if it is not contiguous."""
    flat = np.ascontiguousarray(tensor.array).reshape(-1)
    return MemoryBlocks(tensor.dtype, tensor.shape, flat.view(unsigned_dtype(tensor.dtype)))


def blocks_of_file(path: Path, dtype: str, shape: tuple[int, ...]) -> FileBlocks:
    """Give a file of raw elements as blocks. Raises StoreError if its size does not fit."""
    blocks = FileBlocks(dtype, shape, path)
    try:
        size = path.stat().st_size
    except OSError as error:
        raise StoreError(f"Cannot read {path}: {error.strerror or error}.") from error
    if size != prod(shape) * unsigned_dtype(dtype).itemsize:
        raise StoreError(
            f"{path} holds {size} bytes, which is not {dtype} {list(shape)}: "
            "delete it and run again."
        )
    return blocks


def unsigned_dtype(dtype: str) -> np.dtype[Any]:
    """Return the dtype of unsigned integers as wide as a format's elements.

    >>> unsigned_dtype("bool").name, unsigned_dtype("bfloat16").name, unsigned_dtype("float64").name
    ('uint8', 'uint16', 'uint64')
    """
    return np.dtype(f"u{storage_dtype(dtype).itemsize}")


def view_as_numbers(dtype: str, bits: Bits) -> np.ndarray[Any, Any]:
    """Return the numbers that bits stand for: a view of them, but a float32 copy for bfloat16.

    >>> view_as_numbers("bfloat16", np.array([0x3FC0], np.uint16))
    array([1.5], dtype=float32)
    """
    if dtype == "bfloat16":
        wide: Bits = bits.astype(np.uint32) << np.uint32(16)
        return wide.view(np.float32)
    return bits.view(storage_dtype(dtype))


def element_count(blocks: TensorBlocks) -> int:
    """Return the number of elements, 1 for a tensor without axes."""
    return prod(blocks.shape)


BLOCK = 1 << 20
"""Elements that are looked at together."""


def count_nonfinite(blocks: TensorBlocks) -> int:
    """Return how many elements of a tensor of floats are NaN or infinite."""
    total = element_count(blocks)
    return sum(
        int(np.count_nonzero(~np.isfinite(_numbers(blocks, start, min(start + BLOCK, total)))))
        for start in range(0, total, BLOCK)
    )


def _numbers(blocks: TensorBlocks, start: int, stop: int) -> np.ndarray[Any, Any]:
    return view_as_numbers(blocks.dtype, blocks.bits(start, stop))
