"""Pictures as the arrays that a model takes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xbackend.errors import InputError
from xbackend.preparation.samples.choice import SampleChoice
from xbackend.worker.artifact import ValueInfo

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm"})

DEFAULT_SIZE = (224, 224)
"""Height and width where neither the model nor the user says any."""

MAX_PIXELS = 1 << 28


def read_pictures(
    paths: Sequence[Path], value: ValueInfo, choice: SampleChoice
) -> tuple[Array, dict[str, Any]]:
    """Return the pictures along axis 0, each in the layout of the input, and how they were made.

    Floats are pixels divided by 255, less the mean and divided by the standard deviation; integers
    are the pixels. Sizes are changed bilinearly, without cutting. Raises InputError.
    """
    import numpy as np

    axis = channel_axis(value)
    height, width = _size(value, axis, choice)
    count = (value.shape or ())[axis] or 3
    rows = [_read(path, height, width, count) for path in paths]
    pixels = np.stack(rows)
    held = np.dtype("float32" if value.dtype == "bfloat16" else value.dtype)
    if held.kind == "f":
        pixels = _normalised(pixels, choice).astype(held)
    elif choice.mean or choice.std:
        raise InputError(
            f"The model's input '{value.name}' takes {value.dtype}, pixels as they are, so leave "
            "out --mean and --std."
        )
    array = pixels.astype(held)
    if axis == 1:
        array = np.ascontiguousarray(array.transpose(0, 3, 1, 2))
    if len(value.shape or ()) == 4:
        array = array[:, None]
    told = {"pictures": [path.name for path in paths], "size": [height, width]}
    return array, told


def channel_axis(value: ValueInfo) -> int:
    """Return which axis of an input holds the channels of a picture. Raises InputError.

    >>> channel_axis(ValueInfo("x", "float32", (1, 3, 224, 224)))
    1
    >>> channel_axis(ValueInfo("x", "float32", (None, None, None, 3)))
    3
    """
    shape = value.shape or ()
    if len(shape) == 4:
        for axis in (1, 3):
            if shape[axis] in (1, 3):
                return axis
        for axis, others in ((1, shape[2:]), (3, shape[1:3])):
            if shape[axis] is None and any(each is not None for each in others):
                return axis
        if shape[1] is None:
            return 1
    shown = "any shape" if value.shape is None else str(value.shape).replace("None", "?")
    raise InputError(
        f"The model's input '{value.name}' takes {shown}, which is no picture of one or three "
        "channels, or not one alone. Give arrays with --inputs x.npy."
    )


def _size(value: ValueInfo, axis: int, choice: SampleChoice) -> tuple[int, int]:
    shape = value.shape or ()
    fixed = shape[2:] if axis == 1 else shape[1:3]
    wanted = choice.resize or tuple(DEFAULT_SIZE)
    if choice.resize and any(f not in (None, w) for f, w in zip(fixed, wanted, strict=True)):
        raise InputError(
            f"'--resize {wanted[0]}x{wanted[1]}' is not what the model's input '{value.name}' "
            f"takes: {'x'.join('?' if each is None else str(each) for each in fixed)}."
        )
    height, width = (f or w for f, w in zip(fixed, wanted, strict=True))
    return height, width


def _read(path: Path, height: int, width: int, channels: int) -> Array:
    """Return one picture: height, width, channels."""
    import numpy as np

    try:
        from PIL import Image
    except ImportError as error:
        raise InputError(
            f"Reading {path} needs Pillow. Install it with: pip install 'xbackend[pictures]'"
        ) from error
    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise InputError(f"{path} has {image.width * image.height} pixels, too many.")
            converted = image.convert("L" if channels == 1 else "RGB")
            sized = converted.resize((width, height), Image.Resampling.BILINEAR)
    except InputError:
        raise
    except Exception as error:  # Pillow's readers raise whatever they met
        raise InputError(f"{path} is not a whole picture ({type(error).__name__}).") from error
    return np.asarray(sized, np.uint8).reshape(height, width, channels)


def _normalised(pixels: Array, choice: SampleChoice) -> Array:
    import numpy as np

    channels = pixels.shape[-1]
    for option, given in (("--mean", choice.mean), ("--std", choice.std)):
        if len(given) not in (0, 1, channels):
            raise InputError(
                f"'{option}' has {len(given)} numbers, but the model takes pictures of "
                f"{channels} channels. Give one, or one for each."
            )
    mean = np.asarray(choice.mean or (0.0,), np.float32)
    std = np.asarray(choice.std or (1.0,), np.float32)
    found: Array = (pixels.astype(np.float32) / np.float32(255) - mean) / std
    return found
