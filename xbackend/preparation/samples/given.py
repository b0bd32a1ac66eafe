"""Samples that are given: arrays, folders, test data of ONNX, pictures, safetensors, a function."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xbackend.errors import InputError, UsageError
from xbackend.preparation.numpy_file import read_numpy
from xbackend.preparation.samples.choice import SampleChoice
from xbackend.preparation.samples.pictures import SUFFIXES, read_pictures
from xbackend.store.escaping import readable
from xbackend.worker.artifact import ValueInfo

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

FORMS = (
    "an .npy, .npz or .safetensors file, a picture, module:callable, or a folder of .npz, .npy, "
    ".pb or pictures"
)
LABEL_NAMES = ("labels", "label")
"""Under which an .npz holds the right classes, if no input has that name."""

MAX_SAMPLES = 1 << 20


@dataclass(frozen=True)
class GivenSamples:
    """What was read, before it is held against the model."""

    arrays: Mapping[str, Array]
    """By the input's name; the empty name for a model's only input."""
    stacked: bool = False
    """Whether axis 0 of each array only counts samples."""
    labels: tuple[int, ...] = ()
    """The right class of each sample, if they are told."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """How pictures became arrays, JSON values."""


def is_function(path: Path) -> bool:
    """Tell whether a text names a function, as `module:callable`, and no file."""
    module, colon, name = str(path).partition(":")
    parts = module.split(".")
    return bool(colon) and name.isidentifier() and all(p.isidentifier() for p in parts)


def read_given(path: Path, interface: Sequence[ValueInfo], choice: SampleChoice) -> GivenSamples:
    """Read what a user names. Raises InputError in one sentence."""
    if not path.exists() and is_function(path):
        found = _called(str(path))
    elif path.is_dir():
        found = _folder(path, interface, choice)
    elif path.suffix.lower() in SUFFIXES:
        found = _pictures([path], interface, choice)
    elif path.suffix.lower() == ".safetensors":
        found = GivenSamples(_safetensors(path))
    elif path.suffix.lower() == ".pb":
        found = _test_sets([path.parent], interface)
    else:
        found = _numpy(path, interface)
    if choice.treats_pictures and "pictures" not in found.about:
        raise InputError(f"{path} is no picture, so leave out --resize, --mean and --std.")
    return found


def _numpy(path: Path, interface: Sequence[ValueInfo]) -> GivenSamples:
    arrays = read_numpy(path, "the inputs", "Save the inputs with numpy.save.")
    names = {value.name for value in interface}
    named = next((key for key in LABEL_NAMES if key in arrays and key not in names), None)
    labels = () if named is None or len(arrays) < 2 else _labels(path, arrays.pop(named))
    if len(arrays) == 1 and len(names) == 1 and labels:
        arrays = {next(iter(names)): next(iter(arrays.values()))}
    return GivenSamples(arrays, labels=labels)


def _labels(path: Path, array: Array) -> tuple[int, ...]:
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise InputError(
            f"{path} holds labels of shape {array.shape} and {array.dtype}. Give one whole number "
            "for each sample."
        )
    return tuple(map(int, array))


def _folder(path: Path, interface: Sequence[ValueInfo], choice: SampleChoice) -> GivenSamples:
    """Read a folder: test data sets of ONNX, arrays, or pictures, in subfolders by class or not."""
    inner = _sorted(path.iterdir())
    sets = [each for each in inner if each.is_dir() and _protos(each)]
    if sets or _protos(path):
        return _test_sets(sets or [path], interface)
    for suffix in (".npz", ".npy"):
        files = [each for each in inner if each.suffix == suffix]
        if files:
            return _files(files, interface)
    pictures = [each for each in inner if each.suffix.lower() in SUFFIXES]
    if pictures:
        return _pictures(pictures, interface, choice)
    classes = [each for each in inner if each.is_dir()]
    by_class = [
        (place, file)
        for place, folder in enumerate(classes)
        for file in _sorted(folder.iterdir())
        if file.suffix.lower() in SUFFIXES
    ]
    if not by_class:
        raise InputError(f"The folder {path} holds no samples: give {FORMS}.")
    found = _pictures([file for _, file in by_class], interface, choice)
    about = {**found.about, "classes": [folder.name for folder in classes]}
    labels = tuple(place for place, _ in by_class)
    return GivenSamples(found.arrays, True, labels, about)


def _sorted(paths: Iterable[Path]) -> list[Path]:
    """Return files in the order of their names, numbers in them by value."""
    return sorted(paths, key=lambda path: [
        (0, int(part), "") if part.isdecimal() else (1, 0, part)
        for part in re.split(r"(\d+)", path.name)
    ])  # fmt: skip


def _protos(folder: Path) -> list[Path]:
    return [each for each in _sorted(folder.iterdir()) if re.fullmatch(r"input_\d+\.pb", each.name)]


def _test_sets(folders: Sequence[Path], interface: Sequence[ValueInfo]) -> GivenSamples:
    """Read ONNX's `test_data_set_0/input_0.pb`, one folder a sample."""
    rows = [_test_set(folder, interface) for folder in folders]
    return _stack(rows, str(folders[0].parent))


def _test_set(folder: Path, interface: Sequence[ValueInfo]) -> dict[str, Array]:
    from google.protobuf.message import DecodeError
    from onnx import TensorProto, numpy_helper

    files = _protos(folder)
    if len(files) != len(interface):
        raise InputError(
            f"{folder} holds {len(files)} files input_*.pb, but the model has {len(interface)} "
            "inputs."
        )
    arrays, names = [], []
    for file in files:
        proto = TensorProto()
        try:
            proto.ParseFromString(file.read_bytes())
            arrays.append(numpy_helper.to_array(proto))
        except (OSError, DecodeError, ValueError, TypeError, KeyError) as error:
            raise InputError(f"{file} is not a whole tensor of ONNX.") from error
        names.append(proto.name)
    own = [value.name for value in interface]
    order = names if set(names) == set(own) else own
    return dict(zip(order, arrays, strict=True))


def _files(files: Sequence[Path], interface: Sequence[ValueInfo]) -> GivenSamples:
    """Read several files of arrays, whose samples follow each other."""
    import numpy as np

    parts = [_numpy(file, interface) for file in files]
    first = parts[0].arrays
    for file, part in zip(files, parts, strict=True):
        if set(part.arrays) != set(first):
            raise InputError(
                f"{file} holds {sorted(part.arrays)}, but {files[0].name} {sorted(first)}."
            )
    ranks = {value.name: len(value.shape or ()) for value in interface}
    ranks[""] = next(iter(ranks.values()), 0)
    whole = {name: [np.asarray(part.arrays[name]) for part in parts] for name in first}
    alone = all(
        each.ndim < ranks.get(name, 0) or not ranks.get(name, 1)
        for name, arrays in whole.items()
        for each in arrays
    )
    labels = tuple(label for part in parts for label in part.labels)
    try:
        join = np.stack if alone else np.concatenate
        joined = {name: join(arrays) for name, arrays in whole.items()}
    except ValueError as error:
        raise InputError(f"The files beside {files[0]} have other shapes: {error}.") from error
    return GivenSamples(joined, labels=labels)


def _pictures(
    paths: Sequence[Path], interface: Sequence[ValueInfo], choice: SampleChoice
) -> GivenSamples:
    if len(interface) != 1:
        names = ", ".join(repr(value.name) for value in interface) or "none"
        raise InputError(
            f"{paths[0]} is a picture, and the model has not one input alone ({names}). Save all "
            "inputs by these names with numpy.savez."
        )
    array, about = read_pictures(paths, interface[0], choice)
    return GivenSamples({interface[0].name: array}, True, about=about)


def _safetensors(path: Path) -> dict[str, Array]:
    try:
        from safetensors.numpy import load_file
    except ImportError as error:
        raise InputError(
            f"Reading {path} needs safetensors. Install it with: "
            "pip install 'xbackend[safetensors]'"
        ) from error
    try:
        return dict(load_file(path))
    except Exception as error:  # a library in another language raises its own errors
        said = readable(str(error).splitlines()[0][:120]) if str(error) else type(error).__name__
        raise InputError(f"{path} is not a whole safetensors file of numbers ({said}).") from error


def _called(text: str) -> GivenSamples:
    """Call a function that the user names: an array, arrays by name, or one of these a sample."""
    import sys
    from importlib import import_module

    module, _, name = text.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        return samples_of(getattr(import_module(module), name)(), f"The function '{text}'")
    except UsageError:
        raise
    except Exception as error:  # the user's own code
        said = readable(f"{type(error).__name__}: {error}"[:200]).rstrip(". :")
        raise InputError(f"The function '{text}' gave no inputs ({said}).") from error


def samples_of(given: Any, where: str) -> GivenSamples:
    """Return what a function gave: an array, arrays by name, or one of these for each sample."""
    if isinstance(given, Mapping) or hasattr(given, "__array__"):
        return GivenSamples(_arrays(given))
    return _stack([_arrays(row) for row in _some(given)], where)


def _some(given: Any) -> Iterable[Any]:
    from itertools import islice

    rows = list(islice(given, MAX_SAMPLES))
    if not rows:
        raise ValueError("it yields nothing")
    return rows


def _arrays(given: Any) -> dict[str, Array]:
    import numpy as np

    named = given if isinstance(given, Mapping) else {"": given}
    return {str(name): np.asarray(array) for name, array in named.items()}


def _stack(rows: Sequence[Mapping[str, Array]], where: str) -> GivenSamples:
    """Put whole samples along a new axis 0. Raises InputError where they differ."""
    import numpy as np

    first = rows[0]
    for row in rows:
        shapes = {name: (array.shape, array.dtype) for name, array in row.items()}
        if shapes != {name: (array.shape, array.dtype) for name, array in first.items()}:
            raise InputError(
                f"{where} gives samples of several shapes or formats, and a run takes samples of "
                "one. Run each alone."
            )
    return GivenSamples({name: np.stack([row[name] for row in rows]) for name in first}, True)
