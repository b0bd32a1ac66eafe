"""What the functions take, in the many ways that people write it, turned into requests."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any, TypeAlias

from xbackend.errors import UsageError
from xbackend.execution.execute import ExecutionContext
from xbackend.execution.progress import ProgressCallback, ProgressEvent, ProgressLines
from xbackend.platforms.platform import usable_cores
from xbackend.store.store import Store, open_store

Words: TypeAlias = str | Sequence[str] | None
"""One word, several with commas between, or a sequence of them."""
Numbers: TypeAlias = int | str | Sequence[int]
"""One number, several in a sequence, or a text with commas between."""
PathLike: TypeAlias = str | os.PathLike[str]
Settings: TypeAlias = Sequence[str] | Mapping[str, Any] | None
"""Texts `ort.optimization=basic`, or {"ort.optimization": "basic"}, or
{"ort": {"optimization": "basic"}}."""
Where: TypeAlias = Sequence[str] | Mapping[str, Any] | None
"""Texts `KEY=VALUE`, or a key to a value or to several of which any will do."""
StoreLike: TypeAlias = PathLike | Store | None
"""A folder; None for $XBACKEND_STORE or ./.xbackend."""
Progress: TypeAlias = Callable[[ProgressEvent], None] | ProgressLines | None
"""A function that is told of each step; None is told nothing."""


def words(value: Words, name: str = "") -> tuple[str, ...]:
    """Return words, each once. Raises UsageError for what is no text.

    >>> words("tf, ort"), words(["ort", "ort"]), words(None)
    (('tf', 'ort'), ('ort',), ())
    """
    parts = value.split(",") if isinstance(value, str) else texts(value, name)
    return tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))


def specs(value: Words) -> tuple[str, ...]:
    """Return platforms; a text is one, as a comma is part of some.

    >>> specs("qemu:max,-fma"), specs(None)
    (('qemu:max,-fma',), ('native',))
    """
    return texts(value, "platforms=") or ("native",)


def texts(value: Any, name: str = "") -> tuple[str, ...]:
    """Return texts as they are, one or several; none for None. Raises UsageError for others.

    >>> texts("output: flips=0"), texts(["a", "b"]), texts(None)
    (('output: flips=0',), ('a', 'b'), ())
    """
    if value is None or isinstance(value, str):
        return () if value is None else (value,)
    listed = tuple(value) if isinstance(value, Iterable) else (value,)
    if isinstance(value, (bytes, Mapping)) or not all(isinstance(each, str) for each in listed):
        raise UsageError(f"'{name}{value}' must be a text, or a list of texts.")
    return listed


def one_text(name: str, value: str | None) -> str | None:
    """Return a text, or None. Raises UsageError for anything else."""
    if value is not None and not isinstance(value, str):
        raise UsageError(f"'{name}{value}' must be a text.")
    return value


def paths(name: str, value: Any) -> tuple[Path, ...]:
    """Return one path, or several. Raises UsageError for anything else."""
    one = isinstance(value, (str, os.PathLike)) or not isinstance(value, Iterable)
    listed = (value,) if one else tuple(value)
    if not all(isinstance(each, (str, os.PathLike)) for each in listed):
        raise UsageError(f"'{name}{value}' must be a path, or a list of paths.")
    return tuple(map(Path, listed))


def positive_integers(name: str, value: Numbers) -> tuple[int, ...]:
    """Return numbers from 1 on, each once. Raises UsageError for any other, and for none.

    >>> positive_integers("threads=", "1, 12"), positive_integers("threads=", [2, 2])
    ((1, 12), (2,))
    """
    several: Any = words(value) if isinstance(value, str) else value
    several = several if isinstance(several, Iterable) else [several]
    return tuple(dict.fromkeys(positive_integer(name, each) for each in [*several] or [""]))


def positive_integer(name: str, value: int | str) -> int:
    """Return the number that an option takes. Raises UsageError for any below 1."""
    try:
        number = int(value)
    except (ValueError, TypeError, OverflowError):
        number = 0
    if number < 1 or number != (number if isinstance(value, str) else value):
        raise UsageError(f"'{name}{value}' must be a whole number from 1 on.")
    return number


def settings_texts(value: Settings, name: str = "settings=") -> tuple[str, ...]:
    """Return texts `word.key=value`, whose words and keys are checked later.

    >>> settings_texts({"ort": {"optimization": "basic"}, "torch.mkldnn": False})
    ('torch.mkldnn=false', 'ort.optimization=basic')
    """
    if not isinstance(value, Mapping):
        return texts(value, name)
    nested = {
        f"{key}.{inner}": one
        for key, each in value.items()
        for inner, one in (each.items() if isinstance(each, Mapping) else ())
    }
    flat = {key: each for key, each in value.items() if not isinstance(each, Mapping)}
    return tuple(
        f"{key}={_text(each, f'{name}{key}=')}" for key, each in {**flat, **nested}.items()
    )


def where_texts(value: Where) -> tuple[str, ...]:
    """Return texts `KEY=VALUE`. Raises UsageError for a key without a value.

    >>> where_texts({"backend": "ort", "settings.threads": [1, 2]})
    ('backend=ort', 'settings.threads=1', 'settings.threads=2')
    """
    if not isinstance(value, Mapping):
        return texts(value, "where=")
    several = {
        key: list(each) if isinstance(each, (list, tuple, set, frozenset)) else [each]
        for key, each in value.items()
    }
    empty = next((key for key, listed in several.items() if not listed), None)
    if empty is not None:
        raise UsageError(
            f"where= gives no value for {empty!r}, which no run has. Give one, or leave out the "
            "key for all runs."
        )
    return tuple(
        f"{key}={_text(one, f'where= {key}=')}" for key, listed in several.items() for one in listed
    )


def _text(value: Any, name: str) -> str:
    """Return a value as it is typed. Raises UsageError for what is no JSON value."""
    try:
        plain = value.item() if hasattr(value, "dtype") else value
        return plain if isinstance(plain, str) else json.dumps(plain)
    except (TypeError, ValueError) as error:
        raise UsageError(f"'{name}{value}' must be a text, a number or a truth value.") from error


def store_of(value: StoreLike) -> Store:
    """Return the store that is meant; it need not exist."""
    if isinstance(value, Store):
        return value
    given: object = value
    folder = os.fspath(given) if isinstance(given, (str, os.PathLike)) else given
    if folder is not None and not isinstance(folder, str):
        raise UsageError(f"'store={value}' must be the path of a folder.")
    return open_store(folder)


def execution_context(
    store: Store,
    jobs: int | None,
    timeout: float,
    progress: Progress,
    trust_platforms: bool = False,
) -> ExecutionContext:
    """Return what runs are carried out with. Raises UsageError for what cannot be."""
    cores = len(usable_cores())
    count = positive_integer("jobs=", cores if jobs is None else jobs)
    seconds = positive_seconds("timeout=", timeout)
    return ExecutionContext(store, count, seconds, display_of(progress), trust_platforms)


def positive_seconds(name: str, value: Any) -> float:
    """Return a number of seconds. Raises UsageError for none."""
    if isinstance(value, Real) and float(value) > 0:
        return float(value)
    shown = f"{float(value):g}" if isinstance(value, Real) else value
    raise UsageError(f"'{name}{shown}' must be more than 0 seconds.")


def display_of(progress: Progress) -> ProgressLines:
    """Return what shows progress: the command line's own, or what tells a function.

    Raises UsageError for what is neither.
    """
    if not isinstance(progress, ProgressLines) and not callable(progress) and progress is not None:
        raise UsageError(f"'progress={progress}' must be a function that takes a ProgressEvent.")
    return progress if isinstance(progress, ProgressLines) else ProgressCallback(progress)
