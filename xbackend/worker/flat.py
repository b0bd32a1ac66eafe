"""The flat graph, a TensorFlow Lite file: which of its tensors are outputs, and making more so.

What a runtime keeps of a tensor that is no output is not to be relied on: its memory is used
again, even where the runtime is told to preserve all tensors (tflite-runtime 2.14.0 then lets an
operation write over its input, and leaves XNNPACK out as well). An output it keeps.

The file is a FlatBuffer: tables with offsets (https://flatbuffers.dev/internals/), laid out after
tensorflow/lite/schema/schema.fbs.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Iterable, List

SUBGRAPHS, OUTPUTS = 2, 2
"""Numbers of the fields `Model.subgraphs` and `SubGraph.outputs` in the schema."""
ALIGNMENT = 16
"""Bytes to which what is appended is aligned; a vector of 32-bit numbers needs 4."""


def with_outputs(data: bytes, indices: Iterable[int]) -> bytes:
    """Return a flat graph in which these tensors are outputs too, after those that it has.

    Nothing else changes: the new list of outputs is appended to the file and the graph's reference
    to the old one led to it. Raises ValueError where the file is not of that form.
    """
    try:
        place = _field(data, _first_graph(data), OUTPUTS)
        now = _numbers(data, place + _unsigned(data, place))
        listed = list(dict.fromkeys([*now, *indices]))
        file = bytearray(data)
        file.extend(bytes(-len(file) % ALIGNMENT))
        struct.pack_into("<I", file, place, len(file) - place)
        file.extend(struct.pack(f"<I{len(listed)}i", len(listed), *listed))
    except struct.error as error:
        raise ValueError(f"This is no sound TensorFlow Lite file: {error}.") from error
    return bytes(file)


def _first_graph(data: bytes) -> int:
    """Return where the table of the main graph lies."""
    place = _field(data, _unsigned(data, 0), SUBGRAPHS)
    first = place + _unsigned(data, place) + 4
    return first + _unsigned(data, first)


def _field(data: bytes, table: int, number: int) -> int:
    """Return where a field of a table lies, by the table's list of offsets."""
    listed = table - struct.unpack_from("<i", data, table)[0]
    entry = 4 + 2 * number
    (size,) = struct.unpack_from("<H", data, listed)
    offset = struct.unpack_from("<H", data, listed + entry)[0] if entry < size else 0
    if not offset:
        raise ValueError(f"This is no sound TensorFlow Lite file: it lacks field {number}.")
    return int(table + offset)


def _unsigned(data: bytes, place: int) -> int:
    return int(struct.unpack_from("<I", data, place)[0])


def _numbers(data: bytes, place: int) -> List[int]:
    """Return the 32-bit numbers of a vector."""
    return list(struct.unpack_from(f"<{_unsigned(data, place)}i", data, place + 4))
