"""CIFAR-10 from its official binary archive or its six files; nothing is unpacked to disk.

Each of the files data_batch_1.bin … data_batch_5.bin and test_batch.bin is a sequence of records
of 3073 bytes: the label (0 to 9), then 1024 bytes of red, 1024 of green, 1024 of blue, row by row.
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import numpy as np

from xbackend.errors import InputError
from xbackend.models.dataset import Dataset, Images, paper_samples

ARCHIVE = "cifar-10-binary.tar.gz"
TRAINING = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
TEST = "test_batch.bin"
FILES = (*TRAINING, TEST)
FOLDER = "cifar-10-batches-bin"
"""The folder that the archive holds."""
CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip

SOURCE = (
    "CIFAR-10, binary version (A. Krizhevsky, 2009, https://www.cs.toronto.edu/~kriz/cifar.html)"
)

SIDE, CHANNELS = 32, 3
RECORD = 1 + CHANNELS * SIDE * SIDE
MAX_FILE_BYTES = 256 * 1024 * 1024
"""Bytes that one file may have; the official ones have 30,730,000."""


def read(path: Path) -> Dataset:
    """Read the archive, a folder that holds it, or the folder of its six .bin files.

    Nothing is unpacked to disk. Raises InputError where a file is missing, truncated or odd.
    """
    files = _files(path)
    missing = [name for name in FILES if name not in files]
    if missing:
        raise InputError(
            f"'{path}' lacks {', '.join(missing)} of CIFAR-10. "
            f"Give {ARCHIVE} or the folder with its six .bin files."
        )
    parts = [decode(files[name], f"{path}: {name}") for name in TRAINING]
    pixels = np.concatenate([part.pixels[:] for part in parts])
    labels = np.concatenate([part.labels for part in parts])
    held_out = decode(files[TEST], f"{path}: {TEST}")
    return Dataset(
        training=Images(pixels, labels),
        held_out=held_out,
        classes=CLASSES,
        divisor=255,
        title="CIFAR-10",
        source=SOURCE,
        samples=paper_samples(held_out),
    )


def decode(data: bytes, origin: str) -> Images:
    """Read the records of one file; `origin` names it in errors."""
    count, rest = divmod(len(data), RECORD)
    if rest or not count:
        raise InputError(
            f"'{origin}' has {len(data)} bytes, which is not a whole number of records of "
            f"{RECORD} bytes: it is truncated or no CIFAR-10 file. Download {ARCHIVE} again."
        )
    records = np.frombuffer(data, np.uint8).reshape(count, RECORD)
    labels = records[:, 0].astype(np.int64)
    if labels.max() >= len(CLASSES):
        raise InputError(
            f"'{origin}' has a label {labels.max()} in record {int(labels.argmax())}, where 0 to "
            f"9 is allowed: it is damaged or no CIFAR-10 file. Download {ARCHIVE} again."
        )
    planes = records[:, 1:].reshape(count, CHANNELS, SIDE, SIDE)
    return Images(np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels)


def _files(path: Path) -> Mapping[str, bytes]:
    if not path.exists():
        raise InputError(f"'{path}' does not exist. Give {ARCHIVE} or the folder it unpacks to.")
    if not path.is_dir():
        return _archived(path)
    for folder in (path, path / FOLDER):
        if (folder / TEST).is_file():
            return {name: _bounded(folder / name) for name in FILES if (folder / name).is_file()}
    return _archived(path / ARCHIVE) if (path / ARCHIVE).is_file() else {}


def _bounded(path: Path) -> bytes:
    try:
        _check_size(path.stat().st_size, str(path))
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"'{path}' cannot be read: {error.strerror}.") from error


def _check_size(size: int, origin: str) -> None:
    if size > MAX_FILE_BYTES:
        raise InputError(
            f"'{origin}' has {size} bytes, more than any CIFAR-10 file ({MAX_FILE_BYTES})."
        )


def _archived(path: Path) -> Mapping[str, bytes]:
    try:
        with tarfile.open(path, "r:*") as archive:
            return _members(archive, path)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        reason = (str(error).strip() or "empty").splitlines()[0]
        raise InputError(
            f"'{path}' is truncated or no tar archive ({reason}). Download {ARCHIVE} again."
        ) from error
    except OSError as error:
        raise InputError(f"'{path}' cannot be read: {error.strerror or error}.") from error


def _members(archive: tarfile.TarFile, path: Path) -> Mapping[str, bytes]:
    files: dict[str, bytes] = {}
    for member in archive:
        name = PurePosixPath(member.name).name
        if name == "batches.meta" or name == "data_batch_1":
            raise InputError(
                f"'{path}' is CIFAR-10's Python version, made of pickles, which are never opened. "
                f"Download the binary version, {ARCHIVE}."
            )
        if name in FILES:
            _check_member(member, path, name in files)
            files[name] = _content(archive, member)
    return files


def _check_member(member: tarfile.TarInfo, path: Path, seen: bool) -> None:
    if not member.isfile() or seen:
        reason = "is there twice" if seen else "is a link or a device, not a file"
        raise InputError(f"'{path}': '{member.name}' {reason}. Download {ARCHIVE} again.")
    _check_size(member.size, f"{path}: {member.name}")


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = archive.extractfile(member)
    data = stream.read() if stream else b""
    if len(data) != member.size:
        raise tarfile.ReadError(f"'{member.name}' has {len(data)} of {member.size} bytes")
    return data
