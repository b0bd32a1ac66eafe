"""Labelled samples: a user's own, those that a built-in model brings, or its held-out pictures."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xbackend.errors import InputError, UsageError
from xbackend.preparation.numpy_file import read_numpy

if TYPE_CHECKING:
    import numpy as np

    from xbackend.models.catalogue import BuiltinModel
    from xbackend.store.store import Store

    Array = np.ndarray[Any, Any]

Labels = dict[str, int]
"""Sample's name to its right class."""


def read_labels(
    model: str, inputs: Path | None, labels: str | None, labelled: bool, store: Store
) -> tuple[Path | None, Labels]:
    """Return the file of inputs, of held-out pictures if these are asked for, and the labels.

    Raises UsageError or InputError where there are none, or too few.
    """
    if labelled and (inputs is not None or labels is not None):
        raise UsageError("'--labelled' brings samples of its own: leave --inputs and --labels out.")
    if labels is not None and inputs is None:
        raise UsageError("'--labels' belongs to the samples of '--inputs': give both.")
    builtin = _builtin(model)
    if labelled:
        path, right = _held_out(model, builtin, store)
        return path, _by_place(right)
    if labels is not None:
        return inputs, _by_place(read_label_file(Path(labels)))
    if builtin is None or inputs is not None:
        return inputs, {}
    return inputs, dict(zip(builtin.sample_names, builtin.labels, strict=False))


def _builtin(text: str) -> BuiltinModel | None:
    from xbackend.models import catalogue

    if os.path.exists(text) or text not in catalogue.names():
        return None
    return catalogue.builtin(text)


def _held_out(text: str, model: BuiltinModel | None, store: Store) -> tuple[Path, list[int]]:
    """Write the pictures that a built-in model was not trained on, in the layout of its input."""
    import numpy as np

    from xbackend.models import digits

    training = model.manifest.get("training") if model is not None else None
    if not training or training.get("data") != digits.SOURCE:
        raise UsageError(
            f"'{text}' brings no labelled samples of its own. Give some with --inputs and --labels."
        )
    data = digits.read()
    pixels = data.held_out.pixels[:].astype(np.float32) / np.float32(data.divisor)
    stream = io.BytesIO()
    np.save(stream, pixels, allow_pickle=False)
    store.create()
    path = store.folder / "inputs" / f"held-out-{len(pixels)}-digits.npy"
    store.write_file(path, stream.getvalue())
    return path, [int(each) for each in data.held_out.labels]


def read_label_file(path: Path) -> list[int]:
    """Return the right class of each sample. Raises InputError where a file holds none."""
    found = read_numpy(path, "the labels", "Save the right classes with numpy.save.")
    array = found.get("")
    if array is None or array.ndim != 1 or array.dtype.kind not in "iu":
        raise InputError(
            f"{path} does not hold one whole number for each sample. Save the right classes with "
            "numpy.save, as an array of integers with one axis."
        )
    return [int(each) for each in array]


def _by_place(labels: list[int]) -> Labels:
    """Name labels as the samples of a file are: by their place."""
    return {str(place): value for place, value in enumerate(labels)}
