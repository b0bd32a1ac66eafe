"""What `xbackend models train` does: read the pictures, train, write a model's folder."""

from __future__ import annotations

from pathlib import Path

from xbackend.errors import ConversionError
from xbackend.models import cifar10, digits
from xbackend.models.cifar10 import Dataset
from xbackend.models.fit import Recipe, check
from xbackend.models.folder import Tell, check_output, train_model


def train(recipe: Recipe, data: Path | None, output: Path, tell: Tell) -> Path:
    """Train on CIFAR-10's files at `data`, or on the digits where it is None; return the folder.

    Raises ConversionError where a format could not be made; the trained network is kept then.
    """
    check(recipe)
    check_output(output)
    written = train_model(recipe, _read(data), output, tell)
    tell(
        f"right on {written.trained.accuracy:.1%} of "
        f"{written.trained.record['held_out']} held-out pictures"
    )
    for format_, reason in written.failed.items():
        raise ConversionError(
            f"The network was trained and is in {output}, but not as {format_}: {reason}"
        )
    return written.folder


def _read(data: Path | None) -> Dataset:
    return digits.read() if data is None else cifar10.read(data)
