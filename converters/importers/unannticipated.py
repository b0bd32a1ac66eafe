"""The importer of the published results of uibk-iNNference/unaNNticipated: 75 real machines.

"Causes and Effects of Unanticipated Numerical Deviations in Neural Network Inference Frameworks"
(Schlögl, Hofer and Böhme, NeurIPS 2023). One JSON file holds what one machine gave for one input
of one model. Files of one machine, model and experiment become one run with several inputs;
repeats become further runs. Experiments stay apart: their models and inputs were made separately.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from xbackend.errors import UsageError
from xbackend.plugins.importer import (
    ImportedRun,
    ImportedSample,
    ImporterSpec,
    ImportIssue,
    ImportItems,
)

from .unannticipated_file import InvalidResult, ResultFile, read
from .unannticipated_path import FORMS, ResultPath, UnknownPath, inner, parse_path

SPEC = ImporterSpec(
    name="unannticipated",
    title="a checkout of uibk-iNNference/unaNNticipated, or a folder of its results",
    read="xbackend.converters.importers.unannticipated:runs",
)

SOURCE = "uibk-iNNference/unaNNticipated"
TENSORFLOW = "2.5.0"
"""What the paper ran; the files do not say it."""
OUTPUT = "prediction"

Key = tuple[Any, ...]


@dataclass(frozen=True)
class ParsedResult:
    """One file, read."""

    place: ResultPath
    contents: ResultFile
    model: str

    @property
    def precision(self) -> str:
        """The model's format, which is that of its output."""
        return self.contents.prediction.dtype

    @property
    def key(self) -> Key:
        """What files of one run share."""
        hardware = self.contents.hardware
        machine = (hardware.get("device"), hardware.get("cores"), self.contents.kind)
        where = (self.place.experiment, self.place.platform)
        return (*where, *machine, self.model, self.precision)


def runs(folder: Path) -> ImportItems:
    """Yield the runs below a folder, and what is wrong with files among them.

    Raises UsageError where no file lies in an experiment's folder.
    """
    found: dict[Key, dict[str, list[ParsedResult]]] = {}
    remarks: Counter[tuple[str, str]] = Counter()
    for path in _files(folder):
        one = _measured(path)
        if isinstance(one, ImportIssue):
            yield one
            continue
        found.setdefault(one.key, {}).setdefault(one.place.sample, []).append(one)
        remarks.update((_folder(one.place), remark) for remark in one.contents.remarks)
    for samples in found.values():
        yield from _runs(samples)
    for (where, remark), count in remarks.items():
        files = "1 file" if count == 1 else f"{count} files"
        yield ImportIssue(f"{where}: imported, {files} {remark}.")


def _folder(where: ResultPath) -> str:
    return where.path.rpartition("/")[0]


def _files(folder: Path) -> list[Path]:
    """Return the JSON files that lie in an experiment's folder, sorted.

    That folder is below the given one, or else the given one lies in it.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder. Name {SPEC.title}.")
    whole = folder.absolute()
    every = sorted(whole.rglob("*.json"))
    below = [path for path in every if inner(path.relative_to(whole))]
    files = below or [path for path in every if inner(path)]
    if not files:
        raise UsageError(
            f"No folder in {folder} has results. Name {SPEC.title}: it has files *.json below one "
            f"of {', '.join(FORMS)}."
        )
    return files


def _measured(path: Path) -> ParsedResult | ImportIssue:
    parts = inner(path)
    try:
        found, contents = parse_path(parts), read(path)
        return ParsedResult(found, contents, _model(found, contents))
    except (UnknownPath, InvalidResult) as error:
        return ImportIssue(f"{'/'.join(parts)} is not imported: {error}.")


def _model(found: ResultPath, contents: ResultFile) -> str:
    """Return the model's name, which path and file must agree on. Raises InvalidResult."""
    if None not in (found.named, contents.model) and found.named != contents.model:
        raise InvalidResult(
            f"its path names the model '{found.named}', the file '{contents.model}'"
        )
    if found.precision not in (None, contents.prediction.dtype):
        raise InvalidResult(
            f"its path names {found.precision}, the prediction is {contents.prediction.dtype}"
        )
    model = found.model or contents.model
    if model is None:
        raise InvalidResult("neither its path nor 'model_type' names the model")
    return model


def _runs(samples: Mapping[str, Sequence[ParsedResult]]) -> Iterator[ImportedRun]:
    """Yield the runs of one machine and model: one if no file has repeats or a double."""
    for files in zip_longest(*samples.values()):
        present = [one for one in files if one is not None]
        repeats = zip_longest(
            *([one.contents.prediction, *one.contents.repeats] for one in present)
        )
        for repeat, tensors in enumerate(repeats):
            given = zip(present, tensors, strict=True)
            outputs = tuple(
                ImportedSample(one.place.sample, {OUTPUT: tensor})
                for one, tensor in given
                if tensor
            )
            yield _run(present, outputs, repeat)


def _run(
    files: Sequence[ParsedResult], samples: tuple[ImportedSample, ...], repeat: int
) -> ImportedRun:
    first = files[0]
    return ImportedRun(
        model=first.model,
        source=SOURCE,
        inputs=f"{first.place.experiment} {first.model}",
        backend="tf",
        backend_version=TENSORFLOW,
        precision=first.precision,
        platform=first.place.platform,
        samples=samples,
        repeat=repeat,
        settings={"device": first.contents.kind},
        hardware=first.contents.hardware,
        software={"python": first.contents.python} if first.contents.python else {},
        facts=_facts(files),
    )


def _facts(files: Sequence[ParsedResult]) -> dict[str, Any]:
    first = files[0]
    batched = first.contents.batched
    return {
        "experiment": first.place.experiment,
        "files": [one.place.path for one in files],
        "backend_version_from": "the paper",
        **({} if batched is None else {"batch_dissemination": batched}),
    }
