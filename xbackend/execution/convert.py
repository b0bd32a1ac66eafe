"""Converts a model into files of other formats, with what became of its weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xbackend.errors import UsageError, did_you_mean
from xbackend.execution.request import RunRequest
from xbackend.execution.source import conversion_builder
from xbackend.plugins import registry
from xbackend.preparation.conversion.convert import ArtifactBuilder
from xbackend.preparation.conversion.export_notes import export_notes, export_sentences
from xbackend.preparation.conversion.options import parse_options, reject_unused_options
from xbackend.store.store import Store

Record = dict[str, Any]


@dataclass(frozen=True)
class ConvertedFile:
    """A model in another format, as a file of the user's."""

    path: Path
    target: str
    """The format, such as `onnx-int8`."""
    steps: tuple[Mapping[str, Any], ...]
    """What led there: `converter`, `weights` with `identical` and `changed` names, versions and
    options; none where the file is the source itself or came with the model."""

    @property
    def changed_weights(self) -> tuple[str, ...]:
        """Names of the weights whose bits some step changed."""
        names = (name for step in self.steps for name in step["weights"]["changed"])
        return tuple(dict.fromkeys(names))

    def to_dict(self) -> Record:
        """Return JSON values."""
        return {"path": str(self.path), "target": self.target, "steps": [*map(dict, self.steps)]}


def convert_files(
    request: RunRequest,
    targets: Sequence[str],
    folder: Path,
    force: bool,
    store: Store,
    log: Callable[[str], None],
) -> tuple[ConvertedFile, ...]:
    """Write the request's model into a folder in each format.

    Raises UsageError for an unknown format, and for a file that is there unless `force` is set.
    """
    _check_formats(targets)
    chosen = parse_options(request.options)
    builder = conversion_builder(request, store, log, chosen)
    made = [(target, builder.build(target)) for target in targets]
    steps = {target: read_conversion_steps(artifact.folder) for target, artifact in made}
    reject_unused_options(chosen, [step for each in steps.values() for step in each])
    told = [export_sentences(builder.model.name, export_notes(each)) for each in steps.values()]
    for sentence in dict.fromkeys(text for texts in told for text in texts):
        log(sentence)
    for target in targets:
        _warn_of_saturation(builder, target, log)
    return tuple(
        ConvertedFile(
            _copy(
                artifact.model,
                folder / _file_name(builder.model.name, target, artifact.model),
                force,
            ),
            target,
            steps[target],
        )
        for target, artifact in made
    )


def read_conversion_steps(folder: Path) -> tuple[Record, ...]:
    """Read what an artifact went through from the source to its format; nothing elsewhere."""
    manifest = folder / "artifact.json"
    if not manifest.is_file():
        return ()
    return tuple(json.loads(manifest.read_text(encoding="utf-8"))["steps"])


def _check_formats(targets: Sequence[str]) -> None:
    """Refuse a format that no converter writes; the prepared ones are no files of the user's."""
    reached = {target for spec in registry.converters() for _, target in spec.conversions}
    prepared = ("graph", "flat", "source")
    known = sorted(name for name in reached if name.partition("-")[0] not in prepared)
    for target in targets:
        if target not in known:
            raise UsageError(
                f"No converter writes the format '{target}'. Formats: {', '.join(known)}."
                f"{did_you_mean(target, known)}"
            )


def _warn_of_saturation(builder: ArtifactBuilder, target: str, log: Callable[[str], None]) -> None:
    """Say which layers of an ONNX file in int8 saturating kernels overflow in."""
    from xbackend.preparation.saturation import artifact_saturation_risks, saturation_warning

    spec = next((s for s in registry.backends() if s.saturation_warning), None)
    if target != "onnx-int8" or spec is None:
        return
    exposed = artifact_saturation_risks(builder.build(spec.formats["int8"]).folder)
    if exposed:
        log(saturation_warning(builder.model.name, spec.saturation_warning, exposed))


def _file_name(model: str, target: str, source: Path) -> str:
    """Return a name such as `model.int8.onnx`: what distinguishes the target, then its suffix."""
    kind, _, precision = target.partition("-")
    return ".".join([model, *([precision] if precision else []), source.suffix.lstrip(".") or kind])


def _copy(source: Path, target: Path, force: bool) -> Path:
    """Copy a converted file, and the weights beside it. Raises UsageError where one is there."""
    if target.exists() and not force:
        raise UsageError(f"{target} is there already. Pass --force to overwrite it.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        for data in source.parent.glob(f"{source.stem}.data"):
            shutil.copyfile(data, target.parent / data.name)
    except OSError as error:
        raise UsageError(f"Cannot write {target}: {error.strerror or error}.") from error
    return target
