"""Runs a model on backends and platforms."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xbackend.api.arguments import (
    Numbers,
    Progress,
    Settings,
    StoreLike,
    Words,
    execution_context,
    positive_integer,
    positive_integers,
    settings_texts,
    specs,
    store_of,
    texts,
    words,
)
from xbackend.api.samples import Inputs, chosen_samples
from xbackend.execution.execute import execute
from xbackend.execution.request import RunRequest
from xbackend.plugins import registry
from xbackend.preparation.model_objects import handing_notes, model_source
from xbackend.store.store import Store

if TYPE_CHECKING:
    import numpy as np

    from xbackend.store.records import Run

Record = dict[str, Any]


@dataclass(frozen=True, repr=False)
class Runs(Sequence["Run"]):
    """Runs of one call, in the order in which they were planned; `print` shows a line for each."""

    records: tuple[Record, ...]
    """The records as the store keeps them: settings, hardware, digests of all tensors."""
    store: Store
    """Where they and their tensors are."""
    notes: tuple[str, ...] = ()
    """What must be known of how a model in memory was made a file, a sentence each."""

    def __getitem__(self, place: Any) -> Any:
        """Return a run, or for a slice several as `Runs`."""
        if isinstance(place, slice):
            return Runs(self.records[place], self.store, self.notes)
        return _read(self.records[place])

    def __len__(self) -> int:
        """Return how many runs there are, failed and skipped ones among them."""
        return len(self.records)

    def __iter__(self) -> Iterator[Run]:
        """Go through the runs."""
        return map(_read, self.records)

    def __repr__(self) -> str:
        """Return how many there are, how they ended and where they are, in one line."""
        ended = Counter(str(record["status"]) for record in self.records)
        counts = ", ".join(f"{count} {status}" for status, count in ended.items()) or "none"
        return f"<Runs: {counts}, in {self.store.folder}>"

    def _repr_html_(self) -> str:
        """Return what `print` shows, for a notebook."""
        return registry.renderer("preformatted")(str(self))

    def __str__(self) -> str:
        """Return a line for each run, what the export changed, and last whether bits agree."""
        notes = [*self.notes, *self._export()]
        return registry.renderer("runs")(self.records, self.store.folder, notes=notes)

    def _export(self) -> list[str]:
        """Return what the export of a model changed, where its source was run."""
        if not any(record["settings"].get("graph") == "source" for record in self.records):
            return []
        from xbackend.comparison.compare import compare_runs  # NumPy, seldom needed

        told = registry.report("export")(compare_runs(self.store, list(self)))
        return [told] if told else []

    @property
    def failed(self) -> tuple[Run, ...]:
        """Those that failed; a run that was skipped did not."""
        return self._ended("failed")

    @property
    def skipped(self) -> tuple[Run, ...]:
        """Those that could not be, with the reason in `row["error"]["message"]`."""
        return self._ended("skipped")

    def _ended(self, status: str) -> tuple[Run, ...]:
        return tuple(_read(record) for record in self.records if record["status"] == status)

    def outputs(self, place: int) -> dict[str, dict[str, np.ndarray[Any, Any]]]:
        """Return a run's outputs: sample's name to output's name to array.

        A bfloat16 array is of uint16, its bits. Raises StoreError for a damaged tensor.
        """
        return {
            str(result["input"]): {
                str(row["name"]): self.store.read_tensor(row).array for row in result["outputs"]
            }
            for result in self.records[place]["results"]
        }

    def to_json(self) -> str:
        """Return what `xbackend run --json` prints."""
        return json.dumps(self.records)

    def to_pandas(self) -> Any:
        """Return a pandas DataFrame, a row for each run. Raises UsageError without pandas."""
        from xbackend.api.results import data_frame

        return data_frame([run.row for run in self])


def _read(record: Record) -> Run:
    from xbackend.store.records import read_run  # which the command itself does not need

    return read_run(record)


def run(
    model: object = None,
    *,
    backends: Words = None,
    platforms: Words = None,
    inputs: Inputs = None,
    precisions: Words = None,
    threads: Numbers = 1,
    taps: Words = "layers",
    keep: str = "all",
    settings: Settings = None,
    options: Settings = None,
    repeats: int = 1,
    fresh: bool = False,
    allow_nonfinite: bool = False,
    example_inputs: Any = None,
    timeout: float = 600.0,
    jobs: int | None = None,
    store: StoreLike = None,
    progress: Progress = None,
) -> Runs:
    """Run a model, once for each backend, precision, platform, number of threads and repeat.

    Each run is a process of its own. What the store has already is not run again.

    Args:
        model: A file (.onnx, .keras, .h5, .pt2, .tflite), a SavedModel's folder, `module:callable`,
            a built-in name (default: cifar10-small), an `onnx.ModelProto`, a `torch.nn.Module`
            with `example_inputs`, or a Keras model. Objects are kept in the store as files.
        backends: Such as `["ort", "torch"]`; default: all that are installed.
        platforms: Such as `["native", "qemu:Haswell"]`; default: native.
        inputs: A file (.npy, .npz, .safetensors, a picture), a folder (.npz, .pb, pictures),
            `module:callable`, an array, a dictionary of arrays by the model's inputs, axis 0
            counting samples, a list of samples, a function that gives any of these, or `Samples`,
            which also says extents of free axes, the size of pictures and labels.
            Default: the model's own samples, or random ones.
        precisions: Such as `["float32", "int8"]`; default: each backend's own.
        threads: One number or several.
        taps: `outputs` (one inference), `layers` (every ONNX value), or patterns of their names.
        keep: Which tensors of layers the store keeps in the end: `all`, `differing` (those that not
            all runs have alike), or `none`. Inputs, outputs and all digests are kept.
        settings: `{"ort.optimization": "basic"}`; see `backends()`.
        options: How converters work: `{"onnx_to_int8.weight": "uint8"}`.
        repeats: Fresh processes for each.
        fresh: Repeat runs that the store has already.
        allow_nonfinite: Accept NaN and infinities in the inputs.
        example_inputs: What a `torch.nn.Module` is exported with: a tensor or a tuple of them.
        timeout: Seconds for each worker.
        jobs: Workers at once; default: one for each core.
        store: A folder; default: $XBACKEND_STORE or .xbackend.
        progress: A function that is told of each step by a `ProgressEvent`.

    Returns:
        The runs; one that failed or was skipped is among them, with stage and reason.

    Raises:
        UsageError: For what cannot be asked for; `ModelError` and `InputError` are kinds of it.
        XbackendError: Where nothing can be done, in one sentence with the cure.

    Example:
        >>> import numpy as np
        >>> import xbackend as xb
        >>> runs = xb.run("cifar10-small", backends="fixed", taps="outputs")
        >>> [(each.row["backend"], each.row["precision"], each.row["status"]) for each in runs]
        [('fixed', 'int8', 'ok')]
        >>> arrays = runs.outputs(0)
        >>> [array.shape for outputs in arrays.values() for array in outputs.values()]
        [(1, 10), (1, 10), (1, 10)]
        >>> noise = np.zeros((2, 32, 32, 3), np.float32)
        >>> len(xb.run(backends="fixed", inputs=noise, threads=[1, 2], taps="outputs"))
        2
    """
    there = store_of(store)
    shorten = _shortener(keep)
    with chosen_samples(inputs) as given:
        request = RunRequest(
            model=source_of(model, there, example_inputs),
            backends=words(backends, "backends="),
            platforms=specs(platforms),
            inputs=given.path,
            choice=given.choice,
            precisions=words(precisions, "precisions="),
            threads=positive_integers("threads=", threads),
            taps=",".join(texts(taps, "taps=")),
            settings=settings_texts(settings),
            options=settings_texts(options, "options="),
            repeats=positive_integer("repeats=", repeats),
            fresh=fresh,
            sources=True,
            allow_nonfinite=allow_nonfinite,
        )
        context = execution_context(there, jobs, timeout, progress)
        notes = handing_notes(model)
        for note in notes:
            context.display.log(note)
        records = execute(request, context)
    shorten(there, records)
    return Runs(tuple(records), there, notes)


def _shortener(keep: str) -> Callable[[Store, Sequence[Record]], object]:
    """Return what takes out tensors that are not to be kept. Raises UsageError for a wrong word."""
    if keep == "all":
        return lambda store, records: None
    from xbackend.store.upkeep.prune import check_keep, shorten  # which most runs do not need

    check_keep(keep)
    return lambda store, records: shorten(store, {str(each["id"]) for each in records}, keep)


def source_of(model: object, store: Store, example_inputs: Any = None) -> str:
    """Return what names a model, the default one for None."""
    return RunRequest.model if model is None else model_source(model, store, example_inputs)
