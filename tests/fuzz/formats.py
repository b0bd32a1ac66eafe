"""Changes to protobuf messages, flatbuffers and zip archives that keep their outer form."""

from __future__ import annotations

import copy
import io
import random
import struct
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

from .mutate import INTEGERS, LARGEST, ODD_TEXTS, Mutator, change_bytes, pack_integer

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
Field = list[Any]
"""Number, wire type and value of a field; a message within is a list of such."""


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a variable-length integer and where it ends. Raises ValueError, IndexError."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a varint of more than ten bytes")


def write_varint(value: int) -> bytes:
    """Return a number as a variable-length integer."""
    value %= 1 << 64
    made = bytearray()
    while value > 127:
        made.append(value & 127 | 128)
        value >>= 7
    return bytes([*made, value])


def parse_message(data: bytes, depth: int = 0) -> list[Field]:
    """Return the fields of a message, those that look like messages parsed as well.

    Raises ValueError or IndexError for what is none.
    """
    fields: list[Field] = []
    at = 0
    while at < len(data):
        tag, at = read_varint(data, at)
        number, kind = tag >> 3, tag & 7
        if not 0 < number < 1 << 20:
            raise ValueError("no number of a field")
        if kind == VARINT:
            value, at = read_varint(data, at)
            fields.append([number, kind, value])
            continue
        size = {FIXED64: 8, FIXED32: 4}.get(kind, -1)
        if kind == LENGTH:
            size, at = read_varint(data, at)
        if size < 0 or at + size > len(data):
            raise ValueError("a field beyond the end")
        fields.append([number, kind, _content(data[at : at + size], kind, depth)])
        at += size
    return fields


def _content(data: bytes, kind: int, depth: int) -> Any:
    if kind != LENGTH or not 2 <= len(data) < 20_000 or depth > 12:
        return data
    try:
        return parse_message(data, depth + 1)
    except (ValueError, IndexError):
        return data


def write_message(fields: Sequence[Field]) -> bytes:
    """Return the bytes of a message."""
    made = bytearray()
    for number, kind, value in fields:
        made += write_varint(number << 3 | kind)
        if kind == VARINT:
            made += write_varint(value)
            continue
        data = write_message(value) if isinstance(value, list) else value
        made += (write_varint(len(data)) if kind == LENGTH else b"") + data
    return bytes(made)


def change_protobuf(chance: random.Random, data: bytes, corpus: Sequence[bytes]) -> bytes:
    """Change, repeat, move, leave out and nest fields of a protobuf message."""
    if chance.random() < 0.1:
        return change_bytes(chance, data, corpus)
    try:
        message = parse_message(data)
    except (ValueError, IndexError):
        return change_bytes(chance, data, corpus)
    for _ in range(chance.choice((1, 1, 2, 3, 6))):
        _change_field(chance, message)
    return write_message(message)[:LARGEST]


def _all_fields(message: list[Field]) -> list[tuple[list[Field], int]]:
    found, waiting = [], [message]
    while waiting:
        fields = waiting.pop()
        for place, field in enumerate(fields):
            found.append((fields, place))
            if isinstance(field[2], list):
                waiting.append(field[2])
    return found


def _change_field(chance: random.Random, message: list[Field]) -> None:
    places = _all_fields(message)
    if not places:
        return
    fields, place = chance.choice(places)
    field = fields[place]
    step = chance.randrange(10)
    if step < 5:
        field[2] = _changed(chance, field)
    elif step == 5:
        del fields[place]
    elif step == 6:
        fields[place:place] = [copy.deepcopy(field)] * chance.choice((1, 1, 3, 50))
    elif step == 7:
        others, there = chance.choice(places)
        fields[place] = [field[0], *copy.deepcopy(others[there][1:])]
    elif step == 8:
        field[0] = max(1, field[0] + chance.choice((-1, 1, 5, 100)))
    else:
        others, there = chance.choice(places)
        fields.insert(place, copy.deepcopy(others[there]))


def _changed(chance: random.Random, field: Field) -> Any:
    number, kind, value = field
    if kind == VARINT:
        return chance.choice((*INTEGERS, value + 1, value - 1, chance.randrange(40))) % (1 << 64)
    if kind in (FIXED32, FIXED64):
        return bytes(chance.randrange(256) for _ in range(4 if kind == FIXED32 else 8))
    if isinstance(value, list):
        step = chance.randrange(4)
        if step == 0:
            return b""
        if step == 1:
            return chance.choice(ODD_TEXTS).encode("utf-8", "replace")
        if step == 2:
            for _ in range(chance.choice((2, 30, 120))):
                value = [[number, LENGTH, value]]
            return value
        return value[::-1]
    if chance.random() < 0.4:
        return chance.choice(ODD_TEXTS).encode("utf-8", "replace")
    return change_bytes(chance, value, [value])


def change_flatbuffer(chance: random.Random, data: bytes, corpus: Sequence[bytes]) -> bytes:
    """Change words of a flatbuffer, where they stand: offsets, sizes of vectors, slots."""
    if chance.random() < 0.2 or len(data) < 16:
        return change_bytes(chance, data, corpus)
    made = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4))):
        at = 4 * chance.randrange(len(made) // 4)
        step = chance.randrange(5)
        (value,) = struct.unpack_from("<I", made, at)
        if step == 0:
            made[at : at + 4] = pack_integer(chance.choice(INTEGERS))
        elif step == 1:
            made[at : at + 4] = pack_integer(value + chance.choice((-8, -4, -2, -1, 1, 2, 4, 8)))
        elif step == 2:
            made[at : at + 4] = pack_integer(len(made) + chance.choice((-8, -4, -1, 0, 1, -at)))
        elif step == 3:
            half = at + chance.choice((0, 2))
            made[half : half + 2] = pack_integer(chance.choice((0, 2, 4, 6, 8, 40, 65535)), 2)
        else:
            target = 4 * chance.randrange(len(made) // 4)
            made[at : at + 4] = pack_integer(target - at)
    return bytes(made)


def change_archive(inner: Mapping[str, Mutator], keep_header: bool = False) -> Mutator:
    """Return a mutator of zip archives; members whose names end so are changed by their mutator."""

    def change(chance: random.Random, data: bytes, corpus: Sequence[bytes]) -> bytes:
        if chance.random() < 0.25:
            return change_bytes(chance, data, corpus)
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                members = [[info.filename, archive.read(info)] for info in archive.infolist()]
        except Exception:  # of what mutations have left of it anything may come
            return change_bytes(chance, data, corpus)
        return _rewritten(chance, members, inner)[:LARGEST]

    return change


def _rewritten(
    chance: random.Random, members: list[list[Any]], inner: Mapping[str, Mutator]
) -> bytes:
    for _ in range(chance.choice((1, 1, 2, 3))):
        if members:
            _change_member(chance, members, inner)
    kinds = (zipfile.ZIP_STORED,) * 8 + (zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", chance.choice(kinds)) as archive:
        for name, content in members:
            archive.writestr(_named(name), content)
    made = bytearray(stream.getvalue())
    if chance.random() < 0.2:
        _lie(chance, made)
    return bytes(made)


def _named(name: str) -> zipfile.ZipInfo:
    """Return a member of any name, also of one that zip files should not have."""
    info = zipfile.ZipInfo("x")
    info.filename = name.encode("utf-8", "replace").decode()[:1000]
    return info


def _change_member(
    chance: random.Random, members: list[list[Any]], inner: Mapping[str, Mutator]
) -> None:
    member = chance.choice(members)
    step = chance.randrange(10)
    if step < 6:
        change = next((inner[end] for end in inner if member[0].endswith(end)), change_bytes)
        member[1] = change(chance, member[1], [member[1]])
    elif step == 6:
        member[0] = chance.choice((*ODD_TEXTS, member[0] + "x", chance.choice(members)[0]))
    elif step == 7:
        members.remove(member)
    elif step == 8:
        members.append(list(member))
    else:
        member[1] = bytes(chance.choice((0, 1, 1 << 12, 1 << 17)))


def _lie(chance: random.Random, made: bytearray) -> None:
    """Change a number in a header of the archive: sizes, offsets, flags, methods."""
    mark = chance.choice((b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06"))
    at = made.find(mark)
    if at >= 0:
        field = at + 4 + 2 * chance.randrange(20)
        size = chance.choice((2, 4))
        made[field : field + size] = pack_integer(chance.choice(INTEGERS), size)
