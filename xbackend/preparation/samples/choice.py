"""What a user chooses of a model's inputs: extents of free axes, how pictures become arrays."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xbackend.errors import UsageError

Shape = tuple[int, ...]

MAX_EXTENT = 1 << 31


@dataclass(frozen=True)
class SampleChoice:
    """What is said of the inputs beside where they are."""

    shapes: tuple[tuple[str, Shape], ...] = ()
    """An input's name to its shape, without any free extent."""
    dims: tuple[tuple[str, int], ...] = ()
    """A symbolic axis's name to its extent."""
    resize: Shape = ()
    """Height and width of pictures; empty for what the model takes."""
    mean: tuple[float, ...] = ()
    """What is subtracted from each channel of a picture in [0, 1]."""
    std: tuple[float, ...] = ()
    """What each channel is divided by then."""
    labels: Path | None = None
    """An .npy file with the right class of each sample."""

    def to_dict(self) -> dict[str, Any]:
        """Return what was chosen, JSON values; nothing for what was not."""
        told: dict[str, Any] = {
            "shapes": {name: list(shape) for name, shape in self.shapes},
            "dims": dict(self.dims),
            "resize": list(self.resize),
            "mean": list(self.mean),
            "std": list(self.std),
        }
        return {key: value for key, value in told.items() if value}

    @property
    def treats_pictures(self) -> bool:
        """Whether anything is said that concerns pictures alone."""
        return bool(self.resize or self.mean or self.std)


NO_CHOICE = SampleChoice()


def sample_choice(
    shapes: Mapping[str, Sequence[int]] | Iterable[str] | None = None,
    dims: Mapping[str, int] | Iterable[str] | None = None,
    resize: Any = None,
    mean: Any = None,
    std: Any = None,
    labels: Path | None = None,
) -> SampleChoice:
    """Return what was chosen, from texts of the command line or from values.

    Raises UsageError for what is no shape, extent or number.

    >>> sample_choice(["x=1,3,8,8"], ["batch=1,seq=16"], "224x320", "0.5")
    ... # doctest: +NORMALIZE_WHITESPACE
    SampleChoice(shapes=(('x', (1, 3, 8, 8)),), dims=(('batch', 1), ('seq', 16)),
    resize=(224, 320), mean=(0.5,), std=(), labels=None)
    """
    return SampleChoice(
        tuple(_shapes(shapes)),
        tuple(_dims(dims)),
        _resize(resize),
        _numbers("--mean", mean),
        _deviations(std),
        labels,
    )


def _shapes(
    given: Mapping[str, Sequence[int]] | Iterable[str] | None,
) -> Iterable[tuple[str, Shape]]:
    if isinstance(given, Mapping):
        for name, shape in given.items():
            several = shape if isinstance(shape, Sequence) else (shape,)
            yield str(name), tuple(_extent(f"--shape {name}=", each) for each in several)
        return
    for text in (given,) if isinstance(given, str) else given or ():
        name, equals, extents = str(text).rpartition("=")
        if not equals or not name:
            raise UsageError(f"'--shape {text}' must be NAME=EXTENTS, such as x=1,3,224,224.")
        listed = [each for each in re.split(r"[,x×\s]+", extents.strip("()[] ")) if each]
        yield name.strip(), tuple(_extent(f"--shape {text}", each) for each in listed)


def _dims(given: Mapping[str, int] | Iterable[str] | None) -> Iterable[tuple[str, int]]:
    if isinstance(given, Mapping):
        yield from ((str(name), _extent(f"--dim {name}=", each)) for name, each in given.items())
        return
    texts = (given,) if isinstance(given, str) else given or ()
    for text in (part for each in texts for part in str(each).split(",") if part.strip()):
        name, equals, extent = text.rpartition("=")
        if not equals or not name.strip():
            raise UsageError(f"'--dim {text}' must be NAME=EXTENT, such as batch=1,seq=16.")
        yield name.strip(), _extent(f"--dim {text}", extent)


def _resize(given: Any) -> Shape:
    if given is None or given == "":
        return ()
    parts = re.split(r"[x×,]", given) if isinstance(given, str) else given
    several = list(parts) if isinstance(parts, (list, tuple)) else [parts]
    found = tuple(_extent(f"--resize {given}", each) for each in several)
    if len(found) not in (1, 2) or 0 in found:
        raise UsageError(f"'--resize {given}' must be a size such as 224, or HEIGHTxWIDTH.")
    return found * 2 if len(found) == 1 else found


def _extent(what: str, value: Any) -> int:
    """Return a number of elements. Raises UsageError for what is none."""
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = -1
    if not 0 <= number < MAX_EXTENT or (not isinstance(value, str) and number != value):
        shown = what if str(value) in what else f"{what}{value}"
        raise UsageError(f"'{shown}' must be made of whole numbers from 0 on.")
    return number


def _numbers(option: str, given: Any) -> tuple[float, ...]:
    if given is None or given == "":
        return ()
    parts = re.split(r"[,\s]+", given.strip()) if isinstance(given, str) else given
    several = list(parts) if isinstance(parts, (list, tuple)) else [parts]
    try:
        return tuple(float(each) for each in several)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"'{option} {given}' must be one number, or one for each channel: 0.485,0.456,0.406."
        ) from error


def _deviations(given: Any) -> tuple[float, ...]:
    found = _numbers("--std", given)
    if 0.0 in found:
        raise UsageError(f"'--std {given}' would divide by 0.")
    return found
