"""Arrays that another tool saved: .npz, .npy, or the outputs that Polygraphy saves as JSON."""

from __future__ import annotations

import base64
import binascii
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xbackend.errors import InputError
from xbackend.preparation.numpy_file import read_numpy
from xbackend.store.escaping import quoted

Array = np.ndarray[Any, Any]
Arrays = Mapping[str, Array]

JSON_SUFFIX = ".json"
MOST_JSON = 4 << 30
"""Bytes of a JSON file that are read into memory."""
CLASS = "polygraphy_class"
"""The key under which Polygraphy names what a JSON object was."""
CURE = "Save arrays of numbers with numpy.savez, or outputs with 'polygraphy run --save-outputs'."


@dataclass(frozen=True)
class SavedArrays:
    """What one runner of another tool gave."""

    runner: str
    """What that tool calls it; empty for files that do not say."""
    iterations: tuple[Arrays, ...]
    """Arrays by name: one entry, or one for each inference."""
    seconds: float | None = None
    """What the tool says that its inferences took, the sum."""


def read_saved(path: Path) -> list[SavedArrays]:
    """Return what a file holds, or a folder of Polygraphy's files; nothing is unpickled.

    Raises InputError.
    """
    if path.is_dir():
        files = sorted(path.glob(f"*{JSON_SUFFIX}"))
        if not files:
            raise InputError(f"There is no {JSON_SUFFIX} file in {path}. {CURE}")
        return _joined([each for file in files for each in _polygraphy(file)])
    if path.suffix.lower() == JSON_SUFFIX:
        return _polygraphy(path)
    arrays = read_numpy(path, "arrays", CURE)
    if not arrays:
        raise InputError(f"{path} holds no array. {CURE}")
    return [SavedArrays("", (arrays,))]


def _joined(parts: list[SavedArrays]) -> list[SavedArrays]:
    """Put the iterations of a folder's files together, by runner."""
    found: dict[str, list[SavedArrays]] = {}
    for each in parts:
        found.setdefault(each.runner, []).append(each)
    return [
        SavedArrays(name, tuple(n for each in of for n in each.iterations), _sum(of))
        for name, of in found.items()
    ]


def _sum(parts: list[SavedArrays]) -> float | None:
    known = [each.seconds for each in parts if each.seconds is not None]
    return sum(known) if len(known) == len(parts) else None


def _polygraphy(path: Path) -> list[SavedArrays]:
    """Read what `polygraphy run --save-outputs` writes: a `RunResults`."""
    try:
        if path.stat().st_size > MOST_JSON:
            raise ValueError(f"it has more than {MOST_JSON} bytes")
        document = json.loads(path.read_bytes())
        return [_runner(*pair) for pair in document["lst"]]
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror or error}.") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        said = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise InputError(
            f"{path} holds no outputs that Polygraphy saved ({said.rstrip('.')}). {CURE}"
        ) from error


def _runner(name: str, results: list[Any]) -> SavedArrays:
    iterations = tuple(
        {str(key): _array(value, str(key)) for key, value in result["outputs"].items()}
        for result in results
    )
    times = [result.get("runtime") for result in results]
    known = [float(each) for each in times if isinstance(each, (int, float))]
    return SavedArrays(str(name), iterations, sum(known) if len(known) == len(times) else None)


def _array(value: Any, name: str) -> Array:
    """Take an array out of Polygraphy's `LazyArray`, or as older versions wrote it.

    Raises ValueError.
    """
    held = value.get("values", value)
    if "tensor" in held or held.get(CLASS) == "Tensor":
        raise ValueError(
            f"{quoted(name)} is a PyTorch tensor, which only unpickling reads: save NumPy arrays"
        )
    text = held["array"]
    try:
        data = base64.b64decode(text.encode(), validate=True)
    except binascii.Error:
        data = text.encode("latin-1")
    return _loaded(data)


def _loaded(data: bytes) -> Array:
    """Read an .npy, or the only member of an .npz. Raises ValueError."""
    if data[:4] == b"PK\x03\x04":
        data = _only_member(data)
    array = np.load(io.BytesIO(data), allow_pickle=False)
    if not isinstance(array, np.ndarray):
        raise ValueError("it holds no array")
    return array


def _only_member(data: bytes) -> bytes:
    """Return the first file of an archive, which is not unpacked to more than `MOST_JSON`."""
    import zipfile

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        member = archive.infolist()[0]
        if member.file_size > MOST_JSON:
            raise ValueError(f"an array has {member.file_size} bytes")
        return archive.read(member)
