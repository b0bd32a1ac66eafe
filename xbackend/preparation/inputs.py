"""Sample inputs: given in a file, shipped with a model, or made from a seed; checked, then kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xbackend.errors import InputError
from xbackend.preparation.numpy_file import read_numpy
from xbackend.preparation.samples.axes import fill_axes, narrow_axes
from xbackend.preparation.samples.choice import NO_CHOICE, SampleChoice
from xbackend.preparation.samples.given import GivenSamples, read_given
from xbackend.preparation.samples.input_set import (
    RANDOM,
    InputFile,
    InputSet,
    holds_bytes,
    keep_array,
    keep_set,
    remembered_set,
    set_digest,
)
from xbackend.preparation.samples.kinds import InputKind
from xbackend.preparation.samples.made import RANDOM_SAMPLES, made_inputs, storage_dtype
from xbackend.store.files import is_digest
from xbackend.worker.artifact import ValueInfo

if TYPE_CHECKING:
    import numpy as np

    from xbackend.store.store import Store

    Array = np.ndarray[Any, Any]

MAX_COMBINATIONS = 200_000
"""How many ways of putting kept files into a model's inputs are tried."""


def builtin_inputs(path: Path, names: tuple[str, ...], model_digest: str) -> InputSet:
    """Return a built-in model's samples, which its tests have checked; NumPy is not imported."""
    digest = hashlib.sha256(f"samples of {model_digest}".encode()).hexdigest()
    return InputSet({"": InputFile(path.resolve(), len(names), 1, False)}, names, digest)


def load_inputs(
    path: Path,
    interface: Sequence[ValueInfo],
    store: Store,
    allow_nonfinite: bool = False,
    choice: SampleChoice = NO_CHOICE,
) -> InputSet:
    """Read, check and keep the inputs that a user names. Raises InputError.

    An array has the model's shape, or samples along a free or added axis 0: for a model that takes
    (1, 32, 32, 3), that is (n, 32, 32, 3), (32, 32, 3) or (1, 32, 32, 3).
    """
    narrowed = narrow_axes(interface, choice)
    given = read_given(path, narrowed, choice)
    arrays = _named(path, given, narrowed)
    files = {}
    for value in narrowed:
        array = arrays[value.name]
        _check_dtype(path, value, array)
        if not allow_nonfinite:
            _check_finite(path, value, array)
        keep = _store_stacked if given.stacked else _store_aligned
        files[value.name] = keep(path, value, array, store)
    count = _common_count(path, files)
    about = {**choice.to_dict(), **given.about}
    labels = _right_labels(given.labels, choice.labels, path, count)
    return keep_set(files, count, store, about, labels)


def _right_labels(
    given: tuple[int, ...], path: Path | None, inputs: Path, count: int
) -> tuple[int, ...]:
    """Return the right classes, a file's before those of the inputs. Raises InputError."""
    from xbackend.preparation.labelled_samples import read_label_file

    labels = given if path is None else tuple(read_label_file(path))
    if labels and len(labels) != count:
        raise InputError(
            f"{path or inputs} holds {len(labels)} labels for {count} samples. Give one for each."
        )
    return labels


def find_stored_inputs(digest: str, interface: Sequence[ValueInfo], store: Store) -> InputSet:
    """Return inputs that were given in a file once and are kept in the store, by the set's digest.

    Where the store does not say which files make the set, they are tried in each place that they
    fit, until the digest is the one wanted. Raises InputError where none is.
    """
    import itertools

    known = remembered_set(digest, store)
    if known is not None:
        return known
    fitting = [_candidates(value, store) for value in interface]
    for files in itertools.islice(itertools.product(*fitting), MAX_COMBINATIONS):
        chosen = {value.name: file for value, file in zip(interface, files, strict=True)}
        if set_digest(chosen) == digest:
            count = min(file.count for file in files)
            return InputSet(chosen, tuple(str(index) for index in range(count)), digest)
    raise InputError(
        f"The inputs with the digest {digest[:8]} are no longer in {store.folder / 'inputs'}, or "
        "do not hold the bytes that their names promise. Run "
        "the model again with --inputs, there and in what it is compared with."
    )


def _candidates(value: ValueInfo, store: Store) -> list[InputFile]:
    """Return the files of the store that an input can be."""

    found = []
    for path in sorted((store.folder / "inputs").glob("*.npy")):
        try:
            if not is_digest(path.stem) or not holds_bytes(path, path.stem, store):
                continue
            array = read_numpy(path, "the inputs", "")[""]
            _check_dtype(path, value, array)
            found.append(_locate_samples(path, value, array))
        except (InputError, KeyError):
            continue
    return found


def stacked_inputs(arrays: Mapping[str, Array], store: Store) -> InputSet:
    """Keep arrays of which axis 0 only counts the samples, whatever numbers they hold."""
    files = {name: keep_array(array, 1, store, drop_axis=True) for name, array in arrays.items()}
    count = min((file.count for file in files.values()), default=1)
    return InputSet(files, tuple(str(index) for index in range(count)), set_digest(files))


def map_inputs(inputs: InputSet, change: Callable[[Array], Array], store: Store) -> InputSet:
    """Return the same samples after a change of the numbers of each input, kept in the store."""
    import numpy as np

    files = {}
    for name, file in inputs.files.items():
        array = change(np.load(file.path, mmap_mode="r", allow_pickle=False))
        files[name] = keep_array(array, file.rows, store, file.drop_axis)
    return replace(inputs, files=files, digest=set_digest(files))


def random_inputs(
    interface: Sequence[ValueInfo],
    store: Store,
    seed: int = 0,
    choice: SampleChoice = NO_CHOICE,
    kinds: Mapping[str, InputKind] | None = None,
    log: Callable[[str], None] = lambda message: None,
) -> InputSet:
    """Make samples from a seed, the same bits on every machine, and say what was taken for them.

    Floats are uniform in [0, 1), integers in 0..7, or what their `kinds` say. Raises InputError
    where a number of axes is free.
    """
    filled, free = fill_axes(narrow_axes(interface, choice))
    shapes = {value.name: tuple(each or 0 for each in value.shape or ()) for value in filled}
    for axis in free:
        if axis.name or axis.axis:  # an unnamed first axis only counts samples
            log(axis.sentence(shapes[axis.input]))
    known = dict(kinds or {})
    told = {name: text for name, kind in known.items() if (text := kind.sentence())}
    for name, text in told.items():
        log(f"'{name}': {text}; give others with --inputs")
    made = made_inputs(filled, known, seed)
    files = {
        name: keep_array(each.array, each.rows, store, each.drop_axis)
        for name, each in made.items()
    }
    taken = {axis.name or f"{axis.input}[{axis.axis}]": axis.extent for axis in free}
    about = {
        "random": {"seed": seed},
        **choice.to_dict(),
        **({"taken": taken} if taken else {}),
        **({"kinds": told} if told else {}),
    }
    return keep_set(files, RANDOM_SAMPLES, store, about, prefix=RANDOM)


def _named(path: Path, given: GivenSamples, interface: Sequence[ValueInfo]) -> dict[str, Array]:
    """Return the arrays by the names of the model's inputs. Raises InputError."""
    names, found = [value.name for value in interface], dict(given.arrays)
    if len(found) == 1 and len(names) == 1 and ("" in found):
        return {names[0]: found[""]}
    unknown = sorted(set(found) - set(names))
    missing = sorted(set(names) - set(found))
    if unknown or missing:
        shown = ", ".join(repr(name) for name in found if name) or "one array without a name"
        raise InputError(
            f"{path} holds {shown}, but the model's inputs are "
            f"{', '.join(repr(name) for name in names) or 'none'}. "
            "Save them by these names with numpy.savez."
        )
    return found


def _check_dtype(path: Path, value: ValueInfo, array: Array) -> None:
    wanted = storage_dtype(value).name
    if array.dtype.name != wanted:
        raise InputError(
            f"{path} holds {array.dtype.name} for the input '{value.name}', but the model takes "
            f"{value.dtype}. Convert it with array.astype('{wanted}')."
        )


def _check_finite(path: Path, value: ValueInfo, array: Array) -> None:
    import numpy as np

    if array.dtype.kind != "f":
        return
    rows = array if array.ndim else array.reshape(1)
    bad = sum(int(np.count_nonzero(~np.isfinite(row))) for row in rows)
    if bad:
        raise InputError(
            f"{path} holds {bad} NaN or infinite values for the input '{value.name}'. "
            "Replace them, or pass --allow-nonfinite to compare how backends treat them."
        )


def _store_aligned(path: Path, value: ValueInfo, array: Array, store: Store) -> InputFile:
    """Keep an array with samples along axis 0."""
    shape, want = array.shape, value.shape
    alone = (
        want and array.ndim == len(want) - 1 and _agree(shape, want[1:]) and want[0] in (None, 1)
    )
    if alone or (want == () and array.ndim == 0):
        array = array[None]
    placed = _locate_samples(path, value, array)
    return keep_array(array, placed.rows, store, placed.drop_axis)


def _store_stacked(path: Path, value: ValueInfo, array: Array, store: Store) -> InputFile:
    """Keep whole samples along an axis of their own. Raises InputError where they do not fit."""
    shape, want = array.shape[1:], value.shape
    if want is not None and not _agree(shape, want):
        raise InputError(
            f"{path} gives samples of shape {_show(shape)} for the input '{value.name}', but the "
            f"model takes {_show(want)}."
        )
    return keep_array(array, 1, store, drop_axis=True)


def _locate_samples(path: Path, value: ValueInfo, array: Array) -> InputFile:
    """Find out how an array holds samples along axis 0. Raises InputError."""
    shape, want = array.shape, value.shape
    if want is None or (want and array.ndim == len(want) and _agree(shape[1:], want[1:])):
        rows = (want[0] if want else None) or 1
        if array.ndim and shape[0] and shape[0] % rows == 0:
            return InputFile(path.resolve(), shape[0] // rows, rows, False)
    if want is not None and array.ndim == len(want) + 1 and _agree(shape[1:], want):
        return InputFile(path.resolve(), shape[0], 1, True)
    raise InputError(
        f"{path} has shape {_show(shape)} for the input '{value.name}', but the model takes "
        f"{_show(want or ())}. {_cure(shape, want or ())}"
    )


def _cure(shape: Sequence[int], want: Sequence[int | None]) -> str:
    """Return what shape to give: samples of several rows are as many rows as a whole number."""
    rows = want[0] if want else None
    if rows and rows > 1 and len(shape) == len(want) and _agree(shape[1:], want[1:]):
        return (
            f"One sample is {rows} rows along axis 0, so give a multiple of {rows}, or "
            f"{_show((None, *want))}, samples along an axis of their own."
        )
    return "Give that shape, or samples along axis 0."


def _agree(shape: Sequence[int], want: Sequence[int | None]) -> bool:
    pairs = zip(shape, want, strict=True) if len(shape) == len(want) else [(0, 1)]
    return all(extent == asked or asked is None for extent, asked in pairs)


def _show(shape: Sequence[int | None]) -> str:
    return "(" + ", ".join("?" if extent is None else str(extent) for extent in shape) + ")"


def _common_count(path: Path, files: dict[str, InputFile]) -> int:
    counts = {file.count for file in files.values()}
    if len(counts) != 1:
        shown = ", ".join(f"'{name}' {file.count}" for name, file in files.items())
        raise InputError(f"{path} holds different numbers of samples: {shown}.")
    return counts.pop()
