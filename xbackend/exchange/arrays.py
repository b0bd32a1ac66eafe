"""Takes arrays that another tool, a phone or TensorRT gave into a store, as a run that is told."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from xbackend.errors import InputError, UsageError
from xbackend.exchange.array_files import Array, Arrays, SavedArrays, read_saved
from xbackend.exchange.importing import (
    ImportResult,
    record_digest,
    record_fault,
    slug,
    store_if_new,
)
from xbackend.store.escaping import quoted
from xbackend.store.records import Record, Run
from xbackend.store.schema.record import ITEM_BYTES
from xbackend.store.store import Store
from xbackend.worker.objects import write_tensor
from xbackend.worker.tensor import Tensor, cast
from xbackend.worker.version import VERSION

TOLD = "told"
"""The platform of such a run, and the key of its `facts` that says what is known of it."""
IMPORTER = "arrays"
LAYOUTS = {3: ((0, 2, 1),), 4: ((0, 3, 1, 2), (0, 2, 3, 1)), 5: ((0, 4, 1, 2, 3), (0, 2, 3, 4, 1))}
"""Orders of axes that bring channels from the last place to the second, and back, by rank."""
FLOATS = frozenset({"float16", "bfloat16", "float32", "float64"})


@dataclass(frozen=True)
class ArrayOrigin:
    """What a user tells of arrays that were computed elsewhere."""

    name: str = ""
    """What computed them, such as `phone`: it stands where a backend's word does."""
    version: str | None = None
    device: str | None = None
    notes: tuple[str, ...] = ()
    """Anything else, in words."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """A name in the file to that of the like run's tensor."""


def import_arrays(
    store: Store, path: Path, like: Run, origin: ArrayOrigin, warn: Callable[[str], None]
) -> ImportResult:
    """Keep what a file holds as runs beside a run of the same model on the same inputs.

    `warn` is told what was turned, narrowed or left unmatched. Raises InputError for arrays that
    are no outputs of such a model, UsageError where nothing says what gave them.
    """
    saved = read_saved(path)
    source = {"file": path.name, "like": like.id}
    added = known = 0
    for each in saved:
        name = _word(origin.name, each.runner, len(saved), path)
        matched = _Matcher(store, like, origin.renamed, warn)
        results = [matched.sample(*pair) for pair in _samples(each, like, path)]
        record = _record(like, name, origin, each, results, source)
        fault = record_fault(record)
        if fault:
            raise InputError(fault)
        was_there = store_if_new(store, record)
        known, added = known + was_there, added + (not was_there)
    return ImportResult(added, known, 0)


def _word(given: str, runner: str, count: int, path: Path) -> str:
    """Return what stands for the backend: what the user says, with the runner where several are."""
    if not given and not runner:
        raise UsageError(
            f"{path} does not say what gave its arrays. Name that with --as, such as --as phone."
        )
    return f"{given}:{runner}" if given and runner and count > 1 else given or runner


def _samples(saved: SavedArrays, like: Run, path: Path) -> Iterator[tuple[Record, Arrays]]:
    """Yield each sample of the like run with the arrays of it. Raises InputError."""
    count, given = len(like.results), len(saved.iterations)
    if given == count:
        yield from zip(like.results, saved.iterations, strict=True)
    elif given == 1:
        for place, result in enumerate(like.results):
            yield result, _part(saved.iterations[0], result, place, count)
    else:
        raise InputError(
            f"{path} has {given} inferences, and run {like.id} has {count} samples. Save one "
            "for each, or arrays with all samples along their first axis."
        )


def _part(arrays: Arrays, result: Record, place: int, count: int) -> dict[str, Array]:
    """Return a sample's part: the arrays that name it, and its rows of those that hold all."""
    sample = str(result["input"])
    own = re.compile(rf"(.+)\[{re.escape(sample)}\]")
    named = {found[1]: array for name, array in arrays.items() if (found := own.fullmatch(name))}
    others = {name for name in arrays if re.fullmatch(r".+\[.*\]", name)}
    whole = {name: array for name, array in arrays.items() if name not in others}
    parts = {name: _rows(array, name, place, count) for name, array in whole.items()}
    return {**parts, **named} if named or not others else parts


def _rows(array: Array, name: str, place: int, count: int) -> Array:
    """Return a sample's share of the first axis. Raises InputError where it has none."""
    if count == 1:
        return array
    if array.ndim == 0 or array.shape[0] % count:
        raise InputError(
            f"The array {quoted(name)} of shape {list(array.shape)} cannot be shared out to "
            f"{count} samples. Put all samples along its first axis, or name one for each: "
            f"{name}[SAMPLE]."
        )
    size = array.shape[0] // count
    return array[place * size : (place + 1) * size]


class _Matcher:
    """Tells outputs from layers, and brings arrays into the format of the like run."""

    def __init__(
        self, store: Store, like: Run, renamed: Mapping[str, str], warn: Callable[[str], None]
    ) -> None:
        self.store, self.like, self.renamed = store, like, renamed
        self.said: set[str] = set()
        self.warn = warn

    def sample(self, result: Record, arrays: Arrays) -> Record:
        """Return the entry of a sample. Raises InputError where an output is not among arrays."""
        named = {self.renamed.get(name, name): array for name, array in arrays.items()}
        wanted = {str(row["name"]): row for row in result["outputs"]}
        layers = {str(row["name"]): row for row in result["taps"]}
        alias = _outputs_by_shape(named, wanted, layers)
        for theirs, mine in alias.items():
            self._say(f"{quoted(theirs)} is taken for the output {quoted(mine)}: the shapes agree.")
        named = {alias.get(name, name): array for name, array in named.items()}
        if not wanted.keys() & named.keys():
            have = ", ".join(f"{quoted(n)} {list(a.shape)}" for n, a in list(named.items())[:8])
            need = ", ".join(f"{quoted(n)} {row['shape']}" for n, row in wanted.items())
            raise InputError(
                f"None of the arrays is an output of run {self.like.id}: it has {need}, the file "
                f"{have}. Name which is which with --rename THEIRS=OURS."
            )
        outputs = [
            self._tensor(name, named[name], wanted[name]) for name in wanted if name in named
        ]
        taps = [
            self._tensor(name, array, layers.get(name))
            for name, array in named.items()
            if name not in wanted
        ]
        return {
            "input": result["input"],
            "seconds": None,
            "inputs": list(result.get("inputs") or ()),
            "outputs": outputs,
            "taps": taps,
            "taps_neutral": None,
        }

    def _tensor(self, name: str, array: Array, like: Record | None) -> Record:
        """Keep an array, turned and narrowed to what the like run has where no bit is lost."""
        if array.dtype.name not in ITEM_BYTES:
            raise InputError(
                f"The array {quoted(name)} is of type {array.dtype}. Save it as numbers, such as "
                "float32, which holds every bfloat16."
            )
        tensor = Tensor(array.dtype.name, array)
        if like is not None:
            tensor = self._turned(name, tensor, tuple(like["shape"]))
            tensor = self._narrowed(name, tensor, str(like["dtype"]))
        else:
            self._say(f"{quoted(name)} is no tensor of run {self.like.id}; kept by its own name.")
        return {"name": name, **write_tensor(str(self.store.folder), tensor)}

    def _turned(self, name: str, tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
        if tensor.shape == shape:
            return tensor
        for order in LAYOUTS.get(len(shape), ()):
            if len(tensor.shape) == len(shape) and tensor.array.transpose(order).shape == shape:
                self._say(f"{quoted(name)} was turned from {list(tensor.shape)} to {list(shape)}.")
                return Tensor(tensor.dtype, tensor.array.transpose(order))
        if tensor.array.size == np.prod(shape, dtype=int) and _squeezed(tensor.shape) == _squeezed(
            shape
        ):
            return Tensor(tensor.dtype, tensor.array.reshape(shape))
        self._say(f"{quoted(name)} has shape {list(tensor.shape)}, the like run's {list(shape)}.")
        return tensor

    def _narrowed(self, name: str, tensor: Tensor, dtype: str) -> Tensor:
        if tensor.dtype == dtype or not {tensor.dtype, dtype} <= FLOATS:
            return tensor
        narrow = cast(tensor, dtype)
        if cast(narrow, tensor.dtype).data() == tensor.data():
            return narrow
        self._say(f"{quoted(name)} has {tensor.dtype} numbers that no {dtype} holds; kept so.")
        return tensor

    def _say(self, sentence: str) -> None:
        """Tell once what holds for all samples."""
        if sentence not in self.said:
            self.said.add(sentence)
            self.warn(sentence)


def _squeezed(shape: Sequence[int]) -> list[int]:
    return [extent for extent in shape if extent != 1]


def _outputs_by_shape(
    arrays: Arrays, outputs: Mapping[str, Record], layers: Mapping[str, Record]
) -> dict[str, str]:
    """Return the arrays of unknown names that can only be one missing output, by their shape."""
    missing = {name: tuple(row["shape"]) for name, row in outputs.items() if name not in arrays}
    unknown = {n: a.shape for n, a in arrays.items() if n not in outputs and n not in layers}
    found = {}
    for name, shape in missing.items():
        fitting = [each for each, other in unknown.items() if _squeezed(other) == _squeezed(shape)]
        rivals = [each for each, other in missing.items() if _squeezed(other) == _squeezed(shape)]
        if len(fitting) == 1 and len(rivals) == 1:
            found[fitting[0]] = name
    return found


def _record(
    like: Run,
    name: str,
    origin: ArrayOrigin,
    saved: SavedArrays,
    results: list[Record],
    source: Mapping[str, Any],
) -> Record:
    """Return a run's record, whose id comes from all that it holds."""
    known = {"device": origin.device, "version": origin.version, "runner": saved.runner}
    told: Record = {
        "schema_version": 1,
        "model": {
            "name": like.row["model"],
            "digest": like.row["model_digest"],
            "source": like.row["model_source"],
        },
        "inputs_digest": like.inputs_digest,
        "backend": name,
        "backend_version": origin.version,
        "precision": like.row["precision"],
        **like.conversion,
        **({"quantizer": like.row["quantizer"]} if like.row.get("quantizer") else {}),
        "settings": {},
        "platform": TOLD,
        "repeat": 0,
        "hardware": {"device": origin.device} if origin.device else {},
        "software": {},
        "status": "ok",
        "error": None,
        "seconds": saved.seconds,
        "taps_neutral": None,
        "artifact": None,
        "layers": list(like.layers),
        "results": results,
        "facts": {
            "imported": IMPORTER,
            TOLD: {
                **source,
                **{key: value for key, value in known.items() if value},
                "notes": list(origin.notes),
            },
        },
    }
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    label = f"{TOLD}-{slug(name)}-{record_digest(told)[:16]}"
    return {**told, "id": label, "created": when, "xbackend": VERSION}
