"""Reads a TensorFlow Lite file without a runtime: its tensors, constants and operations.

The file is a flatbuffer. Every offset in it is checked against the file's end, so a truncated or
hostile file gives a ModelError, never a wild read. Field numbers are those of TensorFlow's
`schema.fbs`, which only ever adds fields.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from xbackend.errors import ModelError

IDENTIFIER = b"TFL3"
CUSTOM = 32
"""The number of an operation that is named by text: custom ones and TensorFlow's own (`Flex…`)."""

DTYPES = {
    0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 5: "string", 6: "bool",
    7: "int16", 8: "complex64", 9: "int8", 10: "float64", 11: "complex128", 12: "uint64",
    13: "resource", 14: "variant", 15: "uint32", 16: "uint16", 17: "int4", 18: "bfloat16",
}  # fmt: skip

FOREIGN_DTYPES = frozenset({"string", "resource", "variant", "int4", "bfloat16", "unknown"})
"""What NumPy has no elements for."""

FLOATS = frozenset({"float16", "float32", "float64", "bfloat16"})

T = TypeVar("T")


@dataclass(frozen=True)
class FlatTensor:
    """One tensor of the main graph; its place in the list is its number."""

    name: str
    dtype: str
    """NumPy's name where it has one."""
    shape: tuple[int, ...]
    signature: tuple[int, ...]
    """The shape with -1 where an extent is free."""
    constant: np.ndarray[Any, Any] | None
    """The elements where the file holds them, None for what is computed or fed."""
    scale: float
    """Step of a quantized tensor with one step for all, 0 elsewhere."""
    zero_point: int
    is_quantized: bool
    """Whether integers stand for steps, of the whole tensor or of each channel."""


@dataclass(frozen=True)
class FlatFile:
    """What a TensorFlow Lite file says of its main graph."""

    tensors: tuple[FlatTensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operations: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]
    """Inputs and outputs of each operation, in the order of computation; -1 for one left out."""
    foreign: tuple[str, ...]
    """Names of the operations that are not TensorFlow Lite's own."""

    def weights(self) -> dict[str, np.ndarray[Any, Any]]:
        """Return the constants that are weights, by name; shapes, axes and indices are none.

        A name that occurs twice carries the tensor's number from the second time on.
        """
        found: dict[str, np.ndarray[Any, Any]] = {}
        for index, tensor in enumerate(self.tensors):
            if tensor.constant is not None and (tensor.dtype in FLOATS or tensor.is_quantized):
                name = f"{tensor.name}#{index}" if tensor.name in found else tensor.name
                found[name] = tensor.constant
        return found


def read_flat_file(path: Path) -> FlatFile:
    """Read a file. Raises ModelError where it is missing, truncated or of another format."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"Cannot read the model {path}: {error.strerror or error}.") from error
    if data[4:8] != IDENTIFIER:
        raise ModelError(
            f"{path} is not a TensorFlow Lite file ({len(data)} bytes): it lacks the mark "
            f"{IDENTIFIER.decode()}."
        )
    try:
        return _file(_Table.root(data))
    except (struct.error, IndexError, ValueError, OverflowError) as error:
        raise ModelError(
            f"{path} is not a whole TensorFlow Lite file ({len(data)} bytes): it is truncated "
            "or damaged. Get the file again."
        ) from error


def refuse_foreign_operations(file: FlatFile, path: Path) -> None:
    """Raise ModelError if the file needs operations that no runtime on the package index has."""
    if file.foreign:
        raise ModelError(
            f"{path} has operations that are not TensorFlow Lite's own: "
            f"{', '.join(file.foreign)}. Convert the model with built-in operations only."
        )


@dataclass(frozen=True)
class _Table:
    """A flatbuffer table: fields by number, each of which may be absent."""

    data: bytes
    at: int

    @classmethod
    def root(cls, data: bytes) -> _Table:
        return cls(data, _unsigned(data, 0))

    def _field(self, number: int) -> int:
        """Return where a field is, 0 where it is absent."""
        vtable = self.at - int(struct.unpack_from("<i", self.data, _sound(self.at))[0])
        (size,) = struct.unpack_from("<H", self.data, _sound(vtable))
        slot = 4 + 2 * number
        if slot + 2 > size:
            return 0
        (offset,) = struct.unpack_from("<H", self.data, vtable + slot)
        return self.at + offset if offset else 0

    def number(self, field: int, form: str, default: int = 0) -> int:
        where = self._field(field)
        return int(struct.unpack_from(form, self.data, where)[0]) if where else default

    def table(self, field: int) -> _Table | None:
        where = self._field(field)
        return _Table(self.data, where + _unsigned(self.data, where)) if where else None

    def text(self, field: int) -> str:
        return bytes(self.array(field, np.dtype(np.uint8))).decode("utf-8", "replace")

    def array(self, field: int, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
        """Return a vector of numbers, empty where it is absent."""
        where = self._field(field)
        if not where:
            return np.empty(0, dtype)
        start, count = self._vector(where)
        return np.frombuffer(self.data, dtype.newbyteorder("<"), count, start)

    def integers(self, field: int) -> tuple[int, ...]:
        return tuple(int(value) for value in self.array(field, np.dtype(np.int32)))

    def tables(self, field: int, read: Callable[[_Table], T]) -> tuple[T, ...]:
        return tuple(read(table) for table in self._tables(field))

    def _tables(self, field: int) -> Iterator[_Table]:
        where = self._field(field)
        start, count = self._vector(where) if where else (0, 0)
        if start + 4 * count > len(self.data):
            raise IndexError(count)
        for at in range(start, start + 4 * count, 4):
            yield _Table(self.data, at + _unsigned(self.data, at))

    def _vector(self, where: int) -> tuple[int, int]:
        start = where + _unsigned(self.data, where)
        return start + 4, _unsigned(self.data, start)


def _sound(at: int) -> int:
    if at < 0:
        raise IndexError(at)
    return at


def _unsigned(data: bytes, at: int) -> int:
    return int(struct.unpack_from("<I", data, _sound(at))[0])


def _file(model: _Table) -> FlatFile:
    graphs = model.tables(2, lambda table: table)
    buffers = model.tables(4, _buffer)
    codes = model.tables(1, _code)
    graph = graphs[0]
    file = FlatFile(
        tensors=graph.tables(0, lambda table: _tensor(table, buffers)),
        inputs=graph.integers(1),
        outputs=graph.integers(2),
        operations=graph.tables(3, lambda table: (table.integers(1), table.integers(2))),
        foreign=tuple(sorted({name for name in codes if name})),
    )
    used = {*file.inputs, *file.outputs, *(i for op in file.operations for i in (*op[0], *op[1]))}
    if used and not -1 <= min(used) <= max(used) < len(file.tensors):
        raise IndexError("an operation names a tensor that is not there")
    return file


def _code(table: _Table) -> str:
    """Return the name of a foreign operation, the empty string for a built-in one."""
    number = max(table.number(0, "<b"), table.number(3, "<i"))
    return (table.text(1) or "unnamed") if number == CUSTOM else ""


def _buffer(table: _Table) -> np.ndarray[Any, Any]:
    """Return the bytes of a constant: within the flatbuffer, or after it in a large file."""
    offset, size = table.number(1, "<Q"), table.number(2, "<Q")
    if offset > 1:
        return np.frombuffer(table.data, np.uint8, size, offset)
    return table.array(0, np.dtype(np.uint8))


def _tensor(table: _Table, buffers: tuple[np.ndarray[Any, Any], ...]) -> FlatTensor:
    shape = table.integers(0)
    dtype = DTYPES.get(table.number(1, "<b"), "unknown")
    scale, zero_point, is_quantized = _quantization(table.table(4))
    return FlatTensor(
        name=table.text(3),
        dtype=dtype,
        shape=shape,
        signature=table.integers(7) or shape,
        constant=_constant(buffers[table.number(2, "<I")], dtype, shape),
        scale=scale,
        zero_point=zero_point,
        is_quantized=is_quantized,
    )


def _constant(
    data: np.ndarray[Any, Any], dtype: str, shape: tuple[int, ...]
) -> np.ndarray[Any, Any] | None:
    """Return the elements; as plain bytes where NumPy lacks the format or they are packed."""
    if not data.size:
        return None
    if dtype in FOREIGN_DTYPES:
        return data
    elements = data.view(np.dtype(dtype).newbyteorder("<"))
    return elements.reshape(shape) if elements.size == math.prod(shape) else elements


def _quantization(table: _Table | None) -> tuple[float, int, bool]:
    """Return step and zero point where there is one for the whole tensor, and whether any."""
    if table is None:
        return 0.0, 0, False
    scales = table.array(2, np.dtype(np.float32))
    zero_points = table.array(3, np.dtype(np.int64))
    if scales.size != 1 or zero_points.size != 1:
        return 0.0, 0, bool(scales.size)
    return float(scales[0]), int(zero_points[0]), True
