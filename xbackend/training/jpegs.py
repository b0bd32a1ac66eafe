"""Pictures in JPEG files, in a zip archive or a folder, decoded when they are asked for."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from xbackend.errors import InputError, UsageError

Array = np.ndarray[Any, Any]

MAX_FILE_BYTES = 4 * 1024 * 1024
"""Bytes that one file may have; as raw pixels one of 256x256 has 196,608."""


class JpegImages:
    """Pictures of one size in an order of names; no more of them in memory than one batch.

    An archive is never unpacked: its members are read one at a time. `place` is the archive, or
    the folder that it was unpacked to.
    """

    def __init__(self, place: Path, names: Sequence[str], side: int) -> None:
        _check_pillow()
        self.place = place
        self.names = tuple(names)
        self.side = side
        self._archive = None if place.is_dir() else _opened(place)
        self._members = _members(self._archive, place) if self._archive else {}
        missing = [name for name in self.names if not self._has(name)]
        if missing:
            raise InputError(
                f"'{place}' lacks {len(missing)} of {len(self.names)} pictures, '{missing[0]}' "
                "among them. Download it again, or give the lists of names that belong to it."
            )

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: Any, /) -> Array:
        """Decode the pictures of an array of indices: uint8, [count, side, side, 3]."""
        chosen = np.arange(len(self))[index]
        shape = (len(chosen), self.side, self.side, 3)
        pixels: Array = np.empty(shape, np.uint8)
        for row, place in enumerate(chosen):
            pixels[row] = self._picture(self.names[place])
        return pixels

    def subset(self, index: Any) -> JpegImages:
        """Return some of them, undecoded."""
        names = [self.names[place] for place in np.arange(len(self))[index]]
        return JpegImages(self.place, names, self.side)

    def check(self, told: Callable[[int], None] = lambda done: None) -> None:
        """Decode every picture once, so that a damaged one is told before, not after training."""
        for place in range(len(self)):
            self[[place]]
            told(place + 1)

    def _has(self, name: str) -> bool:
        return name in self._members if self._archive else (self.place / name).is_file()

    def _picture(self, name: str) -> Array:
        origin = f"{self.place}: {name}"
        try:
            data = self._read(name)
            return _decoded(data, self.side, origin)
        except InputError:
            raise
        # Pillow's decoder and its plugins raise whatever a damaged file makes them stumble over.
        except Exception as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise InputError(
                f"'{origin}' is damaged or no JPEG picture ({reason}). Download it again."
            ) from error

    def _read(self, name: str) -> bytes:
        if self._archive is None:
            path = self.place / name
            _check_size(path.stat().st_size, f"{self.place}: {name}")
            return path.read_bytes()
        return self._archive.read(self._members[name])


def _decoded(data: bytes, side: int, origin: str) -> Array:
    """Decode one picture; only the decoder of JPEG is asked."""
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=["JPEG"]) as picture:
        if picture.size != (side, side) or picture.mode != "RGB":
            width, height = picture.size
            raise InputError(
                f"'{origin}' is a picture of {width}x{height} in {picture.mode}, where "
                f"{side}x{side} in RGB is wanted. Give the official pictures."
            )
        return np.asarray(picture, np.uint8)


def _opened(place: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(place)
    except (zipfile.BadZipFile, EOFError, zlib.error) as error:
        raise InputError(
            f"'{place}' is truncated or no zip archive ({error}). Download it again."
        ) from error
    except OSError as error:
        raise InputError(f"'{place}' cannot be read: {error.strerror or error}.") from error


def _members(archive: zipfile.ZipFile, place: Path) -> dict[str, zipfile.ZipInfo]:
    """Return the archive's pictures by file name, whatever folder they are in."""
    found: dict[str, zipfile.ZipInfo] = {}
    for member in _pictures(archive.infolist()):
        name = PurePosixPath(member.filename).name
        origin = f"{place}: {member.filename}"
        if name in found:
            raise InputError(f"'{origin}' is there twice. Download the archive again.")
        if member.flag_bits & 1:
            raise InputError(f"'{origin}' is encrypted. Download the archive again.")
        if member.external_attr >> 28 not in (0, 8):
            raise InputError(f"'{origin}' is a link or a device. Download the archive again.")
        _check_size(member.file_size, origin)
        found[name] = member
    return found


def _pictures(members: Iterable[zipfile.ZipInfo]) -> Iterable[zipfile.ZipInfo]:
    """Leave out folders and what macOS adds to an archive."""
    return (
        member
        for member in members
        if member.filename.lower().endswith((".jpg", ".jpeg"))
        and not PurePosixPath(member.filename).name.startswith("._")
    )


def _check_size(size: int, origin: str) -> None:
    if size > MAX_FILE_BYTES:
        raise InputError(
            f"'{origin}' has {size} bytes, more than any such picture ({MAX_FILE_BYTES})."
        )


def _check_pillow() -> None:
    from importlib.util import find_spec

    if find_spec("PIL") is None:
        raise UsageError(
            "JPEG pictures need Pillow. Install it with: pip install 'xbackend[pictures]'"
        )
