"""What a model is run on, as people write it: a file, arrays, a function, and what is chosen."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from xbackend.errors import InputError, UsageError
from xbackend.preparation.samples.choice import NO_CHOICE, SampleChoice, sample_choice
from xbackend.preparation.samples.given import samples_of

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

Source: TypeAlias = (
    "str | os.PathLike[str] | Array | Mapping[str, Array] | Iterable[Any] | Callable[[], Any] "
    "| None"
)
"""A file, a folder or `module:callable`; an array; an array for each of the model's inputs, with
samples along axis 0; a list of samples; or a function that gives one of these."""


@dataclass(frozen=True)
class Samples:
    """What a model is run on, and what is chosen where that is free: `inputs=` of every function.

    Example:
        >>> import xbackend as xb
        >>> xb.Samples(dims={"batch": 1, "seq": 16})
        Samples(source=None, shapes=None, dims={'batch': 1, 'seq': 16}, resize=None, mean=None, \
std=None, labels=None)
    """

    source: Source = None
    """An .npy, .npz or .safetensors file, a picture, `module:callable`, or a folder of .npz, .npy,
    .pb (ONNX's `test_data_set_0`) or pictures; or arrays. None makes random samples that fit."""
    shapes: Mapping[str, Sequence[int]] | Sequence[str] | None = None
    """An input's shape: `{"pixel_values": (1, 3, 224, 224)}`."""
    dims: Mapping[str, int] | Sequence[str] | None = None
    """The extent of a symbolic axis: `{"batch": 1, "seq": 16}`."""
    resize: int | str | Sequence[int] | None = None
    """Height and width of pictures: `224`, or `(224, 320)`."""
    mean: float | Sequence[float] | str | None = None
    """What is subtracted from pictures in [0, 1], one number or one for each channel."""
    std: float | Sequence[float] | str | None = None
    """What they are divided by then."""
    labels: str | os.PathLike[str] | Array | Sequence[int] | None = None
    """The right class of each sample: an .npy file, or whole numbers."""


Inputs: TypeAlias = "Source | Samples"


@dataclass(frozen=True)
class ChosenSamples:
    """What a request takes: `inputs` and `choice`."""

    path: Path | None
    choice: SampleChoice = NO_CHOICE


@contextlib.contextmanager
def chosen_samples(value: Inputs) -> Iterator[ChosenSamples]:
    """Give the file of inputs and what is chosen; arrays are in a file that is gone afterwards.

    A run keeps its samples in the store, under their digest.
    """
    given = value if isinstance(value, Samples) else Samples(value)
    if _is_place(given.source) and _is_place(given.labels):
        yield ChosenSamples(_place(given.source), _choice(given, _place(given.labels)))
        return
    import tempfile  # which a run of files does not need

    with tempfile.TemporaryDirectory(prefix="xbackend-") as folder:
        choice = _choice(given, _label_file(given.labels, Path(folder)))
        if _is_place(given.source):
            yield ChosenSamples(_place(given.source), choice)
            return
        path = _write_arrays(given.source, Path(folder))
        try:
            yield ChosenSamples(path, choice)
        except InputError as error:
            raise InputError(_of_arrays(str(error), path)) from error


def _is_place(value: Any) -> bool:
    """Tell whether a value names a file, or nothing, and is not itself what it would hold."""
    return value is None or isinstance(value, (str, os.PathLike))


def _place(value: Any) -> Path | None:
    return None if value is None else Path(value)


def _choice(given: Samples, labels: Path | None) -> SampleChoice:
    return sample_choice(given.shapes, given.dims, given.resize, given.mean, given.std, labels)


def _label_file(value: Any, folder: Path) -> Path | None:
    """Return the file of labels; those in memory are written to one."""
    if _is_place(value):
        return _place(value)
    import numpy as np

    array = np.asarray(value)
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise UsageError("labels= must be whole numbers, one for each sample, or a file of them.")
    np.save(folder / "labels.npy", array, allow_pickle=False)
    return folder / "labels.npy"


def _of_arrays(text: str, path: Path) -> str:
    """Return what is wrong with arrays without the file that they were written to.

    >>> _of_arrays("/tmp/x.npy holds 1 NaN. Pass --allow-nonfinite.", Path("/tmp/x.npy"))
    'inputs= holds 1 NaN. Pass allow_nonfinite=True.'
    """
    words = {
        str(path): "inputs=",
        "--allow-nonfinite": "allow_nonfinite=True",
        "Save them by these names with numpy.savez": "Give a dictionary of arrays by these names",
        "Save the inputs with numpy.save.": "Give arrays of numbers.",
    }
    for old, new in words.items():
        text = text.replace(old, new)
    return text


def _write_arrays(value: Any, folder: Path) -> Path:
    """Write an array as .npy, several as .npz. Raises InputError for anything but numbers."""
    import numpy as np

    value = value() if callable(value) and not hasattr(value, "__array__") else value
    if isinstance(value, (list, Iterator)):
        value = dict(samples_of(value, "inputs=").arrays)
        value = value[""] if set(value) == {""} else value
    arrays = value if isinstance(value, Mapping) else {"": value}
    checked = {str(name): np.asarray(array) for name, array in arrays.items()}
    if not checked:
        raise InputError("inputs= holds no array. Give one for each input of the model.")
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
