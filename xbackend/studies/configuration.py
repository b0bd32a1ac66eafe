"""What a study is run with: a shipped configuration, a user's own, what the command line says."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from xbackend.errors import UsageError, did_you_mean
from xbackend.worker.contract import PRECISIONS

Configuration = dict[str, Any]

SIZES = ("small", "full")
"""The shipped configurations of every study: of seconds, and of the paper's size."""

KINDS: Mapping[str, str] = {
    "number": "a whole number from 1 on",
    "numbers": "a list of whole numbers from 1 on",
    "word": "a text",
    "words": "a list of texts",
}
"""What a value may be, in words."""


@dataclass(frozen=True)
class ConfigKey:
    """One key of a configuration."""

    name: str
    kind: str
    """One of `KINDS`."""
    help: str
    choices: tuple[str, ...] = ()
    """Texts that are known; empty where any is taken."""
    may_be_empty: bool = False
    """Whether a list may have no members."""


COMMON = (
    ConfigKey("backends", "words", "words of backends"),
    ConfigKey("platforms", "words", "as for --platform"),
    ConfigKey("threads", "numbers", "numbers of threads"),
    ConfigKey("precision", "word", "of all runs", PRECISIONS),
    ConfigKey("settings", "words", "as for --set", may_be_empty=True),
)
"""Keys that every study has."""


def shipped(study: str, size: str, keys: Sequence[ConfigKey]) -> Configuration:
    """Return a configuration that comes with the study."""
    path = files("xbackend.studies") / "configurations" / f"{study}.{size}.json"
    return check(json.loads(path.read_text(encoding="utf-8")), keys, str(path))


def read(path: Path, keys: Sequence[ConfigKey]) -> Configuration:
    """Return what a user's file says. Raises UsageError for what it must not."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{path} is no JSON ({error}). Begin with a copy of a shipped configuration: "
            "xbackend study NAME --show"
        ) from error
    return check(found, keys, str(path))


def check(found: object, keys: Sequence[ConfigKey], where: str) -> Configuration:
    """Return a configuration whose keys are known and whose values are of their kind, each once.

    >>> check({"filters": [1, 3, 1]}, [ConfigKey("filters", "numbers", "how many")], "here")
    {'filters': [1, 3]}
    """
    if not isinstance(found, dict):
        raise UsageError(f"{where} must hold one JSON object, whose keys are the study's.")
    known = {key.name: key for key in keys}
    for name, value in found.items():
        if name not in known:
            raise UsageError(
                f"{where} has the key '{name}'. Known keys: {', '.join(known)}."
                f"{did_you_mean(name, known)}"
            )
        _check_value(known[name], value, where)
    return {name: _unique(value) for name, value in found.items()}


def _unique(value: Any) -> Any:
    return list(dict.fromkeys(value)) if isinstance(value, list) else value


def _check_value(key: ConfigKey, value: object, where: str) -> None:
    values = value if key.kind in ("numbers", "words") else [value]
    wanted = int if key.kind.startswith("number") else str
    sound = isinstance(values, list) and all(_is(wanted, each) for each in values)
    if not sound or (value == [] and not key.may_be_empty):
        raise UsageError(f"{where}: '{key.name}' must be {KINDS[key.kind]}, not {_shown(value)}.")
    for each in values if isinstance(values, list) else ():
        if key.choices and each not in key.choices:
            raise UsageError(
                f"{where}: '{key.name}' does not know '{each}'. Known: {', '.join(key.choices)}."
            )


def _is(wanted: type, value: object) -> bool:
    if wanted is int:
        return isinstance(value, int) and not isinstance(value, bool) and value >= 1
    return isinstance(value, str) and bool(value)


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
