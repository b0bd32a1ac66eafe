"""What the functions take, in the many ways that people write it, turned into requests."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from xbackend.errors import InputError, UsageError
from xbackend.execution.execute import ExecutionContext
from xbackend.execution.progress import ProgressCallback, ProgressEvent, ProgressLines
from xbackend.store.store import Store, open_store

if TYPE_CHECKING:
    import numpy as np

Words: TypeAlias = str | Sequence[str] | None
"""One word, several with commas between, or a sequence of them."""
Numbers: TypeAlias = int | Sequence[int]
PathLike: TypeAlias = str | os.PathLike[str]
Inputs: TypeAlias = (
    "str | os.PathLike[str] | np.ndarray[Any, Any] | Mapping[str, np.ndarray[Any, Any]] | None"
)
"""A file, an array, or an array for each of the model's inputs; samples along axis 0."""
Settings: TypeAlias = Sequence[str] | Mapping[str, Any] | None
"""Texts `ort.optimization=basic`, or {"ort.optimization": "basic"}, or
{"ort": {"optimization": "basic"}}."""
Where: TypeAlias = Sequence[str] | Mapping[str, Any] | None
"""Texts `KEY=VALUE`, or a key to a value or to several of which any will do."""
StoreLike: TypeAlias = PathLike | Store | None
"""A folder; None for $XBACKEND_STORE or ./.xbackend."""
Progress: TypeAlias = Callable[[ProgressEvent], None] | ProgressLines | None
"""A function that is told of each step; None is told nothing."""


def words(value: Words) -> tuple[str, ...]:
    """Return words, each once.

    >>> words("tf, ort"), words(["ort", "ort"]), words(None)
    (('tf', 'ort'), ('ort',), ())
    """
    parts = (value or "").split(",") if isinstance(value, str) or value is None else value
    return tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))


def specs(value: Words) -> tuple[str, ...]:
    """Return platforms; a text is one, as a comma is part of some.

    >>> specs("qemu:max,-fma"), specs(None)
    (('qemu:max,-fma',), ('native',))
    """
    return (value,) if isinstance(value, str) else tuple(value or ("native",))


def positive_integers(name: str, value: Numbers) -> tuple[int, ...]:
    """Return numbers from 1 on, each once. Raises UsageError for any other, and for none."""
    listed: list[Any] = [value] if isinstance(value, (int, float)) else [*value]
    return tuple(dict.fromkeys(positive_integer(name, each) for each in listed or [""]))


def positive_integer(name: str, value: int | str) -> int:
    """Return the number that an option takes. Raises UsageError for any below 1."""
    try:
        number = int(value)
    except (ValueError, TypeError):
        number = 0
    if number < 1 or number != (number if isinstance(value, str) else value):
        raise UsageError(f"'{name}{value}' must be a whole number from 1 on.")
    return number


def settings_texts(value: Settings) -> tuple[str, ...]:
    """Return texts `word.key=value`, whose words and keys are checked later.

    >>> settings_texts({"ort": {"optimization": "basic"}, "torch.mkldnn": False})
    ('ort.optimization=basic', 'torch.mkldnn=false')
    """
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, Mapping):
        return tuple(value or ())
    nested = {
        f"{key}.{inner}": one
        for key, each in value.items()
        for inner, one in (each.items() if isinstance(each, Mapping) else ())
    }
    flat = {key: each for key, each in value.items() if not isinstance(each, Mapping)}
    return tuple(f"{key}={_text(each)}" for key, each in {**flat, **nested}.items())


def where_texts(value: Where) -> tuple[str, ...]:
    """Return texts `KEY=VALUE`.

    >>> where_texts({"backend": "ort", "settings.threads": [1, 2]})
    ('backend=ort', 'settings.threads=1', 'settings.threads=2')
    """
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, Mapping):
        return tuple(value or ())
    return tuple(
        f"{key}={_text(one)}"
        for key, each in value.items()
        for one in (each if isinstance(each, (list, tuple, set, frozenset)) else [each])
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def store_of(value: StoreLike) -> Store:
    """Return the store that is meant; it need not exist."""
    if isinstance(value, Store):
        return value
    return open_store(None if value is None else os.fspath(value))


def execution_context(
    store: Store,
    jobs: int | None,
    timeout: float,
    progress: Progress,
    trust_platforms: bool = False,
) -> ExecutionContext:
    """Return what runs are carried out with. Raises UsageError for what cannot be."""
    cores = len(os.sched_getaffinity(0))
    count = positive_integer("jobs=", cores if jobs is None else jobs)
    seconds = positive_seconds("timeout=", timeout)
    return ExecutionContext(store, count, seconds, display_of(progress), trust_platforms)


def positive_seconds(name: str, value: float) -> float:
    """Return a number of seconds. Raises UsageError for none."""
    if not value > 0:
        raise UsageError(f"'{name}{value:g}' must be more than 0 seconds.")
    return value


def display_of(progress: Progress) -> ProgressLines:
    """Return what shows progress: the command line's own, or what tells a function."""
    return progress if isinstance(progress, ProgressLines) else ProgressCallback(progress)


@contextlib.contextmanager
def input_file(value: Inputs) -> Iterator[Path | None]:
    """Give the file of inputs; arrays are written to one that is gone afterwards.

    A run keeps its samples in the store, under their digest.
    """
    if value is None:
        yield None
    elif isinstance(value, (str, os.PathLike)):
        yield Path(value)
    else:
        with tempfile.TemporaryDirectory(prefix="xbackend-") as folder:
            yield _write_arrays(value, Path(folder))


def _write_arrays(value: Any, folder: Path) -> Path:
    """Write an array as .npy, several as .npz. Raises InputError for anything but numbers."""
    import numpy as np

    arrays = value if isinstance(value, Mapping) else {"": value}
    checked = {str(name): np.asarray(array) for name, array in arrays.items()}
    for name, array in checked.items():
        if array.dtype.kind not in "biufcV" or array.ndim == 0:
            raise InputError(
                f"The input {name!r} is of type {array.dtype} and shape {array.shape}. Give an "
                "array of numbers with samples along its first axis."
            )
    if isinstance(value, Mapping):
        np.savez(folder / "inputs.npz", **checked)
        return folder / "inputs.npz"
    np.save(folder / "inputs.npy", checked[""], allow_pickle=False)
    return folder / "inputs.npy"
