"""Sample inputs: given in a file, shipped with a model, or made from a seed; checked, then kept."""

from __future__ import annotations

import hashlib
import math
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xbackend.errors import InputError, StoreError
from xbackend.preparation.numpy_file import read_numpy
from xbackend.store.files import digest_of, is_digest
from xbackend.worker.artifact import ValueInfo
from xbackend.worker.job import Sample, Slice

if TYPE_CHECKING:
    import numpy as np

    from xbackend.store.store import Store

    Array = np.ndarray[Any, Any]

RANDOM_SAMPLES = 3
"""How many random samples are made where none are given."""

MAX_RANDOM = 1 << 28
"""How many numbers are made up at most for an input: two GiB while they are made."""

MAX_COMBINATIONS = 200_000
"""How many ways of putting kept files into a model's inputs are tried."""


@dataclass(frozen=True)
class InputFile:
    """One input of the model: an .npy file with samples along axis 0."""

    path: Path
    count: int
    """How many samples it holds."""
    rows: int
    """How many rows along axis 0 make one sample."""
    drop_axis: bool
    """Whether axis 0 only counts samples and is not the model's own."""


@dataclass(frozen=True)
class InputSet:
    """Everything that the model is run on."""

    files: dict[str, InputFile]
    """By the input's name; the empty string for a model's only input."""
    names: tuple[str, ...]
    """One name for each sample."""
    digest: str
    """SHA-256 over names and bytes."""

    def samples(self, interface: Sequence[ValueInfo]) -> tuple[Sample, ...]:
        """Return the samples of a model with these inputs. Raises InputError for a missing one."""
        files = {value.name: self._file(value.name, interface) for value in interface}
        return tuple(
            Sample(name, {key: _slice(file, index) for key, file in files.items()})
            for index, name in enumerate(self.names)
        )

    def _file(self, name: str, interface: Sequence[ValueInfo]) -> InputFile:
        if name in self.files:
            return self.files[name]
        if len(self.files) == 1 and len(interface) == 1:
            return next(iter(self.files.values()))
        raise InputError(
            f"The input '{name}' is not given; given are: {', '.join(sorted(self.files))}."
        )

    def write_npz(self, path: Path, interface: Sequence[ValueInfo]) -> Path:
        """Write all samples as one .npz, an array for each input, samples along axis 0."""
        import numpy as np

        arrays = {}
        for value in interface:
            file = self._file(value.name, interface)
            arrays[value.name] = np.load(file.path, mmap_mode="r", allow_pickle=False)
        made = path.with_name(f".{path.stem}-{secrets.token_hex(4)}.tmp.npz")
        np.savez(made, **arrays)
        made.replace(path)
        return path


def _slice(file: InputFile, index: int) -> Slice:
    start = index * file.rows
    return Slice(str(file.path), start, start + file.rows, file.drop_axis)


def builtin_inputs(path: Path, names: tuple[str, ...], model_digest: str) -> InputSet:
    """Return a built-in model's samples, which its tests have checked; NumPy is not imported."""
    digest = hashlib.sha256(f"samples of {model_digest}".encode()).hexdigest()
    return InputSet({"": InputFile(path.resolve(), len(names), 1, False)}, names, digest)


def load_inputs(
    path: Path, interface: Sequence[ValueInfo], store: Store, allow_nonfinite: bool = False
) -> InputSet:
    """Read, check and keep the inputs in an .npy or .npz file. Raises InputError.

    An array has the model's shape, or samples along a free or added axis 0: for a model that takes
    (1, 32, 32, 3), that is (n, 32, 32, 3), (32, 32, 3) or (1, 32, 32, 3).
    """
    arrays = _read_arrays(path, interface)
    files = {}
    for value in interface:
        array = arrays[value.name]
        _check_dtype(path, value, array)
        if not allow_nonfinite:
            _check_finite(path, value, array)
        files[value.name] = _store_aligned(path, value, array, store)
    count = _common_count(path, files)
    return InputSet(files, tuple(str(index) for index in range(count)), _set_digest(files))


def find_stored_inputs(digest: str, interface: Sequence[ValueInfo], store: Store) -> InputSet:
    """Return inputs that were given in a file once and are kept in the store, by the set's digest.

    The store's files are tried in each place that they fit, until the digest is the one wanted.
    Raises InputError where none is.
    """
    import itertools

    fitting = [_candidates(value, store) for value in interface]
    for files in itertools.islice(itertools.product(*fitting), MAX_COMBINATIONS):
        chosen = {value.name: file for value, file in zip(interface, files, strict=True)}
        if _set_digest(chosen) == digest:
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
            if not is_digest(path.stem) or not _holds(path, path.stem, store):
                continue
            array = read_numpy(path, "the inputs", "")[""]
            _check_dtype(path, value, array)
            found.append(_locate_samples(path, value, array))
        except (InputError, KeyError):
            continue
    return found


def stacked_inputs(arrays: Mapping[str, Array], store: Store) -> InputSet:
    """Keep arrays of which axis 0 only counts the samples, whatever numbers they hold."""
    files = {name: _keep(array, 1, store, drop_axis=True) for name, array in arrays.items()}
    count = min((file.count for file in files.values()), default=1)
    return InputSet(files, tuple(str(index) for index in range(count)), _set_digest(files))


def map_inputs(inputs: InputSet, change: Callable[[Array], Array], store: Store) -> InputSet:
    """Return the same samples after a change of the numbers of each input, kept in the store."""
    import numpy as np

    files = {}
    for name, file in inputs.files.items():
        array = change(np.load(file.path, mmap_mode="r", allow_pickle=False))
        files[name] = _keep(array, file.rows, store, file.drop_axis)
    return InputSet(files, inputs.names, _set_digest(files))


def random_inputs(interface: Sequence[ValueInfo], store: Store, seed: int = 0) -> InputSet:
    """Make random samples from a seed, the same bits on every machine.

    Floats are multiples of 2^-24, uniform in [0, 1); integers are uniform in 0..7. Raises
    InputError where a shape is free, other than in axis 0.
    """
    import numpy as np

    files = {}
    for index, value in enumerate(interface):
        generator = np.random.Generator(np.random.PCG64([seed, index]))
        array = _random(generator, value, _random_shape(value))
        rows = array.shape[0] // RANDOM_SAMPLES
        files[value.name] = _keep(array, rows, store, drop_axis=value.shape == ())
    names = tuple(f"random-{index}" for index in range(RANDOM_SAMPLES))
    return InputSet(files, names, _set_digest(files))


def _read_arrays(path: Path, interface: Sequence[ValueInfo]) -> dict[str, Array]:
    names = [value.name for value in interface]
    found = read_numpy(path, "the inputs", "Save the inputs with numpy.save.")
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
    wanted = _storage_dtype(value).name
    if array.dtype.name != wanted:
        raise InputError(
            f"{path} holds {array.dtype.name} for the input '{value.name}', but the model takes "
            f"{value.dtype}. Convert it with array.astype('{wanted}')."
        )


def _storage_dtype(value: ValueInfo) -> np.dtype[Any]:
    """Return the dtype in which a file holds an input: bfloat16 is rounded from float32 later."""
    import numpy as np

    try:
        held = np.dtype("float32" if value.dtype == "bfloat16" else value.dtype)
    except TypeError:
        held = np.dtype(object)
    if held.kind not in "biufc":
        raise InputError(
            f"The model's input '{value.name}' takes {value.dtype}, which is no format of numbers "
            "that NumPy has. Cut the model after what reads it."
        )
    return held


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
    return _keep(array, placed.rows, store, placed.drop_axis)


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


def _keep(array: Array, rows: int, store: Store, drop_axis: bool = False) -> InputFile:
    """Write an array into the store, in the order of bytes that frameworks take, by its digest."""
    import io

    import numpy as np

    stream = io.BytesIO()
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    np.save(stream, np.ascontiguousarray(little), allow_pickle=False)
    data = stream.getvalue()
    digest = hashlib.sha256(data).hexdigest()
    path = store.folder / "inputs" / f"{digest}.npy"
    if not _holds(path, digest, store):
        store.write_file(path, data)
    return InputFile(path.resolve(), array.shape[0] // rows, rows, drop_axis)


def _holds(path: Path, digest: str, store: Store) -> bool:
    """Tell whether a kept file is there and has the bytes that its name promises."""
    try:
        return digest_of(path, store.folder) == digest
    except (OSError, StoreError):
        return False


def _common_count(path: Path, files: dict[str, InputFile]) -> int:
    counts = {file.count for file in files.values()}
    if len(counts) != 1:
        shown = ", ".join(f"'{name}' {file.count}" for name, file in files.items())
        raise InputError(f"{path} holds different numbers of samples: {shown}.")
    return counts.pop()


def _set_digest(files: dict[str, InputFile]) -> str:
    text = "\n".join(f"{name} {file.path.stem} {file.rows}" for name, file in files.items())
    return hashlib.sha256(text.encode()).hexdigest()


def _random_shape(value: ValueInfo) -> tuple[int, ...]:
    """Return the shape of all made samples of an input together."""
    shape = value.shape
    if shape is None or any(extent is None or extent < 0 for extent in shape[1:]):
        shown = "any shape" if shape is None else _show(shape)
        raise InputError(
            f"The model's input '{value.name}' takes {shown}, so no input can be made up. "
            "Give one with --inputs."
        )
    rest = tuple(extent for extent in shape[1:] if extent is not None)
    whole = (max(shape[0] or 1, 1) * RANDOM_SAMPLES if shape else RANDOM_SAMPLES, *rest)
    if math.prod(whole) > MAX_RANDOM:
        raise InputError(
            f"The model's input '{value.name}' takes {_show(shape)}, {math.prod(whole)} numbers "
            f"in {RANDOM_SAMPLES} samples, more than are made up. Give some with --inputs."
        )
    return whole


def _random(generator: np.random.Generator, value: ValueInfo, shape: tuple[int, ...]) -> Array:
    import numpy as np

    held = _storage_dtype(value)
    if held.kind == "f":
        whole = generator.integers(0, 1 << 24, shape, dtype=np.int64)
        return (whole.astype(np.float64) / (1 << 24)).astype(held)
    return generator.integers(0, 2 if held.kind == "b" else 8, shape, dtype=np.int64).astype(held)
