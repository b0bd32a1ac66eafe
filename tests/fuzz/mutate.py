"""Changes to bytes, texts and JSON that are sound until then: what hostile files are made of."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable, Sequence
from typing import Any

Mutator = Callable[[random.Random, bytes, Sequence[bytes]], bytes]
"""From a source of chance, an input and the whole corpus to another input."""

LARGEST = 1 << 18
"""Bytes of an input: what is slow with these is slow by its form, not by its size."""

INTEGERS = (
    0, 1, 2, 7, 8, 16, 31, 32, 63, 64, 100, 127, 128, 255, 256, 0x7FFF, 0x8000, 0xFFFF, 0x10000,
    2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40, 2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1,
)  # fmt: skip
ODD_TEXTS = (
    "", " ", ".", "..", "/", "../../../dev/zero", "/dev/stdin", "C:\\x", "a\nb", "a\rb", "\0",
    "\x1b[2J", "\x9b31m", "\u202eabc", "\u2028", "\ud800", "²", "٣", "🙂" * 3, "=1+1", "@x", "-",
    "--help", "%s%n", "{}", "${HOME}", "`id`", "a" * 300, "x" * 70_000, "nan", "NaN", "-0",
    "1e999", "0x10", "1_000", "true", "null", "None", "float32", "bfloat16", "int4", "ok",
    "failed", "0" * 64, "é" * 40, "__class__", "keras.layers", "Lambda", "native",
)  # fmt: skip
ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63 - 1, 2**63, -(2**63), 2**64, 10**40, 1.5, -0.0,
    1e308, float("nan"), float("inf"), [], {}, [[]], [None], {"": None}, *ODD_TEXTS,
)  # fmt: skip


def change_bytes(chance: random.Random, data: bytes, corpus: Sequence[bytes]) -> bytes:
    """Flip, overwrite, cut, repeat or splice, once or several times."""
    made = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 5, 9))):
        chance.choice(BYTE_STEPS)(chance, made, corpus)
    return bytes(made[:LARGEST])


def _flip(chance: random.Random, made: bytearray, corpus: Sequence[bytes]) -> None:
    if made:
        made[chance.randrange(len(made))] ^= 1 << chance.randrange(8)


def _overwrite(chance: random.Random, made: bytearray, corpus: Sequence[bytes]) -> None:
    if made:
        made[chance.randrange(len(made))] = chance.randrange(256)


def _integer(chance: random.Random, made: bytearray, corpus: Sequence[bytes]) -> None:
    size = chance.choice((1, 2, 4, 8))
    order = chance.choice(("little", "big"))
    value = (chance.choice(INTEGERS) + chance.choice((0, 0, 1, -1, len(made)))) % (1 << 8 * size)
    if len(made) >= size:
        at = chance.randrange(len(made) - size + 1)
        made[at : at + size] = value.to_bytes(size, order)  # type: ignore[arg-type]


def _cut(chance: random.Random, made: bytearray, corpus: Sequence[bytes]) -> None:
    if made:
        start = chance.randrange(len(made))
        del made[start : start + chance.choice((1, 2, 4, 16, 256, 1 << 20))]


def _repeat(chance: random.Random, made: bytearray, corpus: Sequence[bytes]) -> None:
    if made:
        start = chance.randrange(len(made))
        part = made[start : start + chance.choice((1, 2, 4, 16, 64, 1024))]
        at = chance.randrange(len(made) + 1)
        made[at:at] = part * chance.choice((1, 1, 2, 10, 100))


def _truncate(chance: random.Random, made: bytearray, corpus: Sequence[bytes]) -> None:
    if made:
        del made[chance.randrange(len(made)) :]


def _splice(chance: random.Random, made: bytearray, corpus: Sequence[bytes]) -> None:
    other = chance.choice(corpus)
    if made and other:
        start = chance.randrange(len(other))
        made[chance.randrange(len(made)) :] = other[start:]


def _insert_text(chance: random.Random, made: bytearray, corpus: Sequence[bytes]) -> None:
    at = chance.randrange(len(made) + 1)
    made[at:at] = chance.choice(ODD_TEXTS).encode("utf-8", "surrogatepass")


BYTE_STEPS = (_flip, _overwrite, _integer, _cut, _repeat, _truncate, _splice, _insert_text)


def change_json(chance: random.Random, data: bytes, corpus: Sequence[bytes]) -> bytes:
    """Change values, keys and lists of a JSON document; now and then its bytes."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return change_bytes(chance, data, corpus)
    for _ in range(chance.choice((1, 1, 2, 4))):
        document = change_value(chance, document)
    made = json.dumps(document, ensure_ascii=chance.random() < 0.5)
    found = made.encode("utf-8", "surrogatepass")[:LARGEST]
    return change_bytes(chance, found, corpus) if chance.random() < 0.15 else found


def change_value(chance: random.Random, document: Any) -> Any:
    """Return a JSON value that differs at one place."""
    places = list(_places(document))
    if not places or chance.random() < 0.02:
        return odd_value(chance)
    holder, key = chance.choice(places)
    step = chance.randrange(8)
    if step < 4:
        holder[key] = near_value(chance, holder[key])
    elif step == 4:
        del holder[key]
    elif step == 5:
        _move(chance, holder, key, chance.choice(places))
    elif isinstance(holder, dict):
        name = chance.choice((*ODD_TEXTS, str(key) + "x"))
        holder[name] = holder.pop(key) if step == 6 else odd_value(chance)
    else:
        holder[key:key] = [holder[key]] * chance.choice((1, 2, 40))
    return document


def _move(chance: random.Random, holder: Any, key: Any, other: tuple[Any, Any]) -> None:
    """Put a copy of one place's value at another: what is sound, where it does not belong."""
    try:
        value = json.dumps(other[0][other[1]])
    except RecursionError:
        return
    if len(value) < 1 << 16:
        holder[key] = json.loads(value)


def _places(document: Any) -> Any:
    waiting = [document]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict | list):
            for key in item if isinstance(item, dict) else range(len(item)):
                yield item, key
                waiting.append(item[key])


def near_value(chance: random.Random, value: Any) -> Any:
    """Return a value that is odd in the place of another, of the same kind half of the time."""
    if chance.random() < 0.5:
        if isinstance(value, str) and value:
            at = chance.randrange(len(value))
            return value[:at] + chance.choice(ODD_TEXTS[:40]) + value[at + 1 :]
        if isinstance(value, int):
            return value + chance.choice((1, -1, 2**31, 2**63, -(2**63)))
    return odd_value(chance)


def odd_value(chance: random.Random) -> Any:
    """Return a value that hardly anything expects."""
    if chance.random() < 0.03:
        deep: Any = 0
        for _ in range(chance.choice((10, 40, 500))):
            deep = [deep] if chance.random() < 0.5 else {"a": deep}
        return deep
    value = chance.choice(ODD_VALUES)
    return json.loads(json.dumps(value)) if isinstance(value, list | dict) else value


def change_text(words: Sequence[str]) -> Mutator:
    """Return a mutator of short texts, made of words that belong there and odd ones."""

    def change(chance: random.Random, data: bytes, corpus: Sequence[bytes]) -> bytes:
        text = as_text(data)
        for _ in range(chance.choice((1, 1, 2, 3))):
            word = chance.choice((*words, *words, *ODD_TEXTS))
            at = chance.randrange(len(text) + 1)
            end = at + chance.choice((0, 0, 1, len(word), len(text)))
            text = text[:at] + word + text[end:]
        return text.encode("utf-8", "surrogatepass")[:LARGEST]

    return change


def as_text(data: bytes) -> str:
    """Return a text as a command line holds it: bytes that are no UTF-8 become surrogates."""
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return data.decode("utf-8", "surrogateescape")


def pack_integer(value: int, size: int = 4) -> bytes:
    """Return a number as a little-endian word, cut to its size."""
    return struct.pack("<Q", value % (1 << 64))[:size]
