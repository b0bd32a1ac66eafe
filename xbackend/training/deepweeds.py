"""DeepWeeds from its official files: pictures in images.zip, lists of names and classes as CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path, PurePath

import numpy as np

from xbackend.errors import InputError, UsageError
from xbackend.models.dataset import Dataset, Images, paper_samples
from xbackend.training.jpegs import JpegImages

ARCHIVE = "images.zip"
FOLDS = 5
SIDE = 256
CLASSES = (
    "Chinee apple", "Lantana", "Parkinsonia", "Parthenium", "Prickly acacia", "Rubber vine",
    "Siam weed", "Snake weed", "Negative",
)  # fmt: skip
"""In the order of the labels 0 to 8."""
SOURCE = "DeepWeeds (A. Olsen et al., 2019, https://github.com/AlexOlsen/DeepWeeds, CC BY 4.0)"
MAX_FILE_BYTES = 16 * 1024 * 1024
"""Bytes that a list may have; the official ones have up to 600,000."""


def read(path: Path, fold: int = 0) -> Dataset:
    """Read which pictures a split has; they are decoded when they are asked for.

    `path` is a checkout of the official repository or any folder with images.zip, or the pictures
    themselves in a folder `images`, and the lists, there or in a folder `labels`. Raises InputError
    where something is missing or odd.
    """
    if not 0 <= fold < FOLDS:
        raise UsageError(f"--fold is {fold}; DeepWeeds has the folds 0 to {FOLDS - 1}.")
    place, lists = find_pictures(path), find_lists(path, fold)
    parts = {word: _images(place, lists / f"{word}_subset{fold}.csv") for word in PARTS}
    return Dataset(
        training=parts["train"],
        validation=parts["val"],
        held_out=parts["test"],
        classes=CLASSES,
        divisor=255,
        title="DeepWeeds",
        source=f"{SOURCE}, fold {fold} of its five",
        samples=paper_samples(parts["test"]),
    )


PARTS = ("train", "val", "test")
"""Each with a list of its own, 60, 20 and 20 % of the pictures."""


def find_pictures(path: Path) -> Path:
    """Return the archive, or the folder of pictures, that belongs to a path."""
    if not path.exists():
        raise InputError(
            f"'{path}' does not exist. Give a folder with {ARCHIVE} and DeepWeeds' labels/."
        )
    if path.is_file():
        return path
    for place in (path / ARCHIVE, path / "images" / ARCHIVE, path / "images"):
        if place.exists():
            return place
    raise InputError(
        f"'{path}' holds neither {ARCHIVE} nor a folder 'images'. Download {ARCHIVE}, which "
        "https://github.com/AlexOlsen/DeepWeeds names, into it."
    )


def find_lists(path: Path, fold: int) -> Path:
    """Return the folder in which the three lists of a fold are."""
    root = path.parent if path.is_file() else path
    names = [f"{word}_subset{fold}.csv" for word in PARTS]
    for folder in (root, root / "labels", root.parent / "labels"):
        if (folder / names[0]).is_file():
            missing = [name for name in names if not (folder / name).is_file()]
            if missing:
                raise InputError(f"'{folder}' lacks {missing[0]}. Take it from {_LABELS}.")
            return folder
    raise InputError(
        f"'{root}' lacks {', '.join(names)}, as does a folder 'labels' in it. Take them from "
        f"{_LABELS}."
    )


_LABELS = "labels/ of https://github.com/AlexOlsen/DeepWeeds"


def _images(place: Path, path: Path) -> Images:
    rows = read_list(path)
    pixels = JpegImages(place, list(rows), SIDE)
    return Images(pixels, np.array(list(rows.values()), np.int64))


def read_list(path: Path) -> dict[str, int]:
    """Read a list of pictures: their class by file name, in the order of the file."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InputError(
                f"'{path}' is larger than any list of DeepWeeds ({MAX_FILE_BYTES} bytes)."
            )
        with path.open(encoding="utf-8-sig", newline="") as stream:
            return _rows(csv.DictReader(stream), path)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"'{path}' cannot be read: {reason}. Take it from {_LABELS}.") from error


def _rows(table: csv.DictReader[str], path: Path) -> dict[str, int]:
    if not {"Filename", "Label"} <= set(table.fieldnames or ()):
        raise InputError(
            f"'{path}' has no columns Filename and Label in its first line. Take it from {_LABELS}."
        )
    rows: dict[str, int] = {}
    for line, name, label in _cells(table):
        where = f"'{path}', line {line}"
        if not name or PurePath(name).name != name or "\\" in name:
            raise InputError(f"{where}: {name!r} is no file name. Take it from {_LABELS}.")
        if name in rows:
            raise InputError(f"{where}: '{name}' is there twice. Take it from {_LABELS}.")
        if label not in _LABEL_TEXTS:
            raise InputError(
                f"{where}: the label of '{name}' is {label!r}, where 0 to {len(CLASSES) - 1} is "
                f"allowed. Take it from {_LABELS}."
            )
        rows[name] = int(label)
    if not rows:
        raise InputError(f"'{path}' names no picture. Take it from {_LABELS}.")
    return rows


_LABEL_TEXTS = tuple(str(number) for number in range(len(CLASSES)))


def _cells(table: csv.DictReader[str]) -> Iterator[tuple[int, str, str]]:
    for row in table:
        yield table.line_num, (row["Filename"] or "").strip(), (row["Label"] or "").strip()
