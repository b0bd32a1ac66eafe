"""What `xbackend models train` does: read the pictures, train, write a model's folder."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from xbackend.errors import ConversionError, UsageError
from xbackend.models import digits
from xbackend.models.dataset import Dataset
from xbackend.training import cifar10, deepweeds
from xbackend.training.fit import NETWORKS, PROGRESS_INTERVAL, TRAINABLE, Recipe, check_recipe
from xbackend.training.jpegs import JpegImages
from xbackend.training.model_folder import Log, check_output, train_model


@dataclass(frozen=True)
class DatasetSource:
    """Which pictures to train on."""

    path: Path | None
    """The official files; None for scikit-learn's digits."""
    fold: int | None = None
    """Which of DeepWeeds' splits."""
    limit: int | None = None
    """How many pictures of each kind at most."""


def split_name(name: str, variant: str | None) -> tuple[str, str]:
    """Return network and variant of what is to be trained, however it was written.

    Raises UsageError where name and variant do not agree.

    >>> split_name("cifar10-r18-sigmoid", None), split_name("cifar10-r18", "linear")
    (('cifar10-r18', 'sigmoid'), ('cifar10-r18', 'linear'))
    """
    network, _, word = name.rpartition("-")
    if network not in NETWORKS or name in NETWORKS:
        return name, variant or TRAINABLE[0]
    if variant not in (None, word):
        raise UsageError(f"The name '{name}' says '{word}' and --variant says '{variant}'.")
    return network, word


def train(recipe: Recipe, source: DatasetSource, output: Path, log: Log) -> Path:
    """Train on official files, or on the digits; return the folder.

    Raises ConversionError where a format could not be made; the trained network is kept then.
    """
    check_recipe(recipe)
    check_output(output)
    data = _read(recipe.model, source).subsample(source.limit)
    _check_pictures(data, log)
    written = train_model(recipe, data, output, log)
    log(
        f"right on {written.trained.accuracy:.1%} of "
        f"{written.trained.record['held_out']} held-out pictures"
    )
    for format_, reason in written.failed.items():
        raise ConversionError(
            f"The network was trained and is in {output}, but not as {format_}: {reason}"
        )
    return written.folder


def _read(model: str, source: DatasetSource) -> Dataset:
    if source.limit is not None and source.limit < 1:
        raise UsageError(f"--limit is {source.limit}; give a number from 1.")
    if model.startswith("deepweeds"):
        if source.path is None:
            raise UsageError(
                "The digits are 32x32, and deepweeds-r50v2 takes 256x256. Give DeepWeeds with "
                "--data."
            )
        return deepweeds.read(source.path, source.fold or 0)
    if source.fold is not None:
        raise UsageError("--fold is for DeepWeeds; CIFAR-10 and the digits have one split.")
    return digits.read() if source.path is None else cifar10.read(source.path)


def _check_pictures(data: Dataset, log: Log) -> None:
    """Decode every JPEG once: a damaged one is told now, not at the end of a long training."""
    parts = [part.pixels for part in (data.training, data.validation, data.held_out) if part]
    files = [pixels for pixels in parts if isinstance(pixels, JpegImages)]
    total, done, told = sum(map(len, files)), 0, time.monotonic()

    def progress(count: int) -> None:
        nonlocal told
        if time.monotonic() - told >= PROGRESS_INTERVAL:
            told = time.monotonic()
            log(f"read {done + count} of {total} pictures")

    if files:
        log(f"reading {total} pictures")
    for pixels in files:
        pixels.check(progress)
        done += len(pixels)
