"""Write a model's folder: trained, in several formats, with samples and model.json."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xbackend.errors import StoreError, UsageError, XbackendError
from xbackend.models.catalogue import MANIFEST, SCHEMA_VERSION
from xbackend.models.dataset import Dataset, Images, Samples
from xbackend.preparation.conversion.convert import ArtifactBuilder, find_conversion_path
from xbackend.preparation.model import Model
from xbackend.store.store import Store
from xbackend.training.fit import NETWORKS, Recipe, TrainingResult, check_recipe, fit
from xbackend.training.keras_fit import scale
from xbackend.training.keras_networks import INPUT
from xbackend.worker.artifact import MANIFEST as ARTIFACT

Array = np.ndarray[Any, Any]
Rows = dict[str, dict[str, Any]]
Log = Callable[[str], None]

FILES = {
    "keras": "model.keras",
    "onnx": "model.onnx",
    "tflite": "model.tflite",
    "onnx-int8": "model.int8.onnx",
    "tflite-int8": "model.int8.tflite",
}
"""Formats of a model's folder and their file names, the source first."""

SAMPLES = "samples.npy"
SAMPLE_QUANTILES = {"usual": 0.5, "hesitant": 0.02, "boundary": 0.0}
"""Names of the samples, and where each lies among the held-out pictures that are classified
rightly, ordered by how far the first class is ahead of the second."""

CALIBRATION_SIZE = 100
"""How many training pictures int8 is calibrated on, at most."""


@dataclass(frozen=True)
class ModelFolder:
    """A model's folder that was written."""

    folder: Path
    trained: TrainingResult
    failed: Mapping[str, str]
    """Format to why it could not be made."""


def train_model(
    recipe: Recipe,
    data: Dataset,
    output: Path,
    log: Log,
    formats: Sequence[str] = ("keras", "onnx"),
) -> ModelFolder:
    """Train, convert and write a folder that `xbackend run` takes, named after the folder.

    `log` gets a line after each epoch and before each conversion. Nothing is at `output` until
    all is done. Raises UsageError before training where a package is missing or `output` is not
    empty; a conversion that fails later is in `ModelFolder.failed`, and the rest is kept.
    """
    check_recipe(recipe)
    check_output(output)
    for format_ in set(formats) - {"keras"}:
        find_conversion_path({"keras"}, format_)
    scratch = output.parent / f".{output.name}.{os.getpid()}.tmp"
    try:
        scratch.mkdir(parents=True)
        written = _write(recipe, data, scratch, output.resolve().name, log, formats)
        shutil.rmtree(scratch / "work")
        scratch.replace(output)
    except OSError as error:
        raise StoreError(
            f"Cannot write {output}: {error.strerror or error}. Free space or permissions there, "
            "or name another folder with --output."
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return ModelFolder(output, *written)


def check_output(output: Path) -> None:
    """Raise UsageError where a folder is not empty: what is there stays there."""
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UsageError(f"{output} is not an empty folder. Name another with --output.")


def _write(
    recipe: Recipe, data: Dataset, folder: Path, name: str, log: Log, formats: Sequence[str]
) -> tuple[TrainingResult, dict[str, str]]:
    def progress(line: dict[str, Any]) -> None:
        log(_progress(line, recipe.epochs))

    trained = fit(recipe, data, folder / FILES["keras"], progress)
    files, failed = convert(name, folder, data, log, formats)
    chosen = data.samples or choose_samples(trained.outputs, data.held_out)
    samples = write_samples(folder, chosen, data.divisor)
    _write_manifest(folder, name, trained, files, samples, data)
    return trained, failed


def _progress(line: Mapping[str, Any], epochs: int) -> str:
    """Write one line of progress.

    >>> _progress({"epoch": 1, "step": 2, "steps": 9, "loss": 2.0, "accuracy": 0.25}, 30)
    'epoch 1 of 30, batch 2 of 9: loss 2.0000, accuracy 25.0%'
    """
    within = f", batch {line['step']} of {line['steps']}" if line["step"] < line["steps"] else ""
    validation = f", {line['validation']:.1%} on validation" if "validation" in line else ""
    figures = f"loss {line['loss']:.4f}, accuracy {line['accuracy']:.1%}{validation}"
    return f"epoch {line['epoch']} of {epochs}{within}: {figures}"


def convert(
    name: str, folder: Path, data: Dataset, log: Log, formats: Iterable[str]
) -> tuple[Rows, dict[str, str]]:
    """Make the other formats out of model.keras; return a row for each and what failed."""
    source = folder / FILES["keras"]
    rows: Rows = {"keras": {**_file(source), "made_from": None}}
    builder = _builder(name, source, data, folder / "work", log)
    failed: dict[str, str] = {}
    for format_ in [key for key in formats if key != "keras"]:
        try:
            made = builder.build(format_)
        except XbackendError as error:
            failed[format_] = str(error)
            continue
        target = folder / FILES[format_]
        shutil.copyfile(made.model, target)
        manifest = json.loads((made.folder / ARTIFACT).read_text(encoding="utf-8"))
        rows[format_] = {**_file(target), **_provenance(manifest["steps"][-1])}
    return rows, failed


def _builder(name: str, source: Path, data: Dataset, work: Path, log: Log) -> ArtifactBuilder:
    store = Store(work)
    store.create()
    calibration = write_calibration(work / "inputs" / "calibration.npz", data)
    known = digest(source)
    model = Model(name, known, name, {"keras": source}, digests={"keras": known})
    return ArtifactBuilder(model, store, lambda: calibration, digest(calibration), log=log)


def _file(path: Path) -> dict[str, Any]:
    return {"file": path.name, "bytes": path.stat().st_size, "digest": digest(path)}


def _provenance(step: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a conversion's record that a reader needs to make the file again."""
    kept = ("converter", "revision", "options", "weights", "notes")
    packages = {name: version for name, version in step["packages"].items() if version}
    return {"made_from": step["from"], **{key: step[key] for key in kept}, "packages": packages}


def choose_samples(outputs: Array, held_out: Images) -> Samples:
    """Choose held-out pictures by how sure the network is.

    From those that it classifies rightly, if there are any. On `boundary` it is least sure, so that
    there a small deviation is most likely to change the class.
    """
    ordered = np.sort(outputs, axis=1)
    margins = ordered[:, -1] - ordered[:, -2]
    right = np.flatnonzero(outputs.argmax(axis=1) == held_out.labels)
    candidates = right if len(right) else np.arange(len(held_out.labels))
    ranked = candidates[np.argsort(margins[candidates], kind="stable")]
    count = len(ranked)
    least = {"usual": 2, "hesitant": 1, "boundary": 0}
    ranks = {name: max(least[name], int(count * share)) for name, share in SAMPLE_QUANTILES.items()}
    indices = tuple(int(ranked[min(rank, count - 1)]) for rank in ranks.values())
    rule = (
        "held-out pictures, if possible classified rightly, ordered by how far the first "
        "class is ahead of the second: " + _shares()
    )
    return Samples(held_out.select(indices), tuple(ranks), indices, rule)


def write_samples(folder: Path, samples: Samples, divisor: int) -> dict[str, Any]:
    """Write the samples as float32 in [0, 1] and return their part of model.json."""
    array = scale(samples.images.pixels[:], divisor)
    np.save(folder / SAMPLES, array, allow_pickle=False)
    return {
        **_file(folder / SAMPLES),
        "input": INPUT,
        "dtype": array.dtype.name,
        "shape": list(array.shape),
        "names": list(samples.names),
        "labels": [int(label) for label in samples.images.labels],
        "held_out_index": list(samples.indices),
        "rule": samples.rule,
    }


def _shares() -> str:
    return ", ".join(f"{name} lies at {share:.0%}" for name, share in SAMPLE_QUANTILES.items())


def write_calibration(path: Path, data: Dataset) -> Path:
    """Write the inputs that int8 is calibrated on."""
    np.savez(path, **{INPUT: scale(calibration_images(data.training), data.divisor)})
    return path


def calibration_images(images: Images) -> Array:
    """Return at most `CALIBRATION_SIZE` pictures at equal distances."""
    step = max(1, len(images.labels) // CALIBRATION_SIZE)
    pixels: Array = images.pixels[np.arange(0, len(images.labels), step)[:CALIBRATION_SIZE]]
    return pixels


def _write_manifest(
    folder: Path,
    name: str,
    trained: TrainingResult,
    files: Rows,
    samples: Mapping[str, Any],
    data: Dataset,
) -> None:
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "name": name,
        "description": _description(trained.record, data),
        "parameters": trained.parameters,
        "digest": digest_of_all(files),
        "files": files,
        "samples": samples,
        "classes": list(data.classes),
        "training": trained.record,
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def _description(record: Mapping[str, Any], data: Dataset) -> str:
    variant = "" if record["variant"] == "relu" else f" ({record['variant']})"
    return f"{NETWORKS[record['network']]}{variant}, trained on {data.title}"


def digest_of_all(files: Rows) -> str:
    """Return the SHA-256 over the formats and digests of all files, in alphabetical order."""
    lines = "".join(f"{key} {files[key]['digest']}\n" for key in sorted(files))
    return hashlib.sha256(lines.encode()).hexdigest()


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
