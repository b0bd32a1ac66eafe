"""The built-in models: shipped ones, read from their folders' model.json, and those made on use."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xbackend.errors import ModelError, UsageError, did_you_mean

ROOT = Path(__file__).parent
MANIFEST = "model.json"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class ModelFile:
    """One file of a model."""

    format: str
    """The converters' word for it: `keras`, `onnx`, `tflite`, `onnx-int8`, `tflite-int8`."""
    path: Path
    digest: str
    """SHA-256 of the file."""
    made_from: str | None
    """The format that it was converted from; None for the source."""


@dataclass(frozen=True)
class BuiltinModel:
    """A model that is one folder: the same network in several formats, with samples."""

    name: str
    """What `xbackend run` takes: `cifar10-small`."""
    description: str
    """One line."""
    files: Mapping[str, ModelFile]
    """By format, the source first."""
    samples: Path
    """An .npy file of inputs, samples along axis 0, in the layout of the model's input."""
    sample_names: tuple[str, ...]
    """What each sample is."""
    labels: tuple[int, ...]
    """The right class of each sample, an index into `classes`; none for samples of noise."""
    classes: tuple[str, ...]
    """Names of the classes, in the order of the model's output."""
    parameters: int
    """How many numbers were trained, or made."""
    digest: str
    """SHA-256 over the formats and digests of all files: it names exactly these bits."""
    manifest: Mapping[str, Any]
    """All of model.json: how each file was made, by which versions, which weights are kept."""


def names() -> tuple[str, ...]:
    """Return the names of the built-in models, in alphabetical order."""
    from xbackend.models.generated.models import MODELS

    made = (model.name for model in MODELS)
    return tuple(sorted([*(model.name for model in shipped_models()), *made]))


def shipped_models() -> tuple[BuiltinModel, ...]:
    """Return the built-in models that are files of this package, in alphabetical order."""
    found = (read_model(path.parent) for path in ROOT.glob(f"*/{MANIFEST}"))
    return tuple(sorted(found, key=lambda model: model.name))


def builtin(name: str) -> BuiltinModel:
    """Return the built-in model of that name, made now if it is one that is made on first use.

    Raises UsageError, which lists those there are.
    """
    if _is_shipped(name):
        return read_model(_shipped_folder(name))
    from xbackend.models.generated import model_cache

    made = model_cache.find(name)
    if made is not None:
        return read_model(model_cache.ensure_cached(made))
    known = ", ".join(names())
    near = did_you_mean(name, names())
    raise UsageError(f"There is no built-in model {name!r}. Built-in models: {known}.{near}")


def is_builtin(name: str) -> bool:
    """Tell whether there is a built-in model of that name."""
    return _is_shipped(name) or name in names()


def _is_shipped(name: str) -> bool:
    return is_builtin_name(name) and os.path.isfile(_shipped_folder(name) / MANIFEST)


def _shipped_folder(name: str) -> Path:
    return ROOT / name.replace("-", "_")


def is_builtin_name(text: str) -> bool:
    """Tell whether a text is written like a built-in name, not like a path.

    >>> is_builtin_name("cifar10-small"), is_builtin_name("model.onnx"), is_builtin_name("../x")
    (True, False, False)
    """
    return bool(text) and text.replace("-", "").isalnum() and text == text.lower()


def read_model(folder: Path) -> BuiltinModel:
    """Read a folder that holds model.json, built-in or made by `xbackend models train`."""
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        return _model(folder, manifest)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"{error!r}"
        raise ModelError(
            f"'{path}' does not describe a model ({reason}). "
            "Reinstall xbackend, or train the model again with 'xbackend models train'."
        ) from error


def _model(folder: Path, manifest: dict[str, Any]) -> BuiltinModel:
    if manifest["schema_version"] != SCHEMA_VERSION:
        raise ValueError(f"schema_version {manifest['schema_version']!r}, not {SCHEMA_VERSION}")
    samples = manifest["samples"]
    return BuiltinModel(
        name=manifest["name"],
        description=manifest["description"],
        files={key: _file(folder, key, row) for key, row in manifest["files"].items()},
        samples=_within(folder, samples["file"]),
        sample_names=tuple(samples["names"]),
        labels=tuple(samples["labels"]),
        classes=tuple(manifest["classes"]),
        parameters=manifest["parameters"],
        digest=manifest["digest"],
        manifest=manifest,
    )


def _file(folder: Path, format_: str, row: Mapping[str, Any]) -> ModelFile:
    return ModelFile(format_, _within(folder, row["file"]), row["digest"], row.get("made_from"))


def _within(folder: Path, name: str) -> Path:
    if Path(name).name != name:
        raise ValueError(f"{name!r} is no file name")
    return folder / name


HEADERS = ("model", "parameters", "formats", "samples", "description")
"""The columns of `rows`."""


def rows() -> list[tuple[str, ...]]:
    """Return one row for each built-in model, under `HEADERS`, for `xbackend models`.

    Nothing is made for it.
    """
    from xbackend.models.generated.model_cache import SAMPLE_NAMES
    from xbackend.models.generated.models import MODELS

    shipped = [
        (
            model.name,
            f"{model.parameters:,}",
            ", ".join(model.files),
            str(len(model.sample_names)),
            model.description,
        )
        for model in shipped_models()
    ]
    samples = str(len(SAMPLE_NAMES))
    made = [
        (model.name, f"{model.parameters:,}", "onnx (generated)", samples, model.description)
        for model in MODELS
    ]
    return sorted([*shipped, *made])


def details(model: BuiltinModel) -> list[tuple[str, str]]:
    """Return what is known of a model as pairs of a word and its value."""
    pairs = [
        ("model", model.name),
        ("description", model.description),
        ("parameters", f"{model.parameters:,}"),
        ("digest", model.digest),
        *_origin(model),
    ]
    return pairs + [(file.format, str(file.path)) for file in model.files.values()]


def _origin(model: BuiltinModel) -> list[tuple[str, str]]:
    samples = ("samples", str(model.samples))
    if "generated" in model.manifest:
        made = model.manifest["generated"]
        return [
            ("weights", made["weights"]),
            ("seed", made["seed"]),
            samples,
            ("samples are", made["samples"]),
        ]
    training = model.manifest["training"]
    return [
        ("trained on", training["data"]),
        ("accuracy", f"{training['accuracy']:.1%} of {training['held_out']} held-out images"),
        samples,
        ("labels", _labels(model)),
    ]


def _labels(model: BuiltinModel) -> str:
    pairs = zip(model.sample_names, model.labels, strict=True)
    return ", ".join(f"{name} {model.classes[label]}" for name, label in pairs)
