"""Kinds of JSON values: one declaration checks a value and is written out as a JSON Schema."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from xbackend.store.escaping import CONTROL, quoted

Document = dict[str, Any]

MAX_TEXT = 65_536
"""Characters of a text that nothing else limits."""
MAX_ROWS = 1_000_000
MAX_INTEGER = 2**63 - 1
MAX_DEPTH = 32
"""Levels of lists and tables of which nothing is known."""
SURROGATES = r"\ud800-\udfff"
NAME = f"[^{CONTROL}{SURROGATES}]+"
UNICODE = f"[^{SURROGATES}]+"
NAME_FORM = "name without control characters"
WORD_FORM = "word of letters, digits and dots, dashes and colons within it"
SHA256 = "[0-9a-f]{64}"


class Mismatch(ValueError):
    """A value is not of its kind; `path` leads to it."""

    def __init__(self, said: str) -> None:
        super().__init__(said)
        self.said = said
        self.path: list[str] = []

    def __str__(self) -> str:
        return f"'{'.'.join(reversed(self.path))}' {self.said}" if self.path else self.said


class Kind:
    """A kind of JSON values."""

    def check(self, value: Any) -> None:
        """Raise Mismatch where a value is not of this kind."""
        raise NotImplementedError

    def document(self) -> Document:
        """Return the JSON Schema of this kind."""
        raise NotImplementedError


@dataclass(frozen=True)
class Text(Kind):
    """A string, of one pattern as a whole if there is one."""

    pattern: str = ""
    most: int = MAX_TEXT
    """Characters."""
    choices: tuple[str, ...] = ()
    form: str = ""
    """The pattern in words, for whoever reads what is wrong."""
    compiled: re.Pattern[str] | None = field(init=False, compare=False, default=None)

    def __post_init__(self) -> None:
        object.__setattr__(self, "compiled", re.compile(self.pattern) if self.pattern else None)

    def check(self, value: Any) -> None:
        """Raise Mismatch for what is no such string."""
        if not isinstance(value, str):
            raise Mismatch(f"is {_kind_of(value)}, not text")
        if len(value) > self.most:
            raise Mismatch(f"has {len(value)} characters, more than {self.most}")
        if self.choices and value not in self.choices:
            raise Mismatch(f"is {quoted(value)}, none of {', '.join(self.choices)}")
        if self.compiled is not None and self.compiled.fullmatch(value) is None:
            raise Mismatch(f"is {quoted(value)}, which is no {self.form or 'text of its form'}")

    def document(self) -> Document:
        """Return the JSON Schema of this kind."""
        if self.choices:
            return {"enum": list(self.choices)}
        pattern = {"pattern": f"^{self.pattern}$"} if self.pattern else {}
        return {"type": "string", "maxLength": self.most, **pattern}


@dataclass(frozen=True)
class Integer(Kind):
    """A whole number within bounds; a truth value is none."""

    least: int = -MAX_INTEGER
    most: int = MAX_INTEGER

    def check(self, value: Any) -> None:
        """Raise Mismatch for what is no such number."""
        if type(value) is not int:
            raise Mismatch(f"is {_kind_of(value)}, not a whole number")
        if not self.least <= value <= self.most:
            raise Mismatch(f"is not from {self.least} to {self.most}")

    def document(self) -> Document:
        """Return the JSON Schema of this kind."""
        return {"type": "integer", "minimum": self.least, "maximum": self.most}


@dataclass(frozen=True)
class Number(Kind):
    """A number of any size that a double holds; NaN and infinities, too, which Python reads."""

    def check(self, value: Any) -> None:
        """Raise Mismatch for what is no number."""
        if type(value) is int:
            Integer().check(value)
        elif type(value) is not float:
            raise Mismatch(f"is {_kind_of(value)}, not a number")

    def document(self) -> Document:
        """Return the JSON Schema of this kind."""
        return {"type": "number"}


@dataclass(frozen=True)
class Truth(Kind):
    """True or false."""

    def check(self, value: Any) -> None:
        """Raise Mismatch for what is neither."""
        if type(value) is not bool:
            raise Mismatch(f"is {_kind_of(value)}, not true or false")

    def document(self) -> Document:
        """Return the JSON Schema of this kind."""
        return {"type": "boolean"}


@dataclass(frozen=True)
class Nullable(Kind):
    """Null or a value of a kind."""

    kind: Kind

    def check(self, value: Any) -> None:
        """Raise Mismatch for what is neither."""
        if value is not None:
            self.kind.check(value)

    def document(self) -> Document:
        """Return the JSON Schema of this kind."""
        return {"anyOf": [{"type": "null"}, self.kind.document()]}


@dataclass(frozen=True)
class Rows(Kind):
    """A list of values of one kind."""

    kind: Kind
    most: int = MAX_ROWS

    def check(self, value: Any) -> None:
        """Raise Mismatch for what is no such list."""
        if not isinstance(value, (list, tuple)):  # JSON has lists, a record that is made, both
            raise Mismatch(f"is {_kind_of(value)}, not a list")
        if len(value) > self.most:
            raise Mismatch(f"has {len(value)} entries, more than {self.most}")
        place, check = 0, self.kind.check
        try:
            for row in value:
                check(row)
                place += 1
        except Mismatch as error:
            error.path.append(str(place))
            raise

    def document(self) -> Document:
        """Return the JSON Schema of this kind."""
        return {"type": "array", "items": self.kind.document(), "maxItems": self.most}


@dataclass(frozen=True)
class Table(Kind):
    """An object: keys that it must have, keys that it may have, and what all others hold."""

    needs: Mapping[str, Kind] = field(default_factory=dict)
    may: Mapping[str, Kind] = field(default_factory=dict)
    others: Kind | None = None
    """The kind of all other values; None where they are anything JSON, within bounds."""
    most: int = 10_000
    """How many keys."""

    def check(self, value: Any) -> None:
        """Raise Mismatch for what is no such object."""
        if type(value) is not dict:
            raise Mismatch(f"is {_kind_of(value)}, not an object")
        if len(value) > self.most:
            raise Mismatch(f"has {len(value)} keys, more than {self.most}")
        for key in self.needs:
            if key not in value:
                raise Mismatch(f"lacks the key '{key}'")
        others = self.others or ANYTHING
        key = ""
        try:
            for key, inner in value.items():
                kind = self.needs.get(key) or self.may.get(key)
                if kind is None:
                    KEY.check(key)
                (kind or others).check(inner)
        except Mismatch as error:
            error.path.append(quoted(key)[1:-1])
            raise

    def document(self) -> Document:
        """Return the JSON Schema of this kind."""
        keys = {name: kind.document() for name, kind in {**self.needs, **self.may}.items()}
        return {
            "type": "object",
            **({"properties": keys} if keys else {}),
            **({"required": list(self.needs)} if self.needs else {}),
            **({"additionalProperties": self.others.document()} if self.others else {}),
        }


@dataclass(frozen=True)
class Anything(Kind):
    """Any JSON value that is not nested too deep, nor holds texts or numbers without end."""

    depth: int = MAX_DEPTH

    def check(self, value: Any) -> None:
        """Raise Mismatch for a value that is too much."""
        if value is None or type(value) in (bool, float):
            return
        if type(value) is int:
            Integer().check(value)
        elif isinstance(value, str):
            ANY_TEXT.check(value)
        elif self.depth == 0:
            raise Mismatch(f"is nested more than {MAX_DEPTH} levels deep")
        elif isinstance(value, dict):
            Table(others=Anything(self.depth - 1)).check(value)
        else:
            Rows(Anything(self.depth - 1)).check(value)

    def document(self) -> Document:
        """Return the JSON Schema of this kind: everything."""
        return {}


ANY_TEXT = Text()
KEY = Text(pattern=NAME, most=1024, form=NAME_FORM)
ANYTHING = Anything()


def _kind_of(value: Any) -> str:
    names = {dict: "an object", list: "a list", tuple: "a list", str: "text", bool: "true or false"}
    return "null" if value is None else names.get(type(value), "a number")
